"""docs/how-to-shops.md, as it stands: each shop is written into an empty folder and lives through its session."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from tests import ROOT
from tests.shop.pictures import RED, picture, product
from tests.shop.store import index_everything

PAGE = (ROOT / "docs" / "how-to-shops.md").read_text()
SETTINGS = """
from tests.settings import *
from tests.settings import INSTALLED_APPS, SHOPSEARCH
import os
folder = os.path.dirname(__file__)
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(folder, "shop.sqlite3")}}
MEDIA_ROOT = os.path.join(folder, "media")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "shop_urls"
CELERY_BROKER_URL = "memory://"
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "tests.shop"]
del SHOPSEARCH_PRODUCT_MODEL
"""
SESSION = """
import os
import django; django.setup()
from django.core.management import call_command
from shopsearch import registry
from shopsearch.indexing import batch
from shopsearch.search import search
import tests.services.celery
call_command("check", "--fail-level", "WARNING", "--tag", "shopsearch")
call_command("makemigrations", os.environ["SHOP"], verbosity=0)
call_command("migrate", verbosity=0)

def index_everything():
    for _ in batch.index_pending():
        pass

def found(words, **filters):
    return [str(result.product) for result in search(words, filters=filters).results]

"""
WAGTAIL = """
INSTALLED_APPS += ["wagtailshop", "wagtail.images", "wagtail.documents", "wagtail.users", "wagtail.admin"]
INSTALLED_APPS += ["wagtail.search", "wagtail", "modelcluster", "taggit"]
WAGTAIL_SITE_NAME = "shop"
WAGTAILADMIN_BASE_URL = "https://shop.example"
"""


def files(app):
    return re.findall(rf"```python\n# ({app}/\S+\.py)\n(.*?)```", PAGE, re.DOTALL)


def block(title):
    return re.search(rf"```python\n# {title}\n(.*?)```", PAGE, re.DOTALL)[1]


def live(folder, app, session, settings):
    """Run this session in the app of the page; raises where an assertion of it fails."""
    for name, text in files(app):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / app / "__init__.py").touch()
        (folder / name).write_text(text)
    (folder / "shop_settings.py").write_text(SETTINGS + settings)
    (folder / "shop_urls.py").write_text(
        'from django.urls import include, path\nurlpatterns = [path("", include("shopsearch.urls"))]\n'
    )
    Image.new("RGB", (80, 80), RED).save(folder / "red.png")
    done = subprocess.run(
        [sys.executable, "-c", SESSION + session],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "DJANGO_SETTINGS_MODULE": "shop_settings",
            "SHOP": app,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_catalogue_like_saleors_is_searched_by_channel_price_and_stock_and_followed(tmp_path):
    settings = block("settings.py of the shop like Saleor") + 'INSTALLED_APPS += ["saleorlike"]\n'
    live(tmp_path, "saleorlike", block("a session in the shop like Saleor"), settings)


@pytest.mark.nightly
@pytest.mark.skipif(
    importlib.util.find_spec("wagtail") is None, reason="wagtail is not installed; nothing pins it"
)
def test_a_wagtail_shop_follows_what_is_published_and_unpublished(tmp_path):
    settings = WAGTAIL + block("settings.py of the Wagtail shop")
    live(tmp_path, "wagtailshop", block("a session in the Wagtail shop"), settings)


@pytest.mark.django_db
def test_each_request_of_the_rest_front_end_is_answered_as_the_page_says(client):
    made = product(RED, title="red mug")
    index_everything()
    addresses = re.findall(r"`(GET|POST) (/api/\S*?)`", PAGE)
    assert len(addresses) == 3
    for method, address in addresses:
        address = address.replace("{id}", str(made.pk))
        sent = {"image": picture(RED)} if method == "POST" else None
        answer = getattr(client, method.lower())(address, sent)
        assert answer.status_code == 200, (address, answer.content)
        body = answer.json()
        if "similar" not in address:
            said = re.search(r"return body; // (.*)", PAGE)[1].split(", ")
            assert set(said) <= set(body)
            assert body["results"][0]["product"]["url"].startswith("http") or not made.get_absolute_url()
            assert body["results"][0]["product"]["image"].startswith("http://testserver/")
    refused = client.get("/api/search/")
    assert set(refused.json()) == {"code", "detail"}
