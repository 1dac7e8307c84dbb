"""Typing errors, corrected by the words that the shop's own products have."""

from __future__ import annotations

import math
import re
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial

from rapidfuzz import process
from rapidfuzz.distance import OSA
from spellchecker import SpellChecker

from shopsearch.conf import settings
from shopsearch.indexing.vocabulary import MAX_WORDS
from shopsearch.models import Suggestion, VocabularyWord
from shopsearch.models.vocabulary import LAST_CHARACTER
from shopsearch.registry import ImageIndex, analyzer, get_index
from shopsearch.search.kept import Kept

SHORTEST, LONG = 4, 8
"""Letters of the shortest word that is corrected, and of those in which two errors are."""
SHORTEST_IN_TITLE, OTHERS_IN_TITLE = 3, 2
"""A shorter word, and one that is usual in the language, is corrected to what a title says beside so many others."""
TRIED, MAX_OTHERS = 8, 8
"""So many of a word's likely corrections are looked for in titles, beside so many of the query's other words."""
ANOTHER_FIRST_LETTER = 3.0
"""How much less likely an error in the first letter is, in powers of e of how many products have the word."""
CANDIDATES = 50
DICTIONARY_WORDS = 60_000
"""The most usual words of a language are no typing errors, whether the shop has them or not."""


@dataclass(kw_only=True)
class Spelling:
    """The words of a shop in its language, and what a word that it does not have may have been meant to be.

    Errors are insertions, deletions, substitutions and transpositions of neighbours (optimal string alignment).
    """

    words: Mapping[str, int]
    """How many products have each word, by the word as it is written; 0 for a part of a SKU."""
    language: str = ""
    stand_together: Callable[[str, Sequence[str]], bool] | None = None
    """Whether a product's title has the word beside all the others, which are without case and accents."""
    _corrected: dict[str, list[tuple[int, str]]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _written(self) -> dict[str, str]:
        """By a word without case and accents how it is written most."""
        by_use = sorted(self.words, key=lambda word: (self.words[word], word))
        return {word if word.isascii() else analyzer.plain(word): word for word in by_use}

    @cached_property
    def _by_length(self) -> dict[int, list[str]]:
        found: defaultdict[int, list[str]] = defaultdict(list)
        for word in self._written:
            found[len(word)].append(word)
        return found

    @cached_property
    def _stems(self) -> Mapping[str, int]:
        """How many products have each word, whatever its ending."""
        counts: Counter[str] = Counter()
        for plain, written in self._written.items():
            counts[analyzer.stem(plain, self.language)] += self.words[written]
        return counts

    @cached_property
    def _most(self) -> int:
        return max(self._stems.values(), default=1)

    def rarity(self, terms: Sequence[str]) -> float:
        """How rare a word is, given the terms of its endings and synonyms; 0 for a word that no product has.

        Its inverse document frequency, measured against the most frequent word.
        """
        count = max((self._stems.get(each, 0) for each in terms), default=0)
        return math.log(self._most / count) if count else 0.0

    def knows(self, word: str) -> bool:
        """Whether a product has the word, or another ending of it."""
        plain = analyzer.plain(word)
        return plain in self._written or analyzer.stem(plain, self.language) in self._stems

    def corrected(self, text: str, said: Collection[str] = ()) -> str:
        """The text without its typing errors; "" where it has none that could be told.

        ``said`` are further words that are none, without case and accents. A word that the shop lacks is taken for the
        most frequent of those that are near and that some title says beside the query's other words, else for the most
        frequent of all that are near. A text with words that neither the shop nor the language has stays: it may be in
        another language. So does one with more errors than right words, unless a title says all of the corrected ones.
        """
        replaced: dict[str, str] = {}
        known = 0
        words = analyzer.WORD.findall(text)
        plain_words = analyzer.plain(text).split()
        others = [each for each in plain_words if not each.isalpha() or self._counts(each)]
        is_alone = len(plain_words) - len(others) - sum(map(self._says_nothing, plain_words)) == 1
        for match in analyzer.WORD.finditer(text):
            word = match.group()
            plain = analyzer.plain(word)
            if self.knows(word) or plain in said:
                known += 1
                continue
            stays = self._stays(text, match)
            better = self._beside(plain, others, stays=stays) if is_alone or not stays else ""
            if not better and not stays:
                better = self.nearest(word)
            if better:
                others.append(analyzer.plain(better))
                replaced[word] = better.capitalize() if word[0].isupper() else better
            elif plain not in _usual(self.language) and len(word) >= SHORTEST:
                return ""
        has_few_known = known < len(replaced) and len(words) > 1
        if not replaced or (has_few_known and not self._is_said(others)):
            return ""
        return analyzer.WORD.sub(lambda match: replaced.get(match.group(), match.group()), text)

    def _counts(self, word: str) -> bool:
        """Whether a product has the word, and it says something."""
        return self.knows(word) and not self._says_nothing(word)

    def _says_nothing(self, word: str) -> bool:
        return analyzer.is_stop_word(word, self.language)

    def _stays(self, text: str, match: re.Match[str]) -> bool:
        """Whether a word that the shop does not have is right: it is short or usual, or has a number or a sign."""
        word = match.group()
        is_short = len(word) < SHORTEST
        return is_short or _has_sign(text, match) or analyzer.plain(word) in _usual(self.language)

    def _beside(self, word: str, others: Sequence[str], *, stays: bool) -> str:
        """What the word was meant to be, as a title says it beside the others; "" where none does."""
        fewest = OTHERS_IN_TITLE if stays else 1
        if self.stand_together is None or len(others) < fewest or len(word) < SHORTEST_IN_TITLE:
            return ""
        near = self._near(word)[:TRIED]
        return next(
            (
                written
                for distance, written in near
                if (distance == 1 or not stays) and self.stand_together(analyzer.plain(written), others)
            ),
            "",
        )

    def _is_said(self, words: Sequence[str]) -> bool:
        """Whether a product's title has all these words, of which there are at least two."""
        return self.stand_together is not None and len(words) > 1 and self.stand_together(words[0], words[1:])

    def nearest(self, word: str) -> str:
        """The word of the shop that this one was most likely meant to be; "" where none is near enough."""
        plain = analyzer.plain(word)
        near = self._near(plain)
        return near[0][1] if near else self._apart(plain)

    def _near(self, word: str) -> list[tuple[int, str]]:
        """The words of the shop that are near, each with its distance; the most likely first."""
        if word not in self._corrected:
            if len(self._corrected) > 10_000:
                self._corrected.clear()
            self._corrected[word] = self._measured(word)
        return self._corrected[word]

    def _measured(self, word: str) -> list[tuple[int, str]]:
        errors = 2 if len(word) >= LONG else 1
        found: list[tuple[float, str, int]] = []
        for length in range(len(word) - errors, len(word) + errors + 1):
            for other, distance, _ in process.extract(
                word,
                self._by_length.get(length, ()),
                scorer=OSA.distance,
                score_cutoff=errors,
                limit=CANDIDATES,
            ):
                is_said = not (self.is_code(other) or analyzer.is_stop_word(other, self.language))
                if len(other) < SHORTEST - 1 or not is_said:
                    continue
                written = self._written[other]
                likely = math.log(1 + self.words[written]) - 10 * distance
                likely -= ANOTHER_FIRST_LETTER * (other[0] != word[0] and other[:2] != word[1::-1])
                found.append((likely, written, int(distance)))
        return [(distance, written) for _, written, distance in sorted(found, reverse=True)]

    def completions(self, beginning: str, most: int) -> list[str]:
        """The words that begin so and that most products have, as they are written; one of a word's endings.

        ``beginning`` is without case and accents.
        """
        found = [word for word in self._beginning(beginning) if not self.is_code(word)]
        found.sort(key=lambda word: (-self.words[self._written[word]], word))
        by_stem: dict[str, str] = {}
        for word in found:
            if not analyzer.is_stop_word(word, self.language):
                by_stem.setdefault(analyzer.stem(word, self.language), self._written[word])
            if len(by_stem) == most:
                break
        return list(by_stem.values())

    def is_code(self, word: str) -> bool:
        """Whether the word is known as a part of a SKU alone."""
        return word in self._written and not self.words[self._written[word]]

    def frequency(self, beginning: str) -> int:
        """How often products say words that begin so."""
        return sum(self.words[self._written[word]] for word in self._beginning(beginning))

    def written(self, word: str) -> str:
        """The word with the accents that it is written with most."""
        return self._written.get(word, word)

    def _beginning(self, beginning: str) -> list[str]:
        first, end = (bisect_left(self._sorted, each) for each in (beginning, beginning + LAST_CHARACTER))
        return self._sorted[first:end]

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._written)

    def _apart(self, word: str) -> str:
        """Two words of the shop that were written as one."""
        for place in range(3, len(word) - 2):
            first, last = word[:place], word[place:]
            if first in self._written and last in self._written:
                return f"{self._written[first]} {self._written[last]}"
        return ""


def _has_sign(text: str, match: re.Match[str]) -> bool:
    """Whether a digit or a sign touches the word."""
    around = text[max(0, match.start() - 1) : match.start()] + text[match.end() : match.end() + 1]
    return bool(re.search(r"[\d+#]", around))


@cache
def _usual(language: str) -> frozenset[str]:
    """The most usual words of the language, without case and accents; none where no dictionary comes with it."""
    if language not in SpellChecker.languages():
        return frozenset()
    counts = SpellChecker(language=language).word_frequency.dictionary
    usual = sorted(counts, key=lambda word: -counts[word])[:DICTIONARY_WORDS]
    return frozenset(word if word.isascii() else analyzer.plain(word) for word in usual)


KEPT_SECONDS, COUNTED_SECONDS = 30, 600
"""How long a process takes the words that it read for those in the database: new ones, and how often each is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vocabulary:
    """What a process has read of an index's vocabulary."""

    spelling: Spelling
    last: int
    """The key of the newest word."""
    counted_until: float


def _read(key: tuple[str, str], before: _Vocabulary | None) -> _Vocabulary:
    """The new words beside those that were read before; all of them every COUNTED_SECONDS."""
    index, language = key
    rows = VocabularyWord.objects.of(get_index(index))
    if before is not None and time.monotonic() < before.counted_until:
        rows, known, counted_until = (
            rows.filter(pk__gt=before.last),
            before.spelling.words,
            before.counted_until,
        )
    else:
        before, known, counted_until = None, {}, time.monotonic() + COUNTED_SECONDS
    found = list(rows.order_by("-count", "pk").values_list("pk", "word", "count")[:MAX_WORDS])
    if before is not None and not found:
        return before
    words = {**known, **{word: count for _, word, count in found}}
    return _Vocabulary(
        spelling=_spelling(get_index(index), words, language),
        last=max((pk for pk, _, _ in found), default=0),
        counted_until=counted_until,
    )


_kept = Kept(_read, lambda: KEPT_SECONDS)
forget = _kept.forget


def spelling_of(index: ImageIndex, language: str) -> Spelling:
    """What corrects typing errors in searches of this index, in this language; one for all threads of a process."""
    return _kept.get((index.name, language)).spelling


def _spelling(index: ImageIndex, words: Mapping[str, int], language: str) -> Spelling:
    together = partial(_stand_together, index, language) if settings.SUGGESTIONS else None
    return Spelling(words=words, language=language, stand_together=together)


def _stand_together(index: ImageIndex, language: str, word: str, others: Sequence[str]) -> bool:
    """Whether a product's title has the word beside all the others, whatever their endings."""
    rows = Suggestion.objects.of(index).products().beginning(word)
    for other in others[:MAX_OTHERS]:
        root = analyzer.stem(other, language)
        rows = rows.filter(start__contains=f" {root if other.startswith(root) else other}")
    return rows.exists()
