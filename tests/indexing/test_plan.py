"""The plan of a batch: what becomes of an image in each collection, decided without a model, a store or a database."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsearch.indexing.batch import Destination, Snapshot, Stored, hash_fields, hashes_of, plan, without
from shopsearch.models import CachedVector, Collection, Hashes, IndexEntry

ENTRY = IndexEntry(pk=1, index="shop_productimage", image_id="7")
FIELDS = {"price": 5.0, "title": "mug"}
VECTOR = np.ones(2, np.float32)
LIVE, BUILDING = Collection.State.LIVE, Collection.State.BUILDING


@pytest.fixture(autouse=True)
def no_backend(settings):
    nowhere = {"BACKEND": "nowhere.Nothing"}
    settings.SHOPSEARCH = {"EMBEDDER": nowhere, "VECTOR_STORE": nowhere}


def snapshot(image_hash="a", **fields):
    fields = FIELDS | fields
    return Snapshot(
        content=b"",
        image_hash=image_hash,
        product_id="3",
        fields=fields,
        fields_hash=hash_fields("3", fields),
    )


def destination(pk=1, *, state=LIVE, space="one", has_model=True, fields=FIELDS, declared=FIELDS):
    collection = Collection(pk=pk, state=state, space=space, fields=dict.fromkeys(fields, "any"))
    return Destination(collection=collection, has_model=has_model, declared=frozenset(declared))


def stored(there, *, is_current=True, space="one"):
    return Stored(
        hashes=hashes_of(there, there.fields),
        is_current=is_current,
        space=space,
        vector=VECTOR,
        fields=there.fields,
    )


def cached(image_hash, space="one"):
    row = CachedVector(pk=9, image_id="7", space=space, image_hash=image_hash)
    row.numbers = VECTOR.tobytes()
    return row


def decided(now, there, *destinations, cache=()):
    there = {each.collection: what for each, what in there.items()}
    return plan(ENTRY, now, there, cache, destinations)


def test_a_new_image_is_embedded_once_in_each_space_and_written_everywhere():
    live, building, same_space = destination(), destination(2, space="two"), destination(3)
    made = decided(snapshot(), {}, live, building, same_space)
    assert set(made.writes) == {live, building, same_space}
    assert made.unembedded == {"one", "two"}
    assert made.news == dict.fromkeys(
        (live.collection, building.collection, same_space.collection), hashes_of(snapshot(), FIELDS)
    )


def test_what_is_unchanged_is_neither_embedded_nor_written_and_is_no_news():
    live = destination()
    made = decided(snapshot(), {live: stored(snapshot())}, live)
    assert (made.writes, made.unembedded, made.news) == ({}, set(), {})
    assert list(made.unchanged) == [live.collection]


def test_what_is_unchanged_since_an_earlier_filling_is_news_all_the_same():
    live = destination()
    made = decided(snapshot(), {live: stored(snapshot(), is_current=False)}, live)
    assert made.news == {live.collection: hashes_of(snapshot(), FIELDS)}


def test_another_price_is_written_with_the_vector_that_is_there():
    live = destination()
    made = decided(snapshot(price=6.0), {live: stored(snapshot())}, live)
    assert made.writes == {live: FIELDS | {"price": 6.0}}
    assert made.unembedded == set()


def test_another_picture_is_embedded_again():
    live = destination()
    made = decided(snapshot("b"), {live: stored(snapshot("a"))}, live)
    assert (list(made.writes), made.unembedded) == ([live], {"one"})


@pytest.mark.parametrize(("image_hash", "unembedded"), [("a", set()), ("b", {"one"})])
def test_a_cached_vector_is_used_for_the_same_file_only(image_hash, unembedded):
    assert decided(snapshot("a"), {}, destination(), cache=[cached(image_hash)]).unembedded == unembedded


def test_a_vector_of_another_collection_of_the_space_is_used():
    retired = destination(2, state=Collection.State.RETIRED)
    made = decided(snapshot(), {retired: stored(snapshot())}, destination())
    assert made.unembedded == set()


def test_without_its_model_a_live_collection_goes_on_holding_what_it_holds():
    live = destination(has_model=False)
    made = decided(snapshot("b"), {live: stored(snapshot("a"))}, live)
    assert (made.writes, made.unchanged) == ({}, {})
    assert made.left == {live.collection: hashes_of(snapshot("a"), FIELDS)}


def test_a_new_collection_that_this_process_does_not_understand_is_left_to_one_that_does():
    live, building = destination(), destination(2, state=BUILDING, fields=[*FIELDS, "colour"])
    made = decided(snapshot(), {}, live, building)
    assert (list(made.writes), made.left) == ([live], {building.collection: None})


def test_a_live_collection_keeps_the_value_of_a_field_that_is_not_declared_any_more():
    live = destination(declared=["title"])
    made = decided(snapshot(title="cup"), {live: stored(snapshot(price=9.0))}, live)
    assert made.writes == {live: {"price": 9.0, "title": "cup"}}


def test_a_destination_that_cannot_be_written_is_taken_out_and_nothing_is_said_of_it():
    live, building = destination(), destination(2, state=BUILDING)
    made = without(decided(snapshot(), {}, live, building), building)
    assert list(made.writes) == [live]
    assert made.news == {live.collection: hashes_of(snapshot(), FIELDS), building.collection: None}


STATES = st.sampled_from([LIVE, BUILDING, Collection.State.PAUSED])
DESTINATIONS = st.lists(
    st.tuples(STATES, st.sampled_from("xy"), st.booleans(), st.sets(st.sampled_from(sorted(FIELDS)))),
    max_size=4,
)
THERE = st.lists(st.none() | st.tuples(st.sampled_from("ab"), st.floats(0, 2)), min_size=4, max_size=4)


@given(DESTINATIONS, THERE, st.sets(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"))))
def test_whatever_is_held_each_destination_has_one_outcome_and_nothing_known_is_embedded(chosen, held, cache):
    destinations = [
        destination(pk, state=state, space=space, has_model=has_model, declared=declared)
        for pk, (state, space, has_model, declared) in enumerate(chosen, 1)
    ]
    there = {
        each: stored(snapshot(what[0], price=what[1]), space=each.space)
        for each, what in zip(destinations, held, strict=False)
        if what
    }
    made = decided(snapshot("a"), there, *destinations, cache=[cached(*each) for each in sorted(cache)])
    outcomes = [*made.unchanged, *(each.collection for each in made.writes), *made.left]
    assert sorted(each.pk for each in outcomes) == [each.collection.pk for each in destinations]
    known = {each.space for each, what in there.items() if what.hashes.image == "a"}
    known |= {space for image_hash, space in cache if image_hash == "a"}
    assert not made.unembedded & known
    assert all(each.has_model or each.space in known for each in made.writes)
    assert all(isinstance(each, Hashes | None) for each in made.news.values())
