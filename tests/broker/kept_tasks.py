"""A backend of Django's tasks framework that keeps tasks in memory until they are worked on."""

from uuid import uuid4

from django.tasks import TaskResult, TaskResultStatus
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.exceptions import TaskResultDoesNotExist

RESULTS = {}


class KeptBackend(BaseTaskBackend):
    supports_get_result = True

    def enqueue(self, task, args, kwargs):
        self.validate_task(task)
        result = TaskResult(
            task=task,
            id=str(uuid4()),
            status=TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        RESULTS[result.id] = result
        return result

    def get_result(self, result_id):
        if result_id not in RESULTS:
            raise TaskResultDoesNotExist(result_id)
        return RESULTS[result_id]


def waiting():
    return [result for result in RESULTS.values() if result.status == TaskResultStatus.READY]


def work():
    for result in waiting():
        object.__setattr__(result, "status", TaskResultStatus.SUCCESSFUL)
        result.task.call()
