from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId
from celery import Celery
from kombu.message import Message

from workers.refusal import LARGEST_BODY, find_envelope_problem, find_message_problem

ID = str(ObjectId())
CANVAS: dict[str, Any] = {"chain": None}
PROPERTIES: dict[str, Any] = {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "ox.respond"}}
ENVELOPE: dict[str, Any] = {"headers": {}, "body": "W10=", "properties": PROPERTIES | {"body_encoding": "base64"}}


def step(thread_id: str) -> None:
    """Takes one id."""


def bound(self: Any, thread_id: str) -> None:
    """Takes one id beside itself."""


def beat() -> None:
    """Takes nothing."""


@pytest.fixture(scope="module")
def tasks() -> Iterator[Any]:
    app = Celery("t", set_as_current=False)
    for run in (step, bound, beat):
        app.task(run, name=f"ours.{run.__name__}", bind=run is bound)
    app.finalize()
    yield app.tasks
    app.close()


def make_message(call: object, *, task: object = "ours.step", kind: str = "application/json", **headers: object) -> Any:
    body = call if isinstance(call, str) else json.dumps(call)
    return Message(  # type: ignore[no-untyped-call]
        body,
        content_type=kind,
        content_encoding="utf-8",
        headers={"id": "1", "task": task, **headers},
        accept={"application/json"},
    )


@pytest.mark.parametrize("name", ["ours.step", "ours.bound"])
def test_a_call_of_ours_is_taken(tasks: Any, name: str) -> None:
    assert find_message_problem(make_message([[ID], {}, CANVAS], task=name), tasks) is None
    assert find_message_problem(make_message([[], {"thread_id": ID}, CANVAS], task=name), tasks) is None


def test_what_the_beat_sends_is_taken(tasks: Any) -> None:
    message = make_message([[], {}, CANVAS], task="ours.beat", expires="2026-01-01T00:00:00+00:00", eta=None)

    assert find_message_problem(message, tasks) is None


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (make_message("{garbage"), "cannot be read"),
        (make_message("[" * 50_000), "cannot be read"),
        (make_message([[ID], {}, CANVAS], kind="application/x-python-serialize"), "cannot be read"),
        (make_message("x" * (LARGEST_BODY + 1)), f"a body of {LARGEST_BODY + 1} bytes"),
        (make_message([1]), "no list of arguments"),
        (make_message([[ID], [], CANVAS]), "no list of arguments"),
        (make_message([[ID], {}, CANVAS], task=["ours.step"]), "no task and id"),
        (make_message([[ID], {}, CANVAS], task="ours.dream"), "unknown task ours.dream"),
        (make_message([[ID], {}, CANVAS], eta="2026-01-01T00:00:00"), "a time to wait for"),
        (make_message([[ID, ID], {}, CANVAS]), "ours.step does not take these arguments"),
        (make_message([[], {}, CANVAS]), "ours.step does not take these arguments"),
        (make_message([[ID], {"priority": ID}, CANVAS], task="ours.bound"), "ours.bound does not take these arguments"),
        (make_message([["no-id"], {}, CANVAS]), "ours.step takes ids only"),
        (make_message([[{"$ne": 1}], {}, CANVAS]), "ours.step takes ids only"),
    ],
)
def test_what_is_no_call_of_ours_is_refused_by_its_reason(tasks: Any, message: Any, problem: str) -> None:
    assert problem in (find_message_problem(message, tasks) or "")


def test_an_envelope_of_kombu_is_taken() -> None:
    assert find_envelope_problem(ENVELOPE) is None


@pytest.mark.parametrize(
    ("envelope", "problem"),
    [
        ("{garbage", "not a JSON object"),
        ([1, 2], "not a JSON object"),
        ({}, "no delivery tag"),
        (ENVELOPE | {"properties": {"delivery_tag": "t"}}, "no exchange and routing key"),
        (ENVELOPE | {"headers": None}, "no headers"),
        (ENVELOPE | {"body": [1]}, "no readable body"),
        (ENVELOPE | {"body": "not base64"}, "not base64"),
    ],
)
def test_an_envelope_that_kombu_would_die_of_is_named_by_its_reason(envelope: object, problem: str) -> None:
    assert problem in (find_envelope_problem(envelope) or "")
