"""The analyzer: a text becomes the terms that are stored of a product and compared with a query's, in every store."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version

import snowballstemmer
from django.conf.locale import LANG_INFO

MAX_CHARACTERS = 8_000
"""Of a product's terms; what is beyond cannot be found."""
NAME_REPEATS = 8
"""How often a query repeats the name that it may be: exact name matches rank above word matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryTerms:
    """A query's terms, to be compared with those stored of a product."""

    stems: tuple[str, ...]
    name: str = ""
    """The term of a product whose identifier reads like the whole query; "" where the query cannot be a name."""

    @property
    def text(self) -> str:
        """What a vector store is asked for; "" where the query has no terms."""
        return " ".join([*self.stems, *[self.name] * NAME_REPEATS]).strip()

    def share_in(self, stored: str) -> float:
        """The share of the query's stems that a product has, from 0 to 1."""
        wanted = set(self.stems)
        return len(wanted & set(stored.split())) / len(wanted) if wanted else 0.0

    def all_in(self, stored: str) -> bool:
        """Whether a product has every word of the query: a match whatever its picture looks like."""
        return bool(self.stems) and set(self.stems) <= set(stored.split())

    def names(self, stored: str) -> bool:
        """Whether the query is what a product is called."""
        return bool(self.name) and self.name in stored.split()


def query_terms(text: str, language: str, *, may_be_name: bool = True) -> QueryTerms:
    name = _name(text) if may_be_name and plain(text) else ""
    return QueryTerms(stems=tuple(dict.fromkeys(stems(text, language))), name=name)


def product_terms(texts: Iterable[str], names: Iterable[str], language: str) -> str:
    """What is stored of a product: each of its names as one term, and the stems of its texts."""
    called = dict.fromkeys(_name(each) for each in names if plain(each))
    whole = " ".join([*called, *(stem for text in texts for stem in stems(text, language))])
    return whole if len(whole) <= MAX_CHARACTERS else whole[:MAX_CHARACTERS].rpartition(" ")[0]


def known_language(code: str) -> str:
    """The language of a code such as "en-us" if it has a stemmer; "" for another, whose words stay as they are."""
    language = code.replace("_", "-").partition("-")[0].lower()
    return language if language in _LIGHT or _snowball(language) else ""


def version_of(language: str) -> str:
    """Changes whenever the same text gives other terms: part of the collection's field, so that none are mixed.

    "en" or "es" for the stemmers below, such as "de_3_1" for Snowball's, "" without any.
    """
    if language in _LIGHT or not language:
        return language
    major, minor, *_ = version("snowballstemmer").split(".")
    return f"{language}_{major}_{minor}"


def plain(text: str) -> str:
    """Its letters and digits without case, accents, punctuation and odd spaces: "  Teléfono-X 5" is "telefono x 5"."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    # Decomposed once more: the case of some letters has marks of its own.
    letters = (each for each in unicodedata.normalize("NFKD", decomposed) if not unicodedata.combining(each))
    return " ".join(re.findall(r"[^\W_]+", "".join(letters)))


def stems(text: str, language: str) -> list[str]:
    """Its words without endings and, in English and Spanish, without words such as "with"."""
    language = known_language(language)
    return [
        _stem(word, language) for word in plain(text).split() if word not in _STOP_WORDS.get(language, ())
    ]


@lru_cache(maxsize=20_000)
def _stem(word: str, language: str) -> str:
    if language in _LIGHT:
        return _LIGHT[language](word)
    # A new one each time: a stemmer holds the word it is working on, and threads would share it.
    return str(snowballstemmer.stemmer(_snowball(language)).stemWord(word)) if language else word


def _snowball(language: str) -> str:
    """Snowball's name of a language, which is the first word of its English name; "" where it has no stemmer."""
    name = LANG_INFO.get(language, {}).get("name", "").partition(" ")[0].lower()
    return name if name in snowballstemmer.algorithms() else ""


def _name(text: str) -> str:
    """A term that nobody types, the same for whatever reads alike."""
    return "x" + hashlib.sha256(plain(text).encode("utf-8", "replace")).hexdigest()[:24]


def _english(word: str) -> str:
    """Without a plural's ending."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1]


def _spanish(word: str) -> str:
    """Without the endings of plural and gender: tazas, taza; rojo, roja, rojos; luces, luz; flores, flor."""
    if len(word) < 4:
        return word
    if word.endswith("ces"):
        return word[:-3] + "z"
    singular = word.removesuffix("s")
    return singular[:-1] if len(singular) > 3 and singular.endswith(("a", "e", "o")) else singular


_LIGHT: dict[str, Callable[[str], str]] = {"en": _english, "es": _spanish}
"""Used instead of Snowball's, which cut too much for a shop: bedding and bed, legging and leg, stocking and stock are
different things; and too little in Spanish, where luz and luces are the same."""

_ENGLISH = "a an and are as at be by for from in into is it its like of on or so that the this to with"
_SPANISH = (
    "a al asi como con de del el en es esta este esto la las lo los mas o para por que se sin son su sus un una "
    "unas unos y"
)
_STOP_WORDS = {"en": frozenset(_ENGLISH.split()), "es": frozenset(_SPANISH.split())}
