"""The pictures of rules by looks: workers embed them, for every collection that answers or is being filled.

A rule compares what pictures look like: the mean of the vector of the whole and that of its middle, where a pattern is
larger and less is seen of what is printed with it. The shop's own pictures are compared by the vectors that the store
has, of the whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from django.db import IntegrityError

from shopsearch import images
from shopsearch.backends import embedder_of, get_vector_store
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError
from shopsearch.indexing.batch import AWAY
from shopsearch.models import Collection, Rule, RulePicture, RuleVector
from shopsearch.models.rules import look_space, mean_of
from shopsearch.registry import find_index
from shopsearch.types import Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.embedders import Embedder
    from shopsearch.types import Vector

logger = logging.getLogger(__name__)
NEAREST = 1_000
"""How many pictures of the shop, the nearest to what a rule's look like, are looked at."""
MIDDLE = 0.7
"""The share of a picture's width and height that is its middle."""


def look_of(picture: Image, embedder: Embedder, whole: Vector | None = None) -> Vector:
    """What the picture looks like, to rules: a vector of unit length. Raises EmbedderError.

    ``whole`` is the whole picture's vector, where it is known.
    """
    width, height = picture.size
    left, top = round(width * (1 - MIDDLE) / 2), round(height * (1 - MIDDLE) / 2)
    middle = Query(image=picture.crop((left, top, width - left, height - top)))
    if whole is not None:
        return mean_of([whole, embedder.embed([middle])[0]])
    return mean_of(list(embedder.embed([Query(image=picture), middle])))


def has_work() -> bool:
    """Whether a picture lacks a vector, or a rule a threshold for the collection that answers now."""
    rules = _rules()
    return any(True for _each in _missing(rules)) or any(True for _each in _left_behind(rules))


def embed() -> None:
    """Embed what lacks a vector, drop what no collection needs, and take thresholds along to a new model.

    A file that cannot be used is told on its row and not tried again until it is replaced. While a backend or the
    storage is away this is logged, and the next sweep tries again.
    """
    rules = _rules()
    try:
        if missing := list(_missing(rules)):
            for picture, spaces in missing:
                _embed(picture, spaces)
            rules = _rules()
        for rule, old, new in list(_left_behind(rules)):
            threshold = _carried_over(rule, old, new)
            # Not of one that staff have set or deleted meanwhile.
            left = Rule.objects.filter(
                pk=rule.pk, threshold_space=rule.threshold_space, threshold=rule.threshold
            )
            left.update(threshold=threshold, threshold_space=look_space(new.space))
        for rule in rules:
            collections = Collection.objects.filter(index=rule.index).values_list("space", flat=True)
            held = [*map(look_space, collections), rule.threshold_space]
            RuleVector.objects.filter(picture__rule=rule).exclude(space__in=held).delete()
    except BackendError as error:
        logger.warning("The pictures of rules wait: %s", error)


def likenesses(collection: Collection, look: Vector) -> list[tuple[str, float]]:
    """The NEAREST pictures of the shop: image and cosine, the most alike first. Raises VectorStoreError."""
    found = get_vector_store().search(collection.name, look, limit=NEAREST)
    return [(hit.image_id, hit.score) for hit in found]


def _rules() -> list[Rule]:
    by_looks = Rule.objects.filter(trigger=Rule.Trigger.LOOKS)
    return list(by_looks.prefetch_related("pictures__vectors"))


def _missing(rules: Iterable[Rule]) -> Iterator[tuple[RulePicture, set[str]]]:
    """Pictures, each with the spaces that it has no vector in."""
    for rule in rules:
        index = find_index(rule.index)
        if index is None:
            continue
        collections = Collection.objects.of(index)
        needed = {each.space for each in (*collections.live(), *collections.unfinished())}
        needed = {space for space in needed if embedder_of(space) is not None}
        for picture in rule.pictures.all():
            spaces = {space for space in needed if look_space(space) not in picture.vectors_by_space}
            if spaces and picture.error_of != picture.image.name:
                yield picture, spaces


def _embed(picture: RulePicture, spaces: set[str]) -> None:
    try:
        with picture.image.open("rb") as file:
            content = file.read(settings.MAX_IMAGE_BYTES + 1)
    except AWAY:
        raise
    except (FileNotFoundError, ValueError) as error:  # no file, or no name of one
        _refuse(picture, error)
        return
    except Exception as error:  # a remote storage's client may raise anything, and it may pass
        logger.warning("The picture %s of the rule %s cannot be read now: %s", picture, picture.rule, error)
        return
    try:
        image = images.normalised(images.decode(content))
        vectors = {space: look_of(image, embedder_of(space)) for space in spaces}  # type: ignore[arg-type]
    except AWAY:
        raise
    except Exception as error:  # a file or a model's code: whatever it is, it comes again with the same file
        _refuse(picture, error)
        return
    with suppress(IntegrityError):  # staff have deleted the picture meanwhile
        for space, vector in vectors.items():
            RuleVector.objects.update_or_create(
                picture=picture,
                space=look_space(space),
                defaults={"file": picture.image.name or "", "numbers": vector.astype("<f4").tobytes()},
            )


def _refuse(picture: RulePicture, error: Exception) -> None:
    logger.warning("The picture %s of the rule %s has no vector: %s", picture, picture.rule, error)
    RulePicture.objects.filter(pk=picture.pk).update(
        error=str(error) or type(error).__name__, error_of=picture.image.name or ""
    )


def _left_behind(rules: Iterable[Rule]) -> Iterator[tuple[Rule, Collection, Collection]]:
    """Rules whose threshold was set for another space than the live one, with the former and the live collection."""
    for rule in rules:
        index = find_index(rule.index)
        if index is None or rule.threshold is None:
            continue
        collections = sorted(Collection.objects.of(index), key=lambda each: not each.is_live)
        of_threshold = (
            each for each in collections if rule.threshold_space in (each.space, look_space(each.space))
        )
        live, old = next((each for each in collections if each.is_live), None), next(of_threshold, None)
        if live is None or old is None or rule.threshold_space == look_space(live.space):
            continue
        if rule.look_in(live.space) is not None:
            yield rule, old, live


def _carried_over(rule: Rule, old: Collection, new: Collection) -> float | None:
    """The threshold for which as many of the shop's pictures fire the rule as before; None where that says nothing."""
    before, after = rule.look_by(rule.threshold_space), rule.look_in(new.space)
    if before is None or after is None or rule.threshold is None:
        return None
    fired = sum(score >= rule.threshold for _image, score in likenesses(old, before))
    scores = [score for _image, score in likenesses(new, after)]
    if not 0 < fired < len(scores):
        return None
    return round((scores[fired - 1] + scores[fired]) / 2, 4)
