"""A real Chromium before a live shop whose pages forbid inline code and everything from elsewhere."""

import io
import os
import re
import shutil
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.test import override_settings
from PIL import Image
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from shopsearch.indexing import batch
from shopsearch.models import ProductImage
from tests.shop.models import Product

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 210)}


def png(colour, side=64):
    content = io.BytesIO()
    Image.new("RGB", (side, side), COLOURS[colour]).save(content, "PNG")
    return content.getvalue()


def upload(colour, name="picture.png"):
    return {"name": name, "mimeType": "image/png", "buffer": png(colour)}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    if not CHROMIUM:
        pytest.skip("chromium is not installed")
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "headless": True, "args": FLAGS}


@pytest.fixture(scope="session")
def live_server():
    """pytest-django's, but for the policy: middleware is loaded once, when the server starts."""
    middleware = ["tests.browser.pages.strict_policy", *django_settings.MIDDLEWARE]
    with override_settings(MIDDLEWARE=middleware):
        server = LiveServer("127.0.0.1")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def shop(settings, live_server, transactional_db):
    """Twenty products, eight to a page."""
    settings.ROOT_URLCONF = "tests.browser.pages"
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "PAGE_SIZE": 8,
        "RERANKER": {"BACKEND": "tests.shop.rerankers.LastFirst"},
        "RERANK_WEIGHT": 1,
        "RERANK_LIFT": 8,
        "THROTTLE_RATE": None,
    }
    Path(settings.MEDIA_ROOT, "example.png").write_bytes(png("green"))
    for number in range(20):
        colour = ("red", "blue")[number % 2] if number else "green"
        product = Product.objects.create(
            title=f"{colour} thing {number}", price=number, in_stock=number % 3 > 0
        )
        ProductImage.objects.create(product=product, image=ContentFile(png(colour), "thing.png"))
    list(batch.index_pending())


@pytest.fixture
def context(context):
    context.set_default_timeout(15_000)
    expect.set_options(timeout=15_000)
    return context


@pytest.fixture
def shopper(page, live_server):
    """A page of the shop. Afterwards: it logged no error, and asked nobody but the shop."""
    errors, requests = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.on("filechooser", lambda chooser: None)  # from now on, not from the moment a test waits for one
    page.goto(f"{live_server.url}/")
    yield page
    # The browser itself notes answers of these statuses, which some tests are about.
    assert [
        error for error in errors if not re.search("status of (400|502|503)|ERR_INTERNET_DISCONNECTED", error)
    ] == []
    assert [url for url in requests if not url.startswith(live_server.url)] == []
