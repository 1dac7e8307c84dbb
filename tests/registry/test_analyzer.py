"""Words as they are kept and as they are asked for: what reads alike is alike."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf.locale import LANG_INFO
from hypothesis import given
from hypothesis import strategies as st

from shopsearch.registry.analyzer import (
    MAX_CHARACTERS,
    known_language,
    plain,
    product_terms,
    query_terms,
    stems,
    version_of,
)

TEXTS = st.text(max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Teléfono-X  5 ", "telefono x 5"),
        ("LEO-0042", "leo 0042"),
        ("Ärmel & Größe", "armel grosse"),
        ("Ｆｕｌｌ ﬁt", "full fit"),
        ("İstanbul", "istanbul"),
        ("_-!?", ""),
    ],
)
def test_case_accents_punctuation_and_spaces_make_no_difference(text, expected):
    assert plain(text) == expected


@given(TEXTS)
def test_what_is_plain_stays_as_it_is(text):
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize(
    ("language", "alike"),
    [
        (
            "en",
            ["mug mugs MUGS", "glass glasses", "dress dresses", "box boxes", "berry berries", "case cases"],
        ),
        ("en", ["dish dishes", "size sizes", "shoe shoes"]),
        (
            "es",
            ["taza tazas Taza", "rojo roja rojos rojas", "luz luces", "flor flores", "teléfono telefonos"],
        ),
        ("de", ["Tasse Tassen", "Haus Häuser", "grün grüne grünes", "Schuh Schuhe"]),
        ("fr", ["robe robes", "chapeau chapeaux", "noir noires", "écharpe echarpes"]),
        ("pt-br", ["xícara xícaras", "sapato sapatos"]),
        ("ru", ["чашка чашки", "книга книги"]),
    ],
)
def test_endings_of_plural_and_gender_make_no_difference(language, alike):
    for words in alike:
        assert len({stems(word, language)[0] for word in words.split()}) == 1, words


@pytest.mark.parametrize(
    ("language", "unlike"),
    [
        ("en", ["glass glas", "bus bu", "tennis tenni", "mug mud", "bedding bed", "legging leg"]),
        ("es", ["sol sala", "taza tapa"]),
    ],
)
def test_other_words_stay_others(language, unlike):
    for words in unlike:
        assert len({stems(word, language)[0] for word in words.split()}) == 2, words


def test_words_that_say_nothing_are_left_out_in_a_language_that_is_known():
    assert stems("a case for the phone", "en") == ["case", "phone"]
    assert stems("una funda para el móvil", "es-mx") == ["fund", "movil"]
    assert stems("die Hülle für das Telefon", "de") == ["die", "hull", "fur", "das", "telefon"]


def test_every_language_of_snowball_is_known_by_its_code_and_others_stay_as_they_are():
    codes = ("en-us", "ES", "es_AR", "de", "pt-br", "nb", "sr-latn", "el", "zh-hans", "ja", "")
    assert " ".join(known_language(code) or "-" for code in codes) == "en es es de pt nb sr el - - -"
    assert stems("靴 ブーツ", "ja") == ["靴", "フーツ"]


@pytest.mark.parametrize("language", sorted({known_language(code) for code in LANG_INFO} - {""}))
def test_a_stemmer_may_be_used_from_many_threads(language):
    words = [f"{word}{number}" for number in range(50) for word in ("tassen", "robes", "чашки", "mugs")]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda word: stems(word, language), words)) == [
            stems(word, language) for word in words
        ]


def test_the_field_of_words_has_another_name_when_the_same_text_gives_other_terms(monkeypatch):
    assert [version_of(language) for language in ("en", "es", "")] == ["en", "es", ""]
    monkeypatch.setattr("shopsearch.registry.analyzer.version", lambda package: "3.7.2")
    assert version_of("de") == "de_3_7"


def test_a_product_is_called_what_its_identifiers_say_and_nothing_else():
    words = product_terms(["Red mug", "of clay"], ["MUG-001", "Red mug"], "en")
    for name in ("mug-001", " MUG 001", "RED  MÚG", "Red mug!"):
        assert query_terms(name, "en").names(words), name
    for other in ("MUG-00", "mug", "red mugs", "mug red", "Red mug of clay", "", "?"):
        assert not query_terms(other, "en").names(words), other
    assert not query_terms("red mug", "en", may_be_name=False).names(words)


def test_how_many_of_the_querys_words_a_product_has():
    words = product_terms(["Red mugs", "of clay"], [], "en")
    assert query_terms("a red mug", "en").share_in(words) == 1
    assert query_terms("red plate", "en").share_in(words) == 0.5
    assert query_terms("the", "en").share_in(words) == 0
    assert query_terms("the", "en", may_be_name=False).text == ""


@given(
    st.lists(TEXTS, max_size=4),
    st.lists(TEXTS, max_size=3),
    st.sampled_from(["en", "es", "", "de", "ru", "tr", "ar", "hi"]),
)
def test_whatever_is_kept_is_words_of_letters_and_digits_and_is_found_by_each_of_its_texts(
    texts, names, language
):
    words = product_terms(texts, names, language)
    assert all(word.isalnum() for word in words.split())
    assert all(query_terms(name, language).names(words) for name in names if plain(name))
    assert all(query_terms(text, language).share_in(words) == 1 for text in texts if stems(text, language))


def test_a_very_long_text_is_cut_between_two_words_and_never_the_names():
    words = product_terms(["elephant " * 5_000], ["SKU-1"], "en")
    assert len(words) <= MAX_CHARACTERS
    assert query_terms("sku-1", "en").names(words)
    assert set(words.split()[1:]) == {"elephant"}
