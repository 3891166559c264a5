"""The beat's schedule: what it logs while its broker is away, and what it leaves in Flower."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

import workers.tasks  # noqa: F401 - registers them
from orchestratex import queue
from workers.app import app as ours
from workers.scheduler import BeatScheduler

PERIODIC = (queue.RECONCILE, queue.MEASURE, queue.PROBE)


class AwayApp(Celery):  # type: ignore[misc] # Celery carries no types
    """An app whose broker takes a message or does not."""

    is_away = True

    def send_task(self, *_args: object, **_options: object) -> None:
        if self.is_away:
            raise OperationalError("Error 111 connecting to 127.0.0.1:1. Connection refused.")


@pytest.fixture
def app() -> Iterator[AwayApp]:
    made = AwayApp("t", set_as_current=False, broker="memory://")
    made.conf.task_send_sent_event = True
    made.conf.beat_schedule = {"sign": {"task": "ours.sign", "schedule": 1.0}}
    yield made
    made.close()


def test_a_broker_that_is_away_is_told_in_one_line_without_a_traceback(
    app: AwayApp, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = BeatScheduler(app=app)
    entry = scheduler.schedule["sign"]

    for _ in range(5):
        scheduler.apply_entry(entry)

    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert "Connection refused" in line.getMessage()
    assert line.exc_info is None


def test_its_return_is_told_with_what_was_not_sent(app: AwayApp, caplog: pytest.LogCaptureFixture) -> None:
    scheduler = BeatScheduler(app=app)
    entry = scheduler.schedule["sign"]
    for _ in range(3):
        scheduler.apply_entry(entry)

    app.is_away = False
    for _ in range(2):
        scheduler.apply_entry(entry)

    assert [record.getMessage() for record in caplog.records][1:] == [
        "the broker takes messages again: 3 were not sent"
    ]


def test_signs_of_life_leave_no_events(app: AwayApp) -> None:
    BeatScheduler(app=app)

    assert app.conf.task_send_sent_event is False  # what the beat sends
    assert not any(ours.tasks[name].send_events for name in PERIODIC)  # what workers tell of it


@pytest.mark.parametrize("name", sorted({*queue.TASKS.values(), queue.FAN_OUT}))
def test_all_other_tasks_are_seen(name: str) -> None:
    assert ours.tasks[name].send_events is True
