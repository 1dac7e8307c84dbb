"""Facts: what a candidate shares with the query. They are computed, not written by a model, so each of them is true."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from shopsearch.embedders import photos
from shopsearch.types import Candidate, Fact, Query

if TYPE_CHECKING:
    from shopsearch.embedders.photos.colours import Numbers

MUCH = 0.25
"""The share of a colour in what a picture shows, its background aside, from which it is worth a word."""
MOST_COLOURS = 2

# What colours.NAMES are called in the page's language.
_NAMES = (
    *(gettext_noop("black"), gettext_noop("white"), gettext_noop("grey"), gettext_noop("red")),
    *(gettext_noop("orange"), gettext_noop("yellow"), gettext_noop("green"), gettext_noop("turquoise")),
    *(gettext_noop("blue"), gettext_noop("navy"), gettext_noop("purple"), gettext_noop("pink")),
    *(gettext_noop("brown"), gettext_noop("beige")),
)
_WORD = re.compile(r"[^\W\d_]{3,}")


def facts_of(
    query: Query, candidates: Sequence[Candidate], *, looks_like: str = "", shades: Numbers | None = None
) -> list[list[Fact]]:
    """What each candidate shares with the query: words, what both look like, and colours of the pictures.

    ``looks_like`` is the word for what the query's picture shows, where a model has said one; ``shades`` are the
    ``common_colours``, where they are known.
    """
    asked = list(dict.fromkeys(words_of(query.text)))
    shades = common_colours(query, candidates) if shades is None else shades
    return [_facts(each, asked, looks_like, both) for each, both in zip(candidates, shades, strict=True)]


def _facts(candidate: Candidate, asked: Sequence[str], looks_like: str, both: Numbers) -> list[Fact]:
    said = set(words_of(candidate.text))
    facts = []
    if named := [word for word in asked if word in said]:
        facts.append(Fact(kind="words", value=" ".join(named)))
    if looks_like in said:
        facts.append(Fact(kind="looks", value=looks_like))
    most_first = sorted(range(len(both)), key=lambda place: -both[place])
    leading = [place for place in most_first if both[place] >= MUCH][:MOST_COLOURS]
    return facts + [Fact(kind="colour", value=_NAMES[place]) for place in leading]


def sentences(facts: Sequence[Fact]) -> list[str]:
    """Parts of a sentence in the active language, whose subject is the candidate."""
    parts = []
    for fact in facts:
        if fact.kind == "words":
            parts.append(_("its words name “%(words)s”") % {"words": fact.value})
        elif fact.kind == "looks":
            parts.append(_("like your picture it is “%(word)s”") % {"word": fact.value})
    if names := [str(_(fact.value)) for fact in facts if fact.kind == "colour"]:
        parts.append(_("both pictures have much %(colours)s") % {"colours": _listed(names)})
    return parts


def joined(parts: Sequence[str]) -> str:
    """The parts as one sentence; "" for none."""
    return f"{_listed(parts)}." if parts else ""


def common_colours(query: Query, candidates: Sequence[Candidate]) -> Numbers:
    """Of each candidate the share of each named colour that both pictures have, shape (candidates, 14).

    Zeros where the query has no picture.
    """
    return photos.colours.shared(query.image, [each.image for each in candidates])


def words_of(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def shared_words(query: Query, candidates: Sequence[Candidate]) -> list[str]:
    """Words that most candidates share and the query's text lacks: the query's picture may have brought them in.

    Colours are not among them: a filter may have brought them in, and what both pictures show of them is counted.
    """
    asked = {*words_of(query.text), *photos.colours.BY_WORD}
    named = Counter(word for candidate in candidates for word in set(words_of(candidate.text)) - asked)
    return sorted(word for word, count in named.items() if count * 2 > len(candidates))


def _listed(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return _("%(others)s and %(last)s") % {"others": ", ".join(parts[:-1]), "last": parts[-1]}
