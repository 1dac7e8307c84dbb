"""Celery's way in: one batch at a time, so that other tasks of the same worker get their turn."""

from __future__ import annotations

import logging
from dataclasses import asdict

from celery import shared_task

from shopsearch import filling, indexing, metrics, outbox, reconciling, reranking, wakeups
from shopsearch.conf import settings
from shopsearch.registry import get_indexes

logger = logging.getLogger(__name__)


@shared_task(name=wakeups.TASK, ignore_result=True)
def index() -> None:
    """Index one batch; where there is more, have another worker begin with it now, and go on with the rest later.

    At most one wake-up waits in the queue: however many workers, one message brings them all to work, one by one.
    """
    if outbox.has_due(beyond=settings.BATCH_SIZE):
        wakeups.wake()
    outcomes = asdict(indexing.index_batch())
    outcomes.pop("claimed")
    metrics.count_indexed(outcomes)
    if filling.advance() or outbox.has_due():
        wakeups.wake()


@shared_task(name="shopsearch.reconcile", ignore_result=True)
def reconcile() -> None:
    """Compare the shop with the vector store itself, and have put right what differs: for beat, once a day."""
    for index in get_indexes():
        for part in reconciling.reconcile(index, fix=True):
            for finding in part.findings:
                logger.warning(
                    "%s: image %s is %s: %s", index.name, finding.image_id, finding.kind, finding.reason
                )


@shared_task(name=wakeups.RERANK_TASK, ignore_result=True)
def rerank() -> None:
    """Answer the rerank that has waited longest; where more wait, have them answered next."""
    if reranking.answer_next() and reranking.has_queued():
        wakeups.wake_rerankers()
