"""manage.py shopsearch_models use: a better model from the hub, measured on this shop before it is set."""

import io
import json

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils.module_loading import import_string

from shopsearch.models import Collection
from tests.embedders.contract import mixed_queries
from tests.services.hub import Hub, ask
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything

torch = pytest.importorskip("torch")
from shopsearch.embedders.two_tower import open_clip  # noqa: E402
from tests.embedders.two_tower import open_clip_models  # noqa: E402

NAME = "marqo-ecommerce-embeddings-b"

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return open_clip_models.make(tmp_path_factory.mktemp("marqo"))


@pytest.fixture
def hub(published, monkeypatch):
    monkeypatch.setitem(open_clip.TRUNKS, open_clip_models.TRUNK, open_clip_models.CASE["trunk"])
    files = {path.name: path.read_bytes() for path in published.iterdir()}
    with Hub(repositories={open_clip_models.NAME: files}) as hub:
        ask(hub, monkeypatch)
        yield hub


@pytest.fixture
def shop():
    for name, colour in {"red mug": RED, "green mug": GREEN, "blue mug": BLUE}.items():
        product(colour, title=name)
    index_everything()


def use(folder, *options):
    output = io.StringIO()
    call_command("shopsearch_models", "use", NAME, str(folder), *options, stdout=output)
    return output.getvalue()


def test_it_is_downloaded_measured_beside_the_present_one_and_said_how_to_switch_to(
    shop, hub, published, tmp_path
):
    said = use(tmp_path / "model")
    assert "over the products' own texts; no queries have been judged yet" in said
    assert "3 queries" in said
    assert f"{NAME[:18]}, better by" in said
    setting = json.loads(said.partition("SHOPSEARCH = ")[2])["EMBEDDER"]
    embedder = import_string(setting["BACKEND"])(**setting["OPTIONS"])
    queries = mixed_queries(2)
    original = type(embedder)(model=str(published))
    np.testing.assert_array_equal(embedder.embed(queries), original.embed(queries))


def test_what_answers_now_is_left_as_it_is(shop, hub, tmp_path):
    before = list(Collection.objects.values("name", "state", "space"))
    use(tmp_path / "model")
    assert list(Collection.objects.values("name", "state", "space")) == before


def test_a_shop_without_anything_indexed_is_told_that_nothing_was_measured(hub, tmp_path):
    said = use(tmp_path / "model")
    assert "Not measured: nothing of" in said
    assert "SHOPSEARCH = " in said


def test_a_download_that_cannot_be_had_ends_it(hub, tmp_path):
    hub.gated.add(open_clip_models.NAME)
    with pytest.raises(CommandError, match="Accept them on its page"):
        use(tmp_path / "model")


def test_files_that_are_no_such_model_end_it_before_anything_is_set(hub, tmp_path):
    hub.repositories[open_clip_models.NAME] = {"open_clip_config.json": b"{}"}
    with pytest.raises(CommandError):
        use(tmp_path / "model")
