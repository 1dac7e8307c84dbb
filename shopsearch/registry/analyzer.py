"""Words: a product's texts as they are kept to be found by words, alike in every vector store."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LONGEST = 8_000
"""Characters of a product's words; what is beyond is found by nobody."""
EMPHASIS = 8
"""How often a query says the name that it may be: what is called so comes before all that only has its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query's words as they are compared with those that are kept of a product."""

    stems: tuple[str, ...]
    name: str = ""
    """The word that a product has whose identifier reads like the whole query; "" where it cannot be one."""

    @property
    def text(self) -> str:
        """What a vector store is asked for; "" where the query has no words."""
        return " ".join([*self.stems, *[self.name] * EMPHASIS]).strip()

    def share_in(self, kept: str) -> float:
        """How many of the query's words a product has, from 0 to 1."""
        wanted = set(self.stems)
        return len(wanted & set(kept.split())) / len(wanted) if wanted else 0.0

    def names(self, kept: str) -> bool:
        """Whether the query is what a product is called."""
        return bool(self.name) and self.name in kept.split()


def asked(text: str, language: str, *, may_be_name: bool = True) -> Asked:
    name = _name(text) if may_be_name and plain(text) else ""
    return Asked(stems=tuple(dict.fromkeys(stems(text, language))), name=name)


def kept(texts: Iterable[str], names: Iterable[str], language: str) -> str:
    """What a product is found by: its names, each a word of its own, and the stems of its texts."""
    called = dict.fromkeys(_name(each) for each in names if plain(each))
    whole = " ".join([*called, *(stem for text in texts for stem in stems(text, language))])
    return whole if len(whole) <= LONGEST else whole[:LONGEST].rpartition(" ")[0]


def known_language(code: str) -> str:
    """The language of a code such as "en-us" whose endings we know; "" for another, whose words count as they are."""
    language = code.replace("_", "-").partition("-")[0].lower()
    return language if language in _LANGUAGES else ""


def plain(text: str) -> str:
    """Its letters and digits without case, accents, punctuation and odd spaces: "  Teléfono-X 5" is "telefono x 5"."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    # Decomposed once more: the case of some letters has marks of its own.
    letters = (each for each in unicodedata.normalize("NFKD", decomposed) if not unicodedata.combining(each))
    return " ".join(re.findall(r"[^\W_]+", "".join(letters)))


def stems(text: str, language: str) -> list[str]:
    """Its words as they are compared: without endings, and without those that say nothing, in a language we know."""
    stem, silent = _LANGUAGES.get(known_language(language), (_whole, frozenset()))
    return [stem(word) for word in plain(text).split() if word not in silent]


def _name(text: str) -> str:
    """A word that nobody types, the same for whatever reads alike."""
    return "x" + hashlib.sha256(plain(text).encode("utf-8", "replace")).hexdigest()[:24]


def _whole(word: str) -> str:
    return word


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


_SILENT_ENGLISH = "a an and are as at be by for from in into is it its like of on or so that the this to with"
_SILENT_SPANISH = (
    "a al asi como con de del el en es esta este esto la las lo los mas o para por que se sin son su sus un una "
    "unas unos y"
)
_LANGUAGES: dict[str, tuple[Callable[[str], str], frozenset[str]]] = {
    "en": (_english, frozenset(_SILENT_ENGLISH.split())),
    "es": (_spanish, frozenset(_SILENT_SPANISH.split())),
}
