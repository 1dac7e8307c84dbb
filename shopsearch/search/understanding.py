"""Understanding: what a shopper typed, as words to search for. A function of values; it asks nobody."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shopsearch.registry import analyzer


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderstoodText:
    """The words of a query as they are searched for."""

    text: str = ""
    """What is wanted, without operators and typing errors: what is embedded, too."""
    typed: str = ""
    """All that was typed; it may be a product's name as well."""
    corrected: str = ""
    """All that was typed without its typing errors; "" where it had none."""
    language: str = ""
    phrases: tuple[str, ...] = ()
    """What a product should say word for word."""
    excluded: tuple[str, ...] = ()
    """What a product should not say."""
    synonyms: analyzer.Synonyms | None = None
    """What the words mean too."""
    rarity: Callable[[Sequence[str]], float] | None = None
    """How rare a word is in the shop, given its terms; None where that is not known."""


def understand(
    text: str,
    *,
    language: str = "",
    corrected: Callable[[str], str] | None = None,
    synonyms: analyzer.Synonyms | None = None,
    rarity: Callable[[Sequence[str]], float] | None = None,
    operators: bool = False,
    has_picture: bool = False,
) -> UnderstoodText:
    """What is meant by a text in a language that ``analyzer.known_language`` returned.

    ``corrected`` returns a text without its typing errors, or "" where it has none. Beside a picture, ``-word`` is the
    only operator, and may be all of the text: the other words say what should be different from the picture.
    """
    better = corrected(text) if corrected else ""
    wanted = better or text
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    if operators and has_picture:
        wanted, excluded = _without_minus(wanted)
    elif operators:
        wanted, phrases, excluded = _parted(wanted, language)
    return UnderstoodText(
        text=wanted,
        typed=text,
        corrected=better,
        language=language,
        phrases=phrases,
        excluded=excluded,
        synonyms=synonyms,
        rarity=rarity,
    )


_PHRASE = re.compile(r'(?<!\S)["“”„«]([^"“”„«»]+)["“”»](?!\S)')
_MINUS = re.compile(r"(?<!\S)[-−](?=[^\W\d_])(\w+)(?!\S)")
_WITHOUT = {
    "de": r"ohne|nicht",
    "en": r"without|not|except",
    "es": r"sin|no|excepto",
    "fr": r"sans|sauf",
}
_AFTER = r"\s+(?:any |a |an |the |in |de |el |la |un |una |der |die |das |le |les )?([^\W\d_][\w-]*)"


def _without_minus(text: str) -> tuple[str, tuple[str, ...]]:
    excluded = tuple(_MINUS.findall(text))
    return (" ".join(_MINUS.sub(" ", text).split()) if excluded else text), excluded


def _parted(text: str, language: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """What is wanted, the phrases in it, and what is excluded. A text that excludes everything is taken as it is."""
    phrases = tuple(_PHRASE.findall(text))
    excluded = _MINUS.findall(text)
    wanted = _MINUS.sub(" ", _PHRASE.sub(r"\1", text))
    if words := _WITHOUT.get(language):
        # Only between other words: "not red mug" excludes red; "no" alone, or as a product's last word, does not.
        found = re.compile(rf"(?<!\S)(?:{words}){_AFTER}", re.IGNORECASE)
        excluded += found.findall(wanted)
        wanted = found.sub(" ", wanted)
    if not analyzer.plain(wanted):
        return text, (), ()
    return " ".join(wanted.split()), phrases, tuple(excluded)
