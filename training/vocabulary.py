"""The tokenizer: WordPiece over the texts that training asks.

    python -m training.vocabulary .var/training/tokenizer.json

Only for texts in other words: the library breaks ties between equally frequent pieces by chance, so that two
vocabularies of the same texts differ in a few pieces. Training takes the bundled model's unless its folder has one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import cast

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from demo_project.rendering.palettes import COLOURS, PATTERNS
from training.absent_things import THINGS
from training.pool import CATEGORIES
from training.texts import Writer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ALPHABET = list("abcdefghijklmnopqrstuvwxyz0123456789-,.'!?¿¡&/()+%:;\"#")


def tokenizer(*, seed: int = 1, size: int = 3_000, texts: int = 60_000) -> Tokenizer:
    """BERT's kind, without case and accents; every letter is a piece, so that no word is unknown."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106, a token of text
    made.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=ALPHABET,
        special_tokens=SPECIAL,
        show_progress=False,
    )
    made.train_from_iterator(_texts(Random(f"vocabulary {seed}"), texts), trainer)
    first, last = (cast(int, made.token_to_id(name)) for name in ("[CLS]", "[SEP]"))
    made.post_processor = processors.BertProcessing(("[SEP]", last), ("[CLS]", first))
    return made


def _texts(dice: Random, count: int) -> Iterator[str]:
    for _ in range(count):
        writer = Writer.drawn(dice)
        category, pattern, colour = (
            dice.choice(CATEGORIES),
            dice.choice(PATTERNS),
            dice.choice(list(COLOURS)),
        )
        match dice.randrange(8):
            case 0 | 1:
                yield writer.description(category, pattern, dice.choice(["", colour]))
            case 2:
                yield writer.like_this(category)
            case 3:
                yield writer.in_colour(colour)
            case 4:
                yield writer.with_pattern(pattern)
            case 5:
                yield writer.in_this_colour(category)
            case 6:
                yield writer.title(category, pattern, colour)
            case _:
                yield writer.said(dice.choice(THINGS[writer.language]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    file.parent.mkdir(parents=True, exist_ok=True)
    tokenizer().save(str(file))


if __name__ == "__main__":
    main()
