"""Waiting for something that another process does."""

import time


def wait_until(condition, what, seconds=60.0):
    """The condition's value as soon as it is true; AssertionError that names ``what`` when it never is."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"in {seconds:.0f} s it never was true that {what}"
        time.sleep(0.02)
    return value
