"""The OpenAPI schema: complete without a warning, and true."""

import io
import json
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from PIL import Image

from shopsearch.exceptions import VectorStoreError
from shopsearch.indexing import batch
from shopsearch.models import ProductImage
from shopsearch.testing import MemoryStore
from tests.shop.models import Artwork, Product
from tests.shop.pictures import RED, product
from tests.shop.store import index_everything

URL = "/api/search/"


@pytest.fixture(scope="module")
def schema():
    written = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=written)
    return json.loads(written.getvalue())


@pytest.fixture(autouse=True)
def _an_empty_store(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    cache.clear()


def promised(schema, method, status):
    """The JSON schema of an answer, OpenAPI 3.0's ``nullable`` said as JSON Schema says it."""

    def plain(node):
        if isinstance(node, list):
            return [plain(each) for each in node]
        if not isinstance(node, dict):
            return node
        node = {name: plain(value) for name, value in node.items()}
        if node.pop("nullable", False):
            return {"anyOf": [node, {"type": "null"}]}
        return node

    answer = schema["paths"][URL][method]["responses"][status]["content"]["application/json"]["schema"]
    return plain({**answer, "components": schema["components"]})


def keeps_its_promise(schema, method, response):
    promise = promised(schema, method, str(response.status_code))
    jsonschema.Draft202012Validator(promise).validate(response.json())
    return response


def picture():
    content = io.BytesIO()
    Image.new("RGB", (32, 32), (220, 30, 30)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.django_db
def test_real_answers_are_as_the_schema_promises(schema, client):
    for number in range(3):
        product = Product.objects.create(title=f"red mug {number}")
        ProductImage.objects.create(product=product, image=ContentFile(picture(), "mug.png"))
    Artwork.objects.create(code="sunset", original=ContentFile(picture(), "sunset.png"))
    list(batch.index_pending())
    for query in ("q=red&limit=1", "q=red&limit=1&offset=1&tags=x&tags=y", "q=red&index=shop_artwork"):
        response = keeps_its_promise(schema, "get", client.get(f"{URL}?{query}"))
        assert response.status_code == 200
    upload = SimpleUploadedFile("query.png", picture())
    response = keeps_its_promise(schema, "post", client.post(URL, {"q": "mug", "image": upload}))
    assert len(response.json()["results"]) == 3


@pytest.mark.django_db
def test_real_refusals_are_as_the_schema_promises(schema, client, settings, monkeypatch):
    product(RED)
    index_everything()
    assert keeps_its_promise(schema, "get", client.get(URL)).status_code == 400
    assert keeps_its_promise(schema, "get", client.get(URL + "?q=red&x=1")).status_code == 400
    broken = SimpleUploadedFile("query.png", b"broken")
    assert keeps_its_promise(schema, "post", client.post(URL, {"image": broken})).status_code == 400

    def away(*args, **kwargs):
        raise VectorStoreError

    monkeypatch.setattr(MemoryStore, "search", away)
    assert keeps_its_promise(schema, "get", client.get(URL + "?q=red")).status_code == 503
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": "1/day"}
    client.get(URL)
    assert keeps_its_promise(schema, "get", client.get(URL)).status_code == 429


def test_the_examples_are_as_the_schema_promises(schema):
    seen = 0
    for method in ("get", "post"):
        for status, answer in schema["paths"][URL][method]["responses"].items():
            for example in answer["content"]["application/json"].get("examples", {}).values():
                jsonschema.Draft202012Validator(promised(schema, method, status)).validate(example["value"])
                seen += 1
    assert seen == 4


def test_an_answer_that_breaks_the_promise_would_be_noticed(schema):
    promise = promised(schema, "get", "200")
    example = schema["paths"][URL]["get"]["responses"]["200"]["content"]["application/json"]["examples"]
    answer = next(iter(example.values()))["value"]
    for harm in (
        {"results": None},
        {"count": "one"},
        {"next": 3},
        {"query": {**answer["query"], "kind": "TEXT"}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**answer, **harm}, promise, cls=jsonschema.Draft202012Validator)


def test_a_picture_is_posted_as_a_file(schema):
    body = schema["paths"][URL]["post"]["requestBody"]
    assert body["required"]
    assert {kind: each["schema"]["$ref"].rpartition("/")[2] for kind, each in body["content"].items()} == {
        "multipart/form-data": "SearchForm",
        "application/json": "SearchObject",
    }
    fields = schema["components"]["schemas"]["SearchForm"]["properties"]
    assert fields["image"]["items"]["format"] == "binary"
    assert set(fields) >= {"q", "image", "limit", "offset", "index", "rerank", "collect", "price__lte"}
    assert not {"image", "image_url"} & set(schema["components"]["schemas"]["SearchObject"]["properties"])


def test_filters_are_parameters_of_their_own_names(schema):
    parameters = {each["name"]: each for each in schema["paths"][URL]["get"]["parameters"]}
    assert set(parameters) >= {
        "q",
        "limit",
        "offset",
        "index",
        "category",
        "price__gte",
        "in_stock",
        "artist",
    }
    category = parameters["category"]
    assert (category["schema"]["type"], category.get("style", "form"), category.get("explode", True)) == (
        "array",
        "form",  # the default of OpenAPI, whose values are parameters of their own
        True,
    )
    assert [name for name, each in parameters.items() if each.get("required")] == ["q"]


def test_the_limits_and_the_indexes_are_those_of_the_shop(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_PAGE_SIZE": 7, "MAX_RESULTS": 70, "PAGE_SIZE": 5}
    described = SchemaGenerator().get_schema(request=None, public=True)["paths"][URL]["get"]["parameters"]
    parameters = {each["name"]: each["schema"] for each in described}
    limit, offset, index = (parameters[name] for name in ("limit", "offset", "index"))
    assert (limit["anyOf"][0]["maximum"], limit["default"], offset["anyOf"][0]["maximum"]) == (7, 5, 69)
    assert set(index["anyOf"][0]["enum"]) == {
        "shopsearch_productimage",
        "shop_artwork",
        "shop_posterimage",
        "",
    }


def test_the_address_of_the_next_page_in_the_example_is_one(schema):
    example = schema["paths"][URL]["get"]["responses"]["200"]["content"]["application/json"]["examples"]
    following = next(iter(example.values()))["value"]["next"]
    assert urlsplit(following).path == URL
    assert set(parse_qs(urlsplit(following).query)) == {"q", "limit", "offset", "price__lte"}


def test_components_are_named_so_that_they_meet_none_of_the_shops(schema):
    # But for those that drf-spectacular renames where it must.
    names = {name for name in schema["components"]["schemas"] if not name.endswith("Enum")}
    assert {name for name in names if not name.startswith("Search")} == set()
