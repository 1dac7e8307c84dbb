"""Random schedules of everything that may go wrong: at rest, the live collections are what the shop shows.

SHOPSEARCH_FAULT_SCHEDULES says how many are played, 120 by default; `make test-faults` plays 1,000. The message of one
that fails names its seed: SHOPSEARCH_FAULT_SEED=<seed> plays that one alone. Those of odd seeds trust modified times.
"""

import os
from datetime import timedelta

import pytest

from shopsearch.registry import index
from tests.faults.schedules import Schedule

SCHEDULES = int(os.environ.get("SHOPSEARCH_FAULT_SCHEDULES", "120"))
SEED = os.environ.get("SHOPSEARCH_FAULT_SEED")
AT_ONCE = 25
"""Of one test."""


@pytest.fixture
def choose(settings, monkeypatch):
    """Gives the project its models: the present one and the former."""
    # The storage in memory counts microseconds, so that a file can be trusted at once.
    monkeypatch.setattr(index, "SETTLED_AFTER", timedelta())
    settings.STORAGES = settings.STORAGES | {
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    }

    def choose(embedder, former):
        settings.SHOPSEARCH = {
            "EMBEDDER": {"BACKEND": embedder},
            "FORMER_EMBEDDER": {"BACKEND": former},
            "VECTOR_STORE": {"BACKEND": "tests.faults.stand_ins.FaultyStore"},
            "BATCH_SIZE": 4,
            # So long that only the schedule's dice end or renew a lease: a slow machine plays the same story.
            "LEASE_SECONDS": 86_400,
            "TRUST_MODIFIED_TIME": choose.trusts_modified_time,
        }

    return choose


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", [int(SEED)] if SEED else range(0, SCHEDULES, AT_ONCE))
def test_at_rest_the_index_is_what_the_shop_shows(choose, first):
    for seed in range(first, first + 1) if SEED else range(first, min(first + AT_ONCE, SCHEDULES)):
        choose.trusts_modified_time = bool(seed % 2)
        schedule = Schedule(seed, choose)
        found = schedule.play()
        assert not found, "\n".join([f"SHOPSEARCH_FAULT_SEED={seed}", *schedule.log, "", *found])
