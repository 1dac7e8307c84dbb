"""An event loop for a test: Playwright keeps one running in the tests' own thread once a browser was driven."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from django.db import connections


def run_in_a_loop_of_its_own(coroutine):
    """What the coroutine function returns, run in a thread of its own."""

    def run():
        try:
            return asyncio.run(coroutine())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()
