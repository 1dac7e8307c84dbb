"""Fits that run by themselves: staff or beat ask for them, a worker carries them out, a row tells how it went."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from shopsearch import broker
from shopsearch.exceptions import BackendError
from shopsearch.indexing import rebuild
from shopsearch.indexing.rebuild import Refused
from shopsearch.models import Collection, Fit
from shopsearch.registry import ImageIndex, databases, get_indexes

if TYPE_CHECKING:
    from shopsearch.evaluation.fitting import Proof

logger = logging.getLogger(__name__)


def ask(index: ImageIndex) -> None:
    """Have a worker fit the index. Raises Refused where nothing is indexed, or a fit or a rebuild is under way."""
    collections = Collection.objects.of(index)
    if not collections.live().exists():
        raise Refused(f"{index.name}: nothing is indexed yet; `manage.py shopsearch_reindex` does it.")
    if collections.unfinished().exists():
        raise Refused(f"{index.name}: a rebuild is under way. Fit when it is done.")
    if not Fit.objects.ask(index):
        raise Refused(f"{index.name}: a fit is under way already.")
    broker.wake_after_commit(index.database, broker.wake_fitter)


def has_asked() -> bool:
    """Whether a fit waits for a worker."""
    return any(Fit.objects.using(name).waiting().exists() for name in databases())


def run_asked() -> None:
    """Carry out the fits that wait for a worker, each in one worker only."""
    for index in get_indexes():
        if Fit.objects.claim(index):
            run(index)


def run(index: ImageIndex) -> None:
    """Fit the index to its current titles, and make an adapter live if it is proven better. Records how it goes.

    One earlier collection is kept, for a rollback. Never raises: the record and the log have the error.
    """
    try:
        proof = _fitted(index)
    except (BackendError, ImproperlyConfigured, Refused) as error:
        logger.warning("%s is not fitted: %s", index.name, error)
        Fit.objects.end(index, Fit.State.FAILED, message=str(error))
    except Exception as error:
        logger.exception("%s is not fitted.", index.name)
        Fit.objects.end(index, Fit.State.FAILED, message=f"{type(error).__name__}: {error}")
    else:
        logger.info("%s: %s", index.name, proof.figures)
        record(index, proof)
        if proof.is_better:
            broker.wake()


def record(index: ImageIndex, proof: Proof) -> None:
    """Keep what a fit gained, for the admin."""
    state, message = (Fit.State.BETTER, "") if proof.is_better else (Fit.State.DECLINED, proof.sentence)
    Fit.objects.end(index, state, message=message, products=proof.products, figures=proof.figures)


def _fitted(index: ImageIndex) -> Proof:
    from shopsearch.evaluation import fitting  # brings numpy, which a web process can do without

    shop, proof = fitting.prove_index(
        index, progress=lambda done, total: Fit.objects.note(index, done, total)
    )
    if proof.is_better:
        rebuild.prune(index)
        fitting.go_live(index, shop, proof)
    return proof
