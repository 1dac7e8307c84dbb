"""shopsearch.telemetry.outages: one line in the log for each outage."""

import logging

from shopsearch.telemetry.outages import Outage

logger = logging.getLogger("shopsearch.tests.outages")


def test_an_outage_is_warned_of_once_and_its_end_is_said(caplog):
    outage = Outage(logger, away="The cache is away", back="The cache is back.")
    with caplog.at_level("DEBUG", logger.name):
        outage.succeeded()
        for _ in range(3):
            outage.failed(OSError("no route"))
        outage.succeeded()
        outage.succeeded()
        outage.failed(OSError("again"))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "The cache is away: no route"),
        ("DEBUG", "The cache is away: no route"),
        ("DEBUG", "The cache is away: no route"),
        ("INFO", "The cache is back."),
        ("WARNING", "The cache is away: again"),
    ]


def test_what_is_away_may_be_left_alone_for_a_while():
    patient = Outage(logger, away="away", back="back", pause_seconds=3600)
    eager = Outage(logger, away="away", back="back")
    assert not patient.is_pausing
    for outage in (patient, eager):
        outage.failed("gone")
    assert patient.is_pausing
    assert not eager.is_pausing
