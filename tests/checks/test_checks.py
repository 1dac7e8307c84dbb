"""``manage.py check``: each mistake has an id, a sentence, and a hint that mends it."""

import re
import sys
from dataclasses import replace
from decimal import Decimal
from functools import cached_property

import pytest
from celery import current_app
from django.apps.registry import Apps
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models import Model
from django.test import override_settings
from PIL import Image

from shopsearch import FilterField, ImageIndex, registry
from shopsearch.conf import DEFAULTS, default_embedder
from shopsearch.models import AbstractProductImage, ProductImage
from shopsearch.testing import MemoryStore
from tests import ROOT
from tests.shop.models import Artwork, PosterImage, Product

EMBEDDER = {"BACKEND": "shopsearch.testing.ColourEmbedder"}
STORE = {"BACKEND": "shopsearch.testing.MemoryStore"}


def messages(check_id, *, deploy=False):
    found = run_checks(tags=["shopsearch"], include_deployment_checks=deploy)
    return [message for message in found if message.id == f"shopsearch.{check_id}"]


def the_message(check_id, *, deploy=False):
    (message,) = messages(check_id, deploy=deploy)
    return message


def shopsearch_settings(**values):
    return override_settings(SHOPSEARCH={"EMBEDDER": EMBEDDER, "VECTOR_STORE": STORE, **values})


@pytest.fixture
def declare(monkeypatch):
    """Declare a model's index anew, for the time of a test."""

    def declare(model, **attributes):
        index_class = type("TheIndex", (ImageIndex,), attributes)
        monkeypatch.setitem(registry.registry._indexes, model, index_class(model))

    return declare


@pytest.fixture
def celery_conf(monkeypatch):
    """Set Celery's own settings for the time of a test."""

    def change(**values):
        for name, value in values.items():
            monkeypatch.setitem(current_app.conf, name, value)

    return change


def test_the_shop_of_the_tests_has_no_mistakes():
    found = run_checks(tags=["shopsearch"])
    assert [message for message in found if message.level >= 40] == []


def test_E001_neither_model_is_named(settings):
    del settings.SHOPSEARCH_PRODUCT_MODEL
    message = the_message("E001")
    assert "SHOPSEARCH_PRODUCT_MODEL" in message.hint
    assert "SHOPSEARCH_PRODUCT_IMAGE_MODEL" in message.hint


def test_E001_is_silent_when_either_model_is_named(settings):
    assert messages("E001") == []
    del settings.SHOPSEARCH_PRODUCT_MODEL
    settings.SHOPSEARCH_PRODUCT_IMAGE_MODEL = "shop.PosterImage"
    assert messages("E001") == []


def test_E002_an_unknown_key_names_the_nearest():
    with shopsearch_settings(VECTORSTORE=STORE, page_sise=12):
        store, page = messages("E002")
    assert "'VECTORSTORE'" in store.msg
    assert store.hint == "Did you mean 'VECTOR_STORE'?"
    assert page.hint == "Did you mean 'PAGE_SIZE'?"


def test_E002_a_key_like_no_other_lists_them_all():
    with shopsearch_settings(ZZZZ=1):
        assert "VECTOR_STORE, COLLECTION_PREFIX" in the_message("E002").hint


def test_E003_a_backend_that_cannot_be_imported():
    with shopsearch_settings(EMBEDDER={"BACKEND": "shopsearch.testing.ColorEmbedder"}):
        message = the_message("E003")
    assert "ColorEmbedder" in message.msg
    assert "dotted path" in message.hint


def test_E003_a_misspelt_option_names_the_options():
    with shopsearch_settings(EMBEDDER={**EMBEDDER, "OPTIONS": {"batchsize": 3}}):
        message = the_message("E003")
    assert "batchsize" in message.msg
    assert "batch_size" in message.hint


def test_E003_a_class_that_is_no_backend():
    with shopsearch_settings(VECTOR_STORE=EMBEDDER):
        assert "is not a VectorStore" in the_message("E003").msg
    with shopsearch_settings(VECTOR_STORE={"BACKEND": "pathlib.Path"}):
        assert "implements the interface" in the_message("E003").hint


def test_E003_a_backend_of_an_earlier_version_whose_method_lacks_an_argument(monkeypatch):
    def search_words(self, collection, text, *, vector, limit, filters=None, known=()):
        return []

    monkeypatch.setattr(MemoryStore, "search_words", search_words)
    with shopsearch_settings():
        assert "MemoryStore.search_words lacks the argument score_if" in the_message("E003").msg
        monkeypatch.setattr(MemoryStore, "search_words", lambda self, *given, **options: [])
        assert messages("E003") == []


@pytest.mark.parametrize(
    "method", [property(lambda store: list), cached_property(lambda store: list), dict.update]
)
def test_E003_a_backend_with_a_method_whose_arguments_nobody_knows_is_believed(monkeypatch, method):
    monkeypatch.setattr(MemoryStore, "search_words", method)
    with shopsearch_settings():
        assert messages("E003") == []


def test_E003_a_backend_without_a_path():
    with shopsearch_settings(EMBEDDER={"OPTIONS": {}}):
        assert default_embedder() in the_message("E003").hint


def test_E003_a_reranker_that_cannot_be_built_and_none_at_all():
    with shopsearch_settings(RERANKER={"BACKEND": "shopsearch.rerankers.Nothing"}):
        assert "Nothing" in the_message("E003").msg
    with shopsearch_settings(RERANKER=None):
        assert messages("E003") == []


def test_the_defaults_are_what_the_checks_ask_for():
    with shopsearch_settings(
        **{name: value for name, value in DEFAULTS.items() if not isinstance(value, dict)}
    ):
        assert run_checks(tags=["shopsearch"]) == []


def test_a_backend_says_itself_what_is_wrong_with_its_options():
    backend = "shopsearch.embedders.visualized_bge.VisualizedBGE"
    with shopsearch_settings(EMBEDDER={"BACKEND": backend, "OPTIONS": {"dtype": "int8"}}):
        assert "int8" in the_message("E020").msg


def test_E004_an_image_field_that_is_no_file_field(declare):
    declare(Artwork, image_field="code", product_field="")
    message = the_message("E004")
    assert "'code'" in message.msg
    assert message.hint == "Its file fields: original."
    assert message.obj is Artwork


def test_E004_a_product_field_that_is_no_foreign_key(declare):
    declare(PosterImage, product_field="position")
    message = the_message("E004")
    assert "'position'" in message.msg
    assert "Its foreign keys: product." in message.hint


def test_E004_a_text_field_that_the_product_does_not_have(declare):
    declare(ProductImage, text_fields=("title", "category__naem"))
    assert "shop.Category has no field or attribute 'naem'" in the_message("E004").msg


def test_E004_what_has_no_words_or_hides_products_by_itself_cannot_find_those_without_a_picture(declare):
    declare(ProductImage, pictureless=True)
    assert "only words find" in the_message("E004").msg
    hides = {
        "pictureless": True,
        "words": ("title",),
        "get_queryset": lambda self: ProductImage.objects.none(),
    }
    declare(ProductImage, **hides)
    assert "get_product_queryset" in the_message("E004").hint
    declare(ProductImage, **hides, get_product_queryset=lambda self: Product.objects.none())
    assert not messages("E004")


@pytest.mark.parametrize("name", ["site", "price"])
def test_E004_a_partition_by_what_is_no_filter_of_strings(declare, name):
    declare(ProductImage, filters={"price": Decimal}, partition_by=name)
    message = the_message("E004")
    assert f"partition_by: there is no filter {name!r} of type str" in message.msg
    assert f'"{name}": FilterField(str' in message.hint


@pytest.mark.parametrize("kind", [dict, list, list[int], "str", None])
def test_E005_a_filter_of_a_type_that_cannot_be_filtered_by(declare, kind):
    declare(ProductImage, filters={"title": kind})
    message = the_message("E005")
    assert "filters['title']" in message.msg
    assert "str, int, float, Decimal, bool or list[str]" in message.hint


@pytest.mark.parametrize(
    "name",
    ["q", "limit", "similar", "Colour", "2nd", "a__b", "größe", "in-stock", "_id", "", "id", "image_id"],
)
def test_E005_a_filter_with_a_name_that_means_something_else(declare, name):
    declare(ProductImage, filters={name: FilterField(str, "title")})
    assert "cannot have this name" in the_message("E005").msg


@pytest.mark.parametrize("source", ["colour", "category__colour", "category__name__colour__"])
def test_E005_a_filter_whose_value_is_nowhere_to_be_found(declare, source):
    declare(ProductImage, filters={"colour": FilterField(str, source)})
    assert "no field or attribute 'colour'" in messages("E005")[0].msg


@pytest.mark.parametrize(
    ("kind", "source", "words"),
    [
        (bool, "title", "is a CharField, which is no boolean"),
        (list[str], "category__name", "would take it letter by letter"),
        (int, "serial", "a column of 64 bits is declared as int"),
    ],
)
def test_E005_a_filter_that_would_have_other_values_than_its_column(declare, kind, source, words):
    declare(ProductImage, filters={"odd": FilterField(kind, source)})
    assert words in the_message("E005").msg


@pytest.mark.parametrize(
    ("kind", "source"),
    [(str, "serial"), (float, "serial"), (int, "pk"), (int, "id"), (bool, "in_stock"), (list[str], "tags")],
)
def test_E005_is_silent_where_column_and_type_fit(declare, kind, source):
    declare(ProductImage, filters={"fits": FilterField(kind, source)})
    assert messages("E005") == []


def test_E006_a_format_that_another_package_has_added_to_pillow(settings, monkeypatch):
    """The process that decodes does not have it: every file would be refused."""
    monkeypatch.setitem(Image.OPEN, "HEIF", (type("HeifImageFile", (), {"__module__": "pillow_heif"}), None))
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "IMAGE_FORMATS": ["JPEG", "HEIF"]}
    assert "IMAGE_FORMATS" in the_message("E006").msg


def test_E005_is_silent_where_the_project_finds_the_values_its_own_way(declare):
    declare(ProductImage, filters={"colour": str}, get_filter_values=lambda self, image: {"colour": "red"})
    assert messages("E005") == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PAGE_SIZE", 0),
        ("PAGE_SIZE", "24"),
        ("BATCH_SIZE", True),
        ("MAX_IMAGE_BYTES", 1.5),
        ("LEASE_SECONDS", -1),
        ("INDEX_QUEUE", ""),
        ("BASE_TEMPLATE", None),
        ("IMAGE_FORMATS", "JPEG"),
        ("IMAGE_FORMATS", ["JPG"]),
        ("IMAGE_FORMATS", []),
        ("RERANK_WEIGHT", 1.5),
        ("RERANK_LIFT", 0.5),
        ("RERANK_EVENTS", 1),
        ("EMBEDDER", None),
        ("THROTTLE_RATE", "many"),
        ("COLLECTION_PREFIX", "my-shop"),
        ("EMBEDDER", "shopsearch.testing.ColourEmbedder"),
        ("RULE_HOSTS", ["https://outlet.example/"]),
    ],
)
def test_E006_a_value_of_the_wrong_type(key, value):
    with shopsearch_settings(**{key: value}):
        message = the_message("E006")
    assert repr(key) in message.msg
    assert message.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LEASE_SECONDS", 0.5),
        ("THROTTLE_RATE", None),
        ("THROTTLE_RATE", "5/second"),
        ("IMAGE_FORMATS", ["PNG", "PPM"]),
        ("RERANKER", None),
        ("RERANK_WEIGHT", 0),
        ("RERANK_CACHE_SECONDS", 0),
        ("RERANK_EVENTS", True),
    ],
)
def test_E006_is_silent_for_values_that_fit(key, value):
    with shopsearch_settings(**{key: value}):
        assert messages("E006") == []


def test_E006_pages_that_do_not_fit_into_each_other():
    with shopsearch_settings(PAGE_SIZE=200):
        assert "MAX_PAGE_SIZE" in the_message("E006").msg


@override_settings(SHOPSEARCH=["EMBEDDER"])
def test_E006_a_setting_that_is_no_dictionary():
    assert "not a dictionary" in the_message("E006", deploy=True).msg


def test_W001_celery_has_no_broker(celery_conf):
    celery_conf(broker_url=None, broker_write_url=None)
    assert "CELERY_BROKER_URL" in the_message("W001").hint
    celery_conf(broker_url="redis://localhost")
    assert messages("W001") == []


def test_W002_uploads_are_held_in_memory_that_will_be_refused(settings):
    assert messages("W002") == []
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1_000_000_000
    assert "1,000,000,000" in the_message("W002").msg


def test_W003_celery_takes_more_than_json(celery_conf):
    assert messages("W003") == []
    celery_conf(accept_content=["json", "pickle"], task_serializer="yaml")
    assert "pickle, yaml" in the_message("W003").msg


def test_W004_tasks_run_where_they_are_sent_from(celery_conf, settings):
    celery_conf(task_always_eager=True)
    assert "CELERY_TASK_ALWAYS_EAGER" in the_message("W004").hint
    settings.DEBUG = True
    assert messages("W004") == []


def test_W005_the_throttle_counts_in_each_process_for_itself(settings):
    assert messages("W005") == []
    assert "120/min" in the_message("W005", deploy=True).msg
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
    assert messages("W005", deploy=True) == []


def test_W006_the_bundled_model_is_to_be_deployed():
    assert messages("W006", deploy=True) == []
    bundled = {"BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE"}
    with override_settings(SHOPSEARCH={"VECTOR_STORE": STORE, "EMBEDDER": bundled}):
        assert messages("W006") == []
        assert "shopsearch[photos]" in the_message("W006", deploy=True).hint


def test_W007_a_django_that_saves_rows_in_another_way(monkeypatch):
    assert messages("W007") == []
    monkeypatch.setattr(Model, "_save_table", lambda self, cls, row: None)
    assert "reconcile --fix" in the_message("W007").hint


def test_W008_a_package_is_not_installed_that_this_process_would_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with shopsearch_settings(EMBEDDER={"BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE"}):
        message = the_message("W008")
        assert message.msg == "torch is not installed: pip install 'shopsearch[models]'"
        assert "query worker" in message.hint


def test_W008_a_web_process_that_leaves_queries_to_a_worker_needs_no_model(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with shopsearch_settings(
        EMBEDDER={"BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE"},
        QUERY_EMBEDDER={"BACKEND": "shopsearch.embedders.remote.WorkerEmbedder"},
    ):
        assert messages("W008") == []


@pytest.mark.parametrize("values", [{"METRICS_TOKEN": "0123456789abcdef"}, {"METRICS_PORT": 9464}])
def test_W008_metrics_are_wanted_and_prometheus_client_is_not_installed(monkeypatch, values):
    with shopsearch_settings(**values):
        assert messages("W008") == []
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        assert "shopsearch[metrics]" in the_message("W008").msg


def test_E006_a_base_template_that_is_not_there():
    with shopsearch_settings(BASE_TEMPLATE="bse.html"):
        message = the_message("E006")
    assert "'bse.html', and the template is not there" in message.msg


def test_E007_rest_framework_is_no_app(settings):
    with override_settings(
        INSTALLED_APPS=[name for name in settings.INSTALLED_APPS if name != "rest_framework"]
    ):
        assert "'rest_framework' to INSTALLED_APPS" in the_message("E007").hint


def test_E008_a_router_that_keeps_what_is_noted_away_from_the_images(settings):
    assert messages("E008") == []
    settings.DATABASE_ROUTERS = ["tests.projects.test_databases.WithoutSearch"]
    assert {message.obj for message in messages("E008")} == {ProductImage, PosterImage, Artwork}
    assert 'app_label == "shopsearch"' in messages("E008")[0].hint


def test_addresses_that_are_not_included_are_W014():
    with override_settings(ROOT_URLCONF="tests.services.bare_urls"):
        assert 'include("shopsearch.urls")' in the_message("W014").hint


def test_an_image_indexes_that_no_app_brings_in_is_W015(tmp_path, monkeypatch):
    for package in ("aproject", "catalog", "other"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "catalog" / "image_indexes.py").touch()
    (tmp_path / "aproject" / "urls.py").write_text("urlpatterns = []")
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(ROOT_URLCONF="aproject.urls"):
        message = the_message("W015")
    assert (message.msg.split()[0], "'catalog'" in message.hint) == ("catalog/image_indexes.py", True)


def test_a_product_model_that_there_is_not_is_named_with_its_setting():
    class Pictured(AbstractProductImage):
        product = models.ForeignKey("shop.Prodct", models.CASCADE)

        class Meta:
            app_label = "elsewhere"
            apps = Apps()

    with pytest.raises(ImproperlyConfigured, match=r"'shop.Prodct'.*SHOPSEARCH_PRODUCT_MODEL"):
        _ = ImageIndex(Pictured).product_model


def test_an_aggregate_is_no_mistake_and_what_lacks_one_is_told_of_it(declare):
    sold = FilterField(int, "editions__sold")
    declare(PosterImage, filters={"sold": sold})
    assert "aggregate='min'" in the_message("E005").hint
    declare(
        PosterImage,
        filters={"sold": replace(sold, aggregate="max"), "labels": FilterField(list[str], "labels__name")},
    )
    assert not messages("E005")
    declare(PosterImage, variant_of="artist")
    assert "no foreign key 'artist' to itself" in the_message("E004").msg


def test_every_check_is_in_the_reference_and_has_a_test():
    code = "".join(path.read_text() for path in (ROOT / "shopsearch").rglob("*.py"))
    ids = set(re.findall(r'id="shopsearch\.([EW]\d{3})"', code))
    table = re.findall(
        r"^\| `shopsearch\.([EW]\d{3})` \|", (ROOT / "docs/reference-checks.md").read_text(), re.M
    )
    assert sorted(table) == sorted(ids)
    ours = {check_id for check_id in ids if check_id[1:] < "010"}  # the others are the backends' own
    assert ours == {name.split("_")[1] for name in globals() if re.match(r"test_[EW]\d{3}_", name)}


def test_checking_asks_neither_the_database_nor_a_service():
    # Without the database fixture a query is an error; heavy imports are watched by test_house.py.
    assert run_checks(tags=["shopsearch"], include_deployment_checks=True) is not None


def test_every_parameter_of_the_api_is_a_name_that_no_filter_may_have():
    from shopsearch.api import serializers
    from shopsearch.checks.indexes import PARAMETERS

    assert set(PARAMETERS) == serializers.RESERVED | {"similar", "picture"}
