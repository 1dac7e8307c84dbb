"""The commands beside a real broker and a real worker, each in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from tests import ROOT
from tests.services.waiting import wait_until

pytestmark = pytest.mark.services
MANAGE = (
    "import sys, tests.services.celery; from django.core.management import execute_from_command_line as run;"
)
FILL = """
import django, io; django.setup()
from django.core.files.base import ContentFile
from django.core.management import call_command
from PIL import Image
from shopsearch.models import ProductImage
from tests.shop.models import Product
call_command("migrate", run_syncdb=True, verbosity=0)
product = Product.objects.create(title="mug")
for red in range(100):
    content = io.BytesIO()
    Image.new("RGB", (40, 40), (red, 0, 0)).save(content, "PNG")
    image = ProductImage(product=product)
    image.image.save(f"{red}.png", ContentFile(content.getvalue()), save=False)
    ProductImage.objects.bulk_create([image])
"""


@pytest.fixture
def shop(tmp_path, redis_server):
    """The environment of a shop with 100 images that nobody has heard of."""
    options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "shop.sqlite3"),
        "OPTIONS": options,
    }
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "PYTHONPATH": str(ROOT),
        "TEST_DATABASE": json.dumps(database),
        "TEST_MEDIA_ROOT": str(tmp_path / "media"),
        "TEST_BROKER_URL": redis_server.url,
    }
    subprocess.run([sys.executable, "-c", FILL], env={**os.environ, **environment}, check=True)
    return environment


def manage(shop, *arguments):
    return subprocess.run(
        [sys.executable, "-c", f"{MANAGE} run(sys.argv)", *arguments],
        cwd=ROOT,
        env={**os.environ, **shop},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_reindex_wakes_the_worker_and_watches_until_it_is_done(shop, celery_worker_process):
    celery_worker_process(shop)
    run = manage(shop, "shopsearch_reindex")
    assert run.returncode == 0, run.stderr
    assert "shopsearch_productimage: 100 images to look at" in run.stdout
    assert "Done: 100 images" in run.stdout
    report = json.loads(manage(shop, "shopsearch_status", "--json").stdout)
    assert report["indexes"][-1]["states"]["indexed"] == 100


def test_a_worker_that_listens_is_counted_and_a_broker_that_went_away_is_said(
    shop, redis_server, celery_worker_process
):
    def answering():
        return json.loads(manage(shop, "shopsearch_status", "--json").stdout)["workers"]["answering"]

    assert answering() == 0
    celery_worker_process(shop)
    wait_until(lambda: answering() == 1, "the worker answers")
    assert "Workers      1 on the queue shopsearch-index" in manage(shop, "shopsearch_status").stdout
    redis_server.stop()
    run = manage(shop, "shopsearch_status")
    assert run.returncode == 1
    assert "Broker       AWAY" in run.stdout


def test_with_the_broker_away_a_reindex_is_left_in_the_outbox(shop, redis_server):
    redis_server.stop()
    run = manage(shop, "shopsearch_reindex", "--no-wait")
    assert run.returncode == 0
    assert "The broker is away" in run.stderr
    report = json.loads(manage(shop, "shopsearch_status", "--json").stdout)
    assert report["indexes"][-1]["states"]["pending"] == 100


def test_check_E001_stops_the_first_migrate(tmp_path):
    program = (
        "import tests.settings as settings, sys, types\n"
        "bare = types.ModuleType('bare')\n"
        "bare.__dict__.update({name: value for name, value in vars(settings).items()\n"
        "                      if name.isupper() and name != 'SHOPSEARCH_PRODUCT_MODEL'})\n"
        "bare.INSTALLED_APPS = ['django.contrib.contenttypes', 'shopsearch']\n"
        "bare.ROOT_URLCONF = 'bare'; bare.urlpatterns = []\n"
        f"bare.DATABASES['default']['NAME'] = {str(tmp_path / 'shop.sqlite3')!r}\n"
        "sys.modules['bare'] = bare\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(['manage.py', 'migrate', '--settings', 'bare'])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert "shopsearch.E001" in run.stderr
    assert "Applying" not in run.stdout
