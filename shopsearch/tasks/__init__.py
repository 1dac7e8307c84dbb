"""The Celery tasks: each handles one batch or one rerank, so that other tasks of the same worker get their turn."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.db import connections
from PIL import Image

from shopsearch import broker
from shopsearch.backends import get_embedder, wants_gpu
from shopsearch.conf import settings
from shopsearch.evaluation import calibrator, fits, query_log
from shopsearch.indexing import batch, outbox, pictureless, rebuild, rule_pictures, visibility, vocabulary
from shopsearch.indexing import reconcile as reconciling
from shopsearch.registry import get_indexes
from shopsearch.search import reranking
from shopsearch.telemetry import metrics
from shopsearch.threads import BackgroundThread
from shopsearch.types import Query

logger = logging.getLogger(__name__)


@shared_task(name=broker.TASK, ignore_result=True)
def index() -> None:
    """Index one batch. If there is more to do, wake another worker first, and go on by another wake-up afterwards.

    At most one wake-up waits in the queue: each worker that takes it wakes the next, until all are at work.
    """
    if outbox.has_due(beyond=settings.BATCH_SIZE):
        broker.wake()
    outcomes = asdict(batch.index_batch())
    outcomes.pop("claimed")
    metrics.count_indexed(outcomes)
    if rebuild.advance() or outbox.has_due():
        broker.wake()
    rule_pictures.embed()


@shared_task(name="shopsearch.reconcile", ignore_result=True)
def reconcile() -> None:
    """Compare the shop with the vector store itself, and have the differences repaired: for beat, once a day."""
    for index in get_indexes():
        for portion in reconciling.reconcile(index, fix=True):
            for each in portion.differences:
                logger.warning("%s: image %s is %s: %s", index.name, each.image_id, each.kind, each.reason)
        if pictureless.note(index, everything=True):
            broker.wake()
        vocabulary.recount(index)


@shared_task(name=broker.RERANK_TASK, ignore_result=True)
def rerank() -> None:
    """Answer the rerank that has waited longest. If more wait, wake a worker for the next one."""
    if reranking.answer_next() and reranking.has_queued():
        broker.wake_rerankers()


@shared_task(name=broker.CALIBRATE_TASK, ignore_result=True)
def calibrate() -> None:
    """Calibrate the indexes that are completely indexed and have no calibration yet."""
    calibrator.calibrate_new()


@shared_task(name="shopsearch.fit", ignore_result=True)
def fit() -> None:
    """Fit every index to its current titles; an adapter goes live if it is proven better. For beat, once a month."""
    for index in get_indexes():
        fits.run(index)


@shared_task(name=broker.FIT_TASK, ignore_result=True)
def fit_asked() -> None:
    """Carry out the fits that staff asked for."""
    fits.run_asked()


class Sweeper(BackgroundThread):
    """Checks at the start and then every SWEEP_SECONDS whether something is due, and wakes the workers.

    It finds work for which no wake-up arrives: after a lost wake-up, at the end of a lease or of a waiting time.
    """

    def reset(self) -> None:
        self._stopping = threading.Event()
        self._now = threading.Event()

    def start(self) -> None:
        """Begin to sweep; if the thread is running already, sweep now."""
        self._now.set()
        if not self.is_running:
            self._stopping.clear()
        super().start()

    def stop(self) -> None:
        """Stop sweeping. Does not wait for a sweep that is running; may be called from a signal handler."""
        self._stopping.set()
        self._now.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            self._now.clear()
            upcoming = sweep()
            self._now.wait(
                settings.SWEEP_SECONDS if upcoming is None else min(upcoming, settings.SWEEP_SECONDS)
            )


def sweep() -> float | None:
    """Wake the workers if anything is due, and end the reranks whose deadline has passed. Never raises.

    Returns the seconds until time alone makes an index show other images, or None where that is unknown.
    """
    upcoming = None
    try:
        upcoming = visibility.note_due()
        is_due = rebuild.advance() or outbox.has_due()
        if is_due or rule_pictures.has_work():
            broker.wake()
        if not is_due and any(calibrator.uncalibrated()):
            broker.wake_calibrator()
        if fits.has_asked():
            broker.wake_fitter()
        reranking.expire()
        if reranking.has_queued():
            broker.wake_rerankers()
        reranking.purge()
        query_log.purge()
    except Exception as error:
        logger.warning("The outbox could not be swept: %s", error)
    finally:
        if threading.current_thread() is not threading.main_thread():
            # The thread is idle for long, and in a process that may fork: so it keeps no connection open.
            connections.close_all()
    return upcoming


sweeper = Sweeper("shopsearch-sweeper")


@worker_ready.connect(dispatch_uid="shopsearch")
def ready(sender: Any, **kwargs: object) -> None:
    """Prepare a worker that has connected to its broker, for the first time or again."""
    ours = {settings.INDEX_QUEUE, settings.RERANK_QUEUE} & set(sender.app.amqp.queues.consume_from)
    if not ours:
        return
    pool = type(sender.pool).__module__.rpartition(".")[2]
    if pool == "prefork" and wants_gpu():
        logger.critical(
            "This worker does no work for shopsearch: its pool forks, and a GPU cannot be used across a fork. Start "
            'it with `-P solo`, one worker per GPU, or set the models\' option device to "cpu". '
            "Until then the images stay in the outbox."
        )
        for queue in ours:
            sender.cancel_task_queue(queue)
        return
    if pool == "solo":
        _load_model()
    metrics.serve()
    sweeper.start()


@worker_shutting_down.connect(dispatch_uid="shopsearch")
def shutting_down(**kwargs: object) -> None:
    sweeper.stop()


def _load_model() -> None:
    try:
        # Words and picture together: some models cannot embed words alone.
        get_embedder().embed([Query(text="warm up", image=Image.new("RGB", (64, 64)))])
    except Exception as error:
        logger.warning("The embedder is not ready yet: %s", error)
