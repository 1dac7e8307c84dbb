"""Paths to several rows: one line declares what counts, and the number of queries does not grow with the shop."""

from decimal import Decimal

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shopsearch import FilterField
from shopsearch.backends import get_vector_store
from shopsearch.filters import AnyOf, parse
from shopsearch.indexing import batch, receivers
from shopsearch.models import Change
from shopsearch.registry import index_for
from shopsearch.search import facet_counts, facets, rules, search, similar, synonyms
from shopsearch.search.columns import column
from shopsearch.search.result_set import ResultSet
from tests.shop.models import Artist, Country, Edition, Label, Poster, PosterImage
from tests.shop.pictures import picture

pytestmark = pytest.mark.django_db
POSTERS = index_for(PosterImage)
FILTERS = {
    "artist": FilterField(str, "artist__name"),
    "labels": FilterField(list[str], "labels__name"),
    "cheapest": FilterField(Decimal, "editions__sold", aggregate="min"),
    "dearest": FilterField(int, "editions__sold", aggregate="max"),
    "selling": FilterField(bool, "editions__sold", aggregate="any"),
}


@pytest.fixture(autouse=True)
def _shop(monkeypatch, settings):
    monkeypatch.setattr(type(POSTERS), "filters", FILTERS)
    monkeypatch.setattr(type(POSTERS), "related", ())
    monkeypatch.setattr(type(POSTERS), "words", ("title", "labels__name"))
    settings.SHOPSEARCH = settings.SHOPSEARCH | {"BATCH_SIZE": 500, "FACET_LIMIT": 500}
    get_vector_store().clear()
    yield
    get_vector_store().clear()
    monkeypatch.undo()
    receivers.connect()  # as the shop's own index is declared


def posters(count):
    """As many posters, each with a picture, two labels and two editions."""
    here = Country.objects.create(name="here")
    red, blue = (Label.objects.get_or_create(name=name)[0] for name in ("red", "blue"))
    for number in range(count):
        artist = Artist.objects.create(name=f"artist {number % 7}", country=here)
        poster = Poster.objects.create(title=f"poster {number}", artist=artist)
        poster.labels.add(red, *([blue] if number % 2 else []))
        Edition.objects.bulk_create(Edition(poster=poster, sold=sold) for sold in (number % 3, number % 5))
        PosterImage.objects.create(product=poster, image=picture())


def value(name, *, labels=(), sold=()):
    poster = Poster.objects.create(title="sea")
    poster.labels.set(Label.objects.create(name=each) for each in labels)
    Edition.objects.bulk_create(Edition(poster=poster, sold=each) for each in sold)
    return POSTERS.get_filter_values(PosterImage(product=poster))[name]


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("labels", {"labels": ["red", "blue", "red"]}, ("red", "blue")),
        ("labels", {}, ()),
        ("cheapest", {"sold": [3, 2, 5]}, 2.0),
        ("dearest", {"sold": [3, 2, 5]}, 5.0),
        ("dearest", {}, None),
        ("selling", {"sold": [0, 2]}, True),
        ("selling", {"sold": [0, 0]}, False),
        ("selling", {}, False),
    ],
)
def test_an_aggregate_makes_one_value_of_several(name, rows, expected):
    assert value(name, **rows) == expected


def test_several_values_without_an_aggregate_are_an_error_that_says_what_to_write(monkeypatch):
    monkeypatch.setattr(type(POSTERS), "filters", {"sold": FilterField(int, "editions__sold")})
    with pytest.raises(ImproperlyConfigured, match=r"FilterField\(int, 'editions__sold', aggregate='min'\)"):
        value("sold", sold=[1])


@pytest.mark.parametrize(("kind", "aggregate"), [(str, "any"), (bool, "min"), (int, "list"), (int, "sum")])
def test_an_aggregate_that_does_not_fit_its_type_is_an_error(kind, aggregate):
    with pytest.raises(ImproperlyConfigured, match="aggregate"):
        _ = FilterField(kind, "editions__sold", aggregate=aggregate).kind


def test_words_are_those_of_all_the_rows():
    poster = Poster.objects.create(title="sea")
    poster.labels.set(Label.objects.create(name=each) for each in ("waves", "storm"))
    assert sorted(POSTERS.get_words(poster)) == ["sea", "storm", "waves"]


def test_a_row_at_the_end_of_a_declared_path_is_followed_without_related():
    posters(1)
    list(batch.index_pending())
    Edition.objects.latest("pk").delete()
    edition = Edition.objects.get()
    edition.sold = 77
    edition.save()
    Label.objects.filter(name="red").get().delete()
    list(batch.index_pending())
    [result] = search("x", index=POSTERS.name, filters={"dearest__gte": 77, "cheapest__gte": 77}).results
    assert POSTERS.get_filter_values(result.image)["labels"] == ()


@pytest.mark.parametrize("condition", [{}, {"labels": ["blue"]}, {"selling": True}, {"dearest__gte": 2}])
def test_the_database_counts_what_reading_every_image_counts(condition, monkeypatch):
    posters(25)
    Poster.objects.create(title="without a picture")
    PosterImage.objects.create(product=Poster.objects.create(title="bare"), image=picture())
    asked = parse(condition, POSTERS.filter_types)
    assert all(column(POSTERS, name) for name in FILTERS)
    counted = facets.facets(POSTERS, asked, list(FILTERS))
    every = ResultSet(products=frozenset(str(each.pk) for each in Poster.objects.all()))
    with CaptureQueriesContext(connection) as captured:
        assert facets.facets_of(every, POSTERS, asked, list(FILTERS))[0] == counted
    assert len(captured) == 2, "one, and one for the labels"
    monkeypatch.setattr(facets, "column", lambda index, name: None)
    monkeypatch.setattr(facet_counts, "narrowed", lambda found, index, conditions: found)
    read = facets.facets(POSTERS, asked, list(FILTERS))
    assert counted == read
    assert [value.count for value in counted[1].values if value.value == "blue"] == [
        sum(
            POSTERS.get_filter_values(image)["labels"].count("blue")
            for image in POSTERS.get_queryset()
            if condition.get("dearest__gte", 0) <= (POSTERS.get_filter_values(image)["dearest"] or 0)
            and (not condition.get("selling") or POSTERS.get_filter_values(image)["selling"])
        )
    ]


def test_a_facet_reads_the_label_of_each_of_several_values(monkeypatch):
    labelled = {"labels": FilterField(list[str], "labels__pk", label="labels__name")}
    monkeypatch.setattr(type(POSTERS), "filters", labelled)
    posters(4)
    [facet] = facets.facets(POSTERS, None, ["labels"])
    assert {(value.label, value.count) for value in facet.values} == {("red", 4), ("blue", 2)}
    every = ResultSet(products=frozenset(str(each.pk) for each in Poster.objects.all()))
    [same], number = facets.facets_of(every, POSTERS, None, ["labels"])
    assert (same, number.value) == (facet, 4)


def index_again():
    """What an import that changes every product leaves to do."""
    Poster.objects.update(title=f"poster of {Poster.objects.count()}")
    Change.objects.note(POSTERS, PosterImage.objects.values_list("pk", flat=True))
    with CaptureQueriesContext(connection) as captured:
        batch.index_batch()
    # SQLite takes 999 values in a statement: the outbox's own come in chunks.
    return len([each for each in captured.captured_queries if '"shop_' in each["sql"]])


def test_the_pictures_of_variants_are_found_as_their_product(monkeypatch):
    monkeypatch.setattr(type(POSTERS), "variant_of", "reprint_of")
    monkeypatch.setattr(type(POSTERS), "words", ("title", "reprints__title"))
    sea, tree = Poster.objects.create(title="sea"), Poster.objects.create(title="tree")
    reprint = Poster.objects.create(title="waves", reprint_of=sea)
    Edition.objects.create(poster=sea, sold=5)
    for each, colour in ((sea, "green"), (reprint, "red"), (tree, "blue")):
        PosterImage.objects.create(product=each, image=picture(colour))
    receivers.connect()
    list(batch.index_pending())
    monkeypatch.setattr(synonyms, "KEPT_SECONDS", 600)
    search("blue", index=POSTERS.name)  # reads the vocabulary, the synonyms and the calibration
    with CaptureQueriesContext(connection) as captured:
        found = search("red", index=POSTERS.name, filters={"dearest": 5})
    assert ([result.product for result in found.results], len(captured)) == ([sea], 3)
    assert set(POSTERS.images_of([sea.pk])) == set(PosterImage.objects.exclude(product=tree))
    assert [result.product for result in similar(sea).results] == [tree]
    [facet] = facets.facets(POSTERS, None, ["dearest"])
    assert (facet.minimum, facet.maximum) == (5, 5)
    reprint.title = "storm"
    reprint.save()
    sea.editions.get().delete()
    assert {batch.claimed for batch in batch.index_pending()} == {2}
    assert not search("red", index=POSTERS.name, filters={"dearest": 5}).results


def queries(act):
    with CaptureQueriesContext(connection) as captured:
        act()
    return len(captured)


def test_the_number_of_queries_does_not_grow_with_the_shop():
    def count():
        posters(100)
        list(batch.index_pending())
        search("red", index=POSTERS.name)  # reads the calibration, which is kept
        return {
            "search": queries(lambda: search("red", index=POSTERS.name)),
            "page": queries(lambda: search("red", index=POSTERS.name, offset=48)),
            "sort": queries(lambda: search("red", index=POSTERS.name, sort="-dearest")),
            "facets": queries(lambda: facets.facets(POSTERS, None, list(FILTERS))),
            "index": index_again(),
        }

    at_100, at_200 = count(), count()
    assert at_100 == at_200


def test_which_values_products_have_is_asked_for_all_at_once():
    posters(7)
    asked = {
        f"{name}={value}": AnyOf(name, (value,))
        for name, values in {
            "artist": ("artist 3", "artist 9", "half \ud800"),
            "labels": ("red", "blue", "green"),
            "cheapest": (0.0, 2.0, 4.0),
            "dearest": (0.0, 2.0, 4.0, 5.0),
            "selling": (True, False),
        }.items()
        for value in values
    }
    every = rules.values_had(POSTERS, asked.values())
    assert every == {each for each in asked.values() if rules.values_had(POSTERS, [each])}
    assert [name for name, each in asked.items() if each not in every] == [
        "artist=artist 9",
        "artist=half \ud800",
        "labels=green",
        "cheapest=4.0",
        "dearest=5.0",
    ]
    with CaptureQueriesContext(connection) as queries:
        rules.values_had(POSTERS, asked.values())
    assert len(queries) == 1
