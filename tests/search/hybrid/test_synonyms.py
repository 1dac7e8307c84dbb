"""Synonyms that staff edit, and operators that shoppers type."""

import pytest
from PIL import Image

from shopsearch.models import Synonym
from shopsearch.search import synonyms
from shopsearch.search.engine import search
from shopsearch.search.understanding import understand
from shopsearch.testing import MemoryStore
from tests.shop.pictures import GREEN, RED, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db


def titles(query, **options):
    return [result.product.title for result in search(query, **options).results]


@pytest.fixture
def shop(declare):
    synonyms.forget()
    declare()
    for title in ("Tartan sneakers", "Polo shirt", "Wool cap", "Garden hose"):
        product(GREEN, title=title)
    index_everything()
    yield
    synonyms.forget()


@pytest.mark.usefixtures("shop")
def test_a_synonym_finds_what_it_means_in_every_process_within_seconds_and_no_index_is_touched(monkeypatch):
    assert synonyms.KEPT_SECONDS < 5
    assert search("kicks").corrected == ""
    Synonym.objects.create(words="kicks", meanings="sneakers, boots")
    monkeypatch.setattr(synonyms, "KEPT_SECONDS", 0)
    assert titles("tartan kicks")[0] == titles("kick")[0] == "Tartan sneakers"
    Synonym.objects.create(words="woolly hat", meanings="cap", is_two_way=True)
    assert titles("woolly hats")[0] == "Wool cap"
    Synonym.objects.filter(words="kicks").update(meanings="polo shirt")
    assert titles("kicks")[0] == "Polo shirt"


def test_one_way_two_way_and_by_language():
    one = Synonym(words="shoes", meanings="sneakers")
    two = Synonym(words="sofa", meanings="couch, settee", is_two_way=True)
    assert list(synonyms.pairs_of([one])) == [("shoes", "sneakers")]
    pairs = set(synonyms.pairs_of([two]))
    assert pairs == {
        (a, b) for a in ("sofa", "couch", "settee") for b in ("sofa", "couch", "settee") if a != b
    }
    synonyms.save(
        [Synonym(words="pan", meanings="bread", language="es"), Synonym(words="mug", meanings="cup")]
    )
    synonyms.forget()
    assert synonyms.synonyms_of("es").added_to([("pan",), ("mug",)]) == [("pan", "bread"), ("mug", "cup")]
    assert synonyms.synonyms_of("en").added_to([("pan",), ("mug",)]) == [("pan",), ("mug", "cup")]
    synonyms.forget()


def test_off_costs_no_query_and_the_starter_list_is_an_option(settings, django_assert_num_queries):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "SYNONYMS": False}
    with django_assert_num_queries(0):
        assert synonyms.synonyms_of("en") is None
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "STARTER_SYNONYMS": True}
    with django_assert_num_queries(0):
        assert "sneaker" in synonyms.synonyms_of("en").added_to([("sho",)])[0]


def test_a_csv_file_that_was_exported_is_imported_as_it_was():
    rows = [
        Synonym(words="shoes", meanings="sneakers, boots", language="en"),
        Synonym(words='15" stand', meanings="stand; tall", is_two_way=True),
    ]
    read = synonyms.rows_of(synonyms.csv_of(rows).encode())
    assert [synonyms._values(each) for each in read] == [synonyms._values(each) for each in rows]
    assert (
        synonyms.rows_of("\ufefflanguage;words;meanings\nes;móvil;celular\n".encode())[0].meanings
        == "celular"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "first line has to name the columns"),
        (b"a,b\n1,2\n", "first line has to name the columns"),
        (b"words,meanings\nshoes,\n", "Line 2 lacks"),
        (b"words,meanings,two_way\nshoes,boots,perhaps\n", "Line 2: two_way"),
        (b"words,meanings\n" + b"x" * 101 + b",boots\n", "Line 2: words has more than 100"),
        (b"\xff\xfe", "not UTF-8"),
        (b"words,meanings\nsho\0es,boots\n", "is no text"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_line(content, sentence):
    with pytest.raises(synonyms.Unusable, match=sentence):
        synonyms.rows_of(content)


# Operators


@pytest.mark.parametrize(
    ("typed", "language", "wanted", "phrases", "excluded"),
    [
        ("mug -red", "en", "mug", (), ("red",)),
        ("not red mug", "en", "mug", (), ("red",)),
        ("case without a strap", "en", "case", (), ("strap",)),
        ("bolso sin asas", "es", "bolso", (), ("asas",)),
        ("Tasche ohne Griff", "de", "Tasche", (), ("Griff",)),
        ("robe sans manches", "fr", "robe", (), ("manches",)),
        ('"wool cap" blue', "en", "wool cap blue", ("wool cap",), ()),
        ("-2.50", "en", "-2.50", (), ()),
        ("t-shirt", "en", "t-shirt", (), ()),
        ("-red", "en", "-red", (), ()),
        ("case without", "en", "case without", (), ()),
        ("sin", "es", "sin", (), ()),
        ("mug sans stripes", "en", "mug sans stripes", (), ()),
        ('15" stand 12"', "en", '15" stand 12"', (), ()),
    ],
)
def test_operators_are_understood_where_they_are_plainly_meant(typed, language, wanted, phrases, excluded):
    found = understand(typed, language=language, operators=True)
    assert (found.text, found.phrases, found.excluded) == (wanted, phrases, excluded)
    assert understand(typed, language=language).text == typed


def test_what_is_excluded_is_not_found_and_a_name_still_is(declare):
    declare()
    for title, colour in (
        ("Red mug", RED),
        ("Green mug", GREEN),
        ("Tall mug", RED),
        ("Life without red", GREEN),
    ):
        product(colour, title=title)
    index_everything()
    for query in ("mug -red", "not red mug", "mug without red"):
        found = titles(query)
        assert found[0] == "Green mug", query
        assert "Red mug" not in found
    assert titles("life without red")[0] == "Life without red"
    assert titles('"green mug"')[0] == "Green mug"


def test_what_is_excluded_is_found_without_comparing_its_vectors(declare, monkeypatch):
    """The store compares those of thousands of products for a word such as "cotton", and nobody looks at the scores."""
    declare()
    product(RED, title="Red mug")
    product(GREEN, title="Green mug")
    index_everything()
    compared, search_words = [], MemoryStore.search_words

    def counted(self, collection, text, *, score_if, **options):
        found = search_words(self, collection, text, score_if=score_if, **options)
        compared.extend(text.split()[0] for hit in found if score_if is None or score_if(hit.words))
        return found

    monkeypatch.setattr(MemoryStore, "search_words", counted)
    assert titles("mug -red") == ["Green mug"]
    assert compared == ["mug", "mug"]


@pytest.mark.parametrize(
    ("typed", "wanted", "excluded"),
    [
        ("a mug with this -red", "a mug with this", ("red",)),
        ("-red", "", ("red",)),
        ("the same without stripes", "the same without stripes", ()),
    ],
)
def test_beside_a_picture_a_minus_is_the_only_operator_and_may_be_all_of_the_text(typed, wanted, excluded):
    found = understand(typed, language="en", operators=True, has_picture=True)
    assert (found.text, found.phrases, found.excluded) == (wanted, (), excluded)


def test_a_picture_finds_nothing_that_says_the_excluded_word(declare):
    declare()
    for title in ("Red mug", "Tall mug", "Red cup"):
        product(RED, title=title)
    index_everything()
    picture = Image.new("RGB", (8, 8), RED)
    for query in ("-red", "mug -red"):
        found = search(query, picture)
        assert [each.product.title for each in found.results] == ["Tall mug"], query
        assert found.query.text == query.removesuffix("-red").strip()


def test_operators_are_words_where_the_shop_says_so(declare, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "OPERATORS": False}
    declare()
    product(RED, title="Red mug")
    index_everything()
    assert titles("not red mug") == ["Red mug"]
