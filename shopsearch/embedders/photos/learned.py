"""What was learnt from openly licensed photographs, and the arithmetic that it enters.

training/photographs makes the files. Nothing here is a network: each is one matrix or a table of vectors. The large
ones are kept in 8 bits with a scale for each row; docs/evaluation.md measures them as they are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shopsearch.embedders.photos.colours import Numbers

FOLDER = Path(__file__).parent / "learned"
FILE = FOLDER / "pictures.safetensors"
DETAIL_WEIGHT = 0.7
CLASSES = 1000
LARGE = 50_000
"""Numbers from which a matrix is kept in 8 bits."""
MEANING_TEMPERATURE = 2.0
"""Softens the class probabilities that a picture's meaning is the mean of: a thing is like several classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The matrices that turn what the network sees into parts of a vector."""

    features_mean: Numbers
    """(1280,)"""
    details_mean: Numbers
    """(416,)"""
    details_deviation: Numbers
    """(416,)"""
    projection: Numbers
    """(1696, 384): directions in which the same thing, shown by another photographer, hardly differs come out long."""
    projected_mean: Numbers
    """(384,)"""
    classes: Numbers
    """(1000, 384): where in sight each of ImageNet's classes lies, unit length."""
    kinds: Numbers
    """(385, kinds + 1): a logistic regression on sight, its last row the bias, its last column "something else"."""
    patterns: Numbers
    """(385, patterns): likewise."""
    shades_mean: Numbers
    """(180,)"""
    colours_mean: Numbers
    """(14,)"""

    @classmethod
    def read(cls, path: Path = FILE) -> Learned:
        tensors = unpacked(path)
        return cls(**{each.name: tensors[each.name] for each in fields(cls)})

    def sight(self, features: Numbers, details: Numbers) -> Numbers:
        """(n, 384), unit length: what a picture shows, whoever took it."""
        details = (details - self.details_mean) / self.details_deviation
        both = np.concatenate([unit(features - self.features_mean), DETAIL_WEIGHT * unit(details)], 1)
        return unit(both @ self.projection - self.projected_mean)

    def kinds_of(self, sight: Numbers) -> Numbers:
        """(n, kinds): how likely each kind is; what is none of them has no likely one."""
        return softmax(affine(sight, self.kinds))[:, :-1]

    def patterns_of(self, sight: Numbers) -> Numbers:
        """(n, patterns): how likely each pattern is."""
        return softmax(affine(sight, self.patterns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """What the classes and kinds are called, as a text tower reads it."""

    vectors: Numbers
    """(phrases, 384), unit length, those of a class or kind in a row."""
    starts: npt.NDArray[np.int64]
    """(1000 + kinds,): the first phrase of each class and kind."""
    classes: Numbers
    """(1000, 384): each class's meaning, centred."""
    mean: Numbers
    """(384,): of the classes' meanings."""
    temperature: float
    """How sure a text is of what it asks for; towers differ in how far apart their vectors lie."""

    @classmethod
    def read(cls, language: str) -> Phrases:
        tensors = unpacked(phrases_file(language))
        vectors, starts = unit(tensors["vectors"]), tensors["starts"].astype(np.int64)
        sums = np.add.reduceat(vectors, starts, axis=0)[:CLASSES]
        classes = unit(sums)
        mean = classes.mean(0)
        return cls(
            vectors=vectors,
            starts=starts,
            classes=classes - mean,
            mean=mean,
            temperature=float(tensors["temperature"]),
        )

    def asked(self, texts: Numbers) -> Numbers:
        """(n, 1000 + kinds): how likely a text, of which these are the tower's vectors, asks for each, in sum 1."""
        likeness = np.maximum.reduceat(texts @ self.vectors.T, self.starts, axis=1)
        return softmax(likeness.astype(np.float32) / self.temperature)

    def meaning_of_texts(self, texts: Numbers) -> Numbers:
        """(n, 384), unit length."""
        return unit(texts - self.mean)

    def meaning_of_pictures(self, logits: Numbers) -> Numbers:
        """(n, 384), unit length: the mean of what the likely classes mean (ConSE, https://arxiv.org/abs/1312.5650)."""
        return unit(softmax(logits / MEANING_TEMPERATURE) @ self.classes)


def phrases_file(language: str) -> Path:
    return FOLDER / f"phrases-{language}.safetensors"


def identity(language: str) -> str:
    """Changes with what was learnt."""
    digest = hashlib.sha256(FILE.read_bytes())
    digest.update(phrases_file(language).read_bytes())
    return digest.hexdigest()


def packed(tensors: Mapping[str, Numbers]) -> dict[str, npt.NDArray[np.generic]]:
    """What a file keeps of the tensors."""
    kept: dict[str, npt.NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        if tensor.size < LARGE:
            kept[name] = tensor.astype(np.float32)
        else:
            scale = np.abs(tensor).max(1, keepdims=True) / 127
            kept[f"{name}.scale"] = scale.astype(np.float32)
            kept[name] = np.round(tensor / np.maximum(scale, 1e-12)).astype(np.int8)
    return kept


def unpacked(path: Path) -> dict[str, Numbers]:
    """The tensors of a file that ``packed`` was written to."""
    from safetensors.numpy import load_file

    kept = load_file(path)
    scales = {name: kept.pop(f"{name}.scale") for name in list(kept) if f"{name}.scale" in kept}
    return {
        name: tensor.astype(np.float32) * scales.get(name, np.float32(1)) for name, tensor in kept.items()
    }


def unit(rows: Numbers) -> Numbers:
    lengths: Numbers = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), np.float32)


def affine(rows: Numbers, matrix: Numbers) -> Numbers:
    return np.asarray(rows @ matrix[:-1] + matrix[-1], np.float32)


def softmax(rows: Numbers) -> Numbers:
    powers = np.exp(rows - rows.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)
