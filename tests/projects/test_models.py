"""A shop's own models: keys that are UUIDs, multi-table inheritance, default managers that hide rows, transactions."""

import pytest
from django.db import transaction

from shopsearch import FilterField, ImageIndex, registry
from shopsearch.indexing.receivers import Receivers
from shopsearch.models import Change
from shopsearch.search import reranking, search, similar
from tests.shop.models import Chair, ChairImage, Furniture
from tests.shop.pictures import BLUE, RED, picture
from tests.shop.store import entities, index_everything

from .walk import RERANKED

pytestmark = pytest.mark.django_db


class ChairIndex(ImageIndex):
    filters = {"legs": int, "set": FilterField(str, "set__title")}


@pytest.fixture(autouse=True)
def chairs(settings, monkeypatch):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, **RERANKED}
    index = ChairIndex(ChairImage)
    monkeypatch.setitem(registry.registry._indexes, ChairImage, index)
    Receivers(index).connect()
    return index


def chair(colour=RED, **fields):
    made = Chair.objects.create(**{"title": "chair"} | fields)
    ChairImage.objects.create(product=made, image=picture(colour))
    return made


def found(index):
    index_everything()
    return [result.product for result in search("red", index=index.name).results]


def test_uuid_keys_and_inherited_rows_go_the_whole_way(client, chairs):
    red, blue = chair(title="red chair", legs=4), chair(BLUE, title="blue chair", legs=3)
    index_everything()
    answer = client.get(
        "/api/search/", {"q": "red", "index": chairs.name, "rerank": "true", "facets": "legs"}
    ).json()
    assert [each["product"]["id"] for each in answer["results"]] == [str(red.pk), str(blue.pk)]
    by_legs = client.get("/api/search/", {"q": "red", "index": chairs.name, "sort": "legs"}).json()
    assert [each["product"]["id"] for each in by_legs["results"]] == [str(blue.pk), str(red.pk)]
    assert reranking.answer_next()
    assert client.get(answer["rerank"]["url"]).json()["order"] == [str(blue.pk), str(red.pk)]
    page = client.get(
        "/search/", {"q": "red", "index": chairs.name}, HTTP_SEC_FETCH_DEST="document"
    ).content.decode()
    assert f'data-shopsearch-better="{blue.pk} {red.pk}"' in page
    assert [result.product for result in similar(red).results] == [blue]
    alike = client.get(f"/api/products/{red.pk}/similar/", {"index": chairs.name}).json()
    assert [each["product"]["id"] for each in alike["results"]] == [str(blue.pk)]


def test_a_save_of_the_parent_alone_is_followed(chairs):
    made = chair(title="chair")
    index_everything()
    parent = Furniture.objects.get(pk=made.pk)
    parent.set = Furniture.objects.create(title="dining room")
    parent.save()
    index_everything()
    [entity] = entities(chairs).values()
    assert entity.fields["set"] == "dining room"


@pytest.mark.parametrize("hidden", ["product", "parent", "image"])
def test_what_a_default_manager_hides_is_not_found_and_is_found_again_when_it_is_shown(
    client, chairs, hidden
):
    made = chair()
    assert found(chairs) == [made]
    row = {"product": made, "parent": Furniture.objects.get(pk=made.pk), "image": made.images.get()}[hidden]
    row.is_removed = True
    row.save()
    assert client.get("/api/search/", {"q": "red", "index": chairs.name}).json()["results"] == []
    assert found(chairs) == []
    assert entities(chairs) == {}
    row.is_removed = False
    row.save()
    assert found(chairs) == [made]


def test_a_save_that_a_savepoint_takes_back_is_not_noted_and_the_one_around_it_is(chairs):
    with transaction.atomic():
        kept = chair(title="kept")
        try:
            with transaction.atomic():
                chair(title="taken back")
                raise ValueError
        except ValueError:
            pass
    assert set(Change.objects.values_list("image_id", flat=True)) == {str(kept.images.get().pk)}
    assert found(chairs) == [kept]
