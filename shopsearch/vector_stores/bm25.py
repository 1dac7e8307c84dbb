"""BM25: how well texts answer words, for a store that has no index of words of its own."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

SATURATION, LENGTH = 1.2, 0.75
"""k1 and b, as Milvus has them: how soon a word said again counts no more, and how much long texts are held back."""


def bm25(query: str, texts: Mapping[str, str]) -> dict[str, float]:
    """The scores of those of the texts that have any of the query's words; higher is better.

    Words are letters and digits, whatever their case. A word that the query says twice counts twice.
    """
    counts = {key: _counted(text) for key, text in texts.items()}
    usual = sum(each.total() for each in counts.values()) / len(counts) if counts else 0.0
    scores: dict[str, float] = {}
    for word, times in _counted(query).items():
        having = {key: each[word] for key, each in counts.items() if word in each}
        rarity = math.log(1 + (len(counts) - len(having) + 0.5) / (len(having) + 0.5))
        for key, said in having.items():
            held_back = SATURATION * (1 - LENGTH + LENGTH * counts[key].total() / usual)
            share = times * rarity * said * (SATURATION + 1) / (said + held_back)
            scores[key] = scores.get(key, 0.0) + share
    return scores


@lru_cache(maxsize=10_000)
def _counted(text: str) -> Counter[str]:
    return Counter(_words(text))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
