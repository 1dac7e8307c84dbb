"""Where and by whom a picture was taken is in no copy of it that shopsearch keeps or sends on."""

import base64
import io
import json
import threading

import pytest
from django.apps import apps
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image

from shopsearch.backends import get_query_embedder
from shopsearch.embedders.remote.messages import write_vectors
from shopsearch.images import decode
from shopsearch.indexing import batch
from shopsearch.models import Change, EvaluationQuery, ProductImage, Rerank
from shopsearch.registry import index_for
from shopsearch.search import reranking
from shopsearch.testing import ColourEmbedder
from tests.hostile.pictures import PLACES, noted
from tests.services.query_worker import WORKER_EMBEDDER
from tests.shop.pictures import BLUE, GREEN, RED, product


@pytest.fixture(scope="module")
def pictures():
    """One of each format that can carry notes."""
    pictures = noted()
    assert all(map(has_notes, pictures.values())), "what is not in a file cannot be seen to be gone"
    return pictures


@pytest.fixture
def shop(settings, db):
    """Three products, old formats too, and what the test says of SHOPSEARCH."""

    def configure(**options):
        formats = ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF"]
        defaults = {"IMAGE_FORMATS": formats, "THROTTLE_RATE": None}
        settings.SHOPSEARCH = {**settings.SHOPSEARCH, **defaults, **options}
        for colour in (RED, GREEN, BLUE):
            product(colour)
        Change.objects.note_all(index_for(ProductImage))
        list(batch.index_pending())
        cache.clear()

    return configure


def has_notes(content):
    return any(place in content for place in PLACES)


def is_clean(content):
    """Whether a JPEG is one of the small copies, with no segment that holds anything but the picture."""
    with Image.open(io.BytesIO(content)) as read:
        allowed = {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        return set(read.info) <= allowed and not read.getexif() and not has_notes(content)


def search(client, picture, **fields):
    response = client.post("/api/search/", {"image": SimpleUploadedFile("x", picture), **fields})
    assert response.status_code == 200, response.content
    return response


def everything_stored():
    """Every value in every table, as bytes."""
    for model in apps.get_models():
        for row in model._default_manager.all().values_list():
            for value in row:
                yield bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def test_what_is_decoded_is_pixels_alone(pictures, shop):
    shop()
    for content in pictures.values():
        decoded = decode(content)
        assert (decoded.info, dict(decoded.getexif()), getattr(decoded, "text", {})) == ({}, {}, {})
        assert type(decoded) is Image.Image


def test_nothing_is_in_the_database_the_cache_the_answer_or_the_log(pictures, shop, client, caplog):
    shop()
    answers = [search(client, each, rerank="true", collect="true").content for each in pictures.values()]
    copies = [bytes(rerank.picture) for rerank in Rerank.objects.all()]
    assert len(copies) == len(cache._cache) == len(pictures)
    for copy in copies:
        assert is_clean(copy)
        with Image.open(io.BytesIO(copy)) as kept:
            assert max(kept.size) <= 448
    kept = [*everything_stored(), *cache._cache.values(), *answers, caplog.text.encode()]
    assert not any(has_notes(each) for each in kept)


def test_nothing_is_on_the_search_page(pictures, shop, client):
    shop()
    for content in pictures.values():
        upload = SimpleUploadedFile("x", content)
        fragment = {"headers": {"X-Shopsearch-Fragment": "results"}}
        response = client.post(reverse("shopsearch:search"), {"image": upload}, **fragment)
        assert response.status_code == 200
        assert not has_notes(response.content)
    assert Rerank.objects.count() == len(pictures)
    assert not any(has_notes(each) for each in everything_stored())


class Listening(threading.Thread):
    """A query worker that keeps what it was sent."""

    def __init__(self, requests):
        super().__init__(daemon=True)
        self.requests, self.sent, self.ended = requests, [], threading.Event()

    def run(self):
        while not self.ended.is_set():
            for number, content in self.requests.take(1):
                self.sent.append(content)
                asked = json.loads(content)["queries"]
                vectors = ColourEmbedder().embed([reranking.Query(text="red")] * len(asked))
                self.requests.answer(number, write_vectors("colour", vectors))


def test_nothing_is_sent_to_the_query_worker(pictures, shop, client, redis_server):
    worker = {"BACKEND": WORKER_EMBEDDER, "OPTIONS": {"url": redis_server.url, "timeout_seconds": 60}}
    shop(QUERY_EMBEDDER=worker, QUERY_CACHE_SECONDS=0)
    listening = Listening(get_query_embedder().requests)
    listening.start()
    for content in pictures.values():
        search(client, content)
    listening.ended.set()
    listening.join(timeout=60)
    assert len(listening.sent) == len(pictures)
    for content in listening.sent:
        [query] = json.loads(content)["queries"]
        assert query.keys() == {"text", "image"}
        assert query["image"].keys() == {"width", "height", "pixels"}
        pixels = base64.b64decode(query["image"]["pixels"])
        assert max(query["image"]["width"], query["image"]["height"]) <= 448
        assert len(pixels) == 3 * query["image"]["width"] * query["image"]["height"]
        assert not has_notes(pixels)
        assert not has_notes(content)
    with redis_server.client() as redis:
        assert redis.keys() == [], "neither requests nor replies are left"


def test_nothing_is_sent_to_a_model_server(pictures, shop, client, model_server):
    options = {"url": model_server.url, "model": "tiny", "timeout_seconds": 60}
    shop(RERANKER={"BACKEND": "shopsearch.rerankers.server.ServerReranker", "OPTIONS": options})
    model_server.will("obey")
    for content in pictures.values():
        search(client, content, rerank="true")
        assert reranking.answer_next()
    assert len(model_server.requests) == len(pictures)
    for asked in model_server.requests:
        assert not has_notes(json.dumps(asked).encode())
        sent = [part for part in all_texts(asked["question"]) if part.startswith("data:image/jpeg;base64,")]
        assert sent
        assert all(is_clean(base64.b64decode(each.partition(",")[2])) for each in sent)
    assert set(Rerank.objects.values_list("state", "picture")) == {(Rerank.State.DONE, None)}


def all_texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from all_texts(each)


def test_nothing_is_kept_of_a_query_that_staff_write(pictures, shop, admin_client):
    shop()
    for content in pictures.values():
        data = {"index": index_for(ProductImage).name, "text": "", "upload": SimpleUploadedFile("x", content)}
        admin_client.post(reverse("admin:shopsearch_evaluationquery_add"), data)
    queries = EvaluationQuery.objects.all()
    assert len(queries) == len(pictures)
    for query in queries:
        assert is_clean(bytes(query.picture))
        answer = admin_client.get(reverse("admin:shopsearch_evaluationquery_picture", args=[query.pk]))
        assert is_clean(answer.content)
