"""Signs of life of workers that call models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery.signals import heartbeat_sent

from orchestratex.errors import StoreUnavailableError
from orchestratex.queue import CONTROL, EVALUATE, REFINE, RESPOND
from orchestratex.steps.pulse import describe_missing
from tests.support import World
from workers import pulse
from workers.pulse import WorkerPulse, takes_calls

ALL = {RESPOND, EVALUATE, REFINE}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def heart(world: World) -> Iterator[WorkerPulse]:
    made = WorkerPulse(lambda: world.services, ALL, interval_s=1)
    yield made
    made.end()


def test_only_workers_of_calls_leave_such_signs() -> None:
    assert takes_calls({EVALUATE})
    assert not takes_calls({CONTROL})


def test_a_worker_whose_heart_is_heard_leaves_a_sign(world: World, heart: WorkerPulse) -> None:
    assert "workers" in describe_missing(world.services)

    heart.beat()

    assert "workers" not in describe_missing(world.services)


def test_a_worker_whose_heart_is_silent_leaves_none(
    world: World, heart: WorkerPulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "_FRESH_S", -1)
    heart.beat()
    silent = describe_missing(world.services)
    monkeypatch.undo()
    heartbeat_sent.send(sender=None)
    heart.beat()

    assert "workers" in silent
    assert "workers" not in describe_missing(world.services)


def test_a_store_that_is_away_ends_no_pulse(
    world: World, heart: WorkerPulse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_name: str, _value: int) -> None:
        raise StoreUnavailableError("MongoDB at db:27017 does not answer")

    monkeypatch.setattr(world.store, "put_sample", fail)

    heart.beat()

    assert "db:27017" in caplog.text
