"""The history is read from the oplog as mongod writes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.faults.history import RESPONSES, THREADS, History, Outage, Saved, Stand, Write, read_oplog

START = datetime(2026, 1, 1, tzinfo=UTC)


def response(at: float, **fields: Any) -> Write:
    return Write(at, RESPONSES, "r", fields)


def thread(at: float, **fields: Any) -> Write:
    return Write(at, THREADS, "t", fields)


def make_history(*writes: Write) -> History:
    return History(writes, {"r": "t"})


def update(diff: Mapping[str, Any]) -> dict[str, Any]:
    return {"op": "u", "ns": "db.model_responses", "o2": {"_id": 1}, "o": {"$v": 2, "diff": diff}, "wall": START}


def test_reads_inserts_and_all_kinds_of_changes() -> None:
    insert = {"op": "i", "ns": "db.conversation_threads", "o": {"_id": 7, "moves": 0}, "wall": START}
    change = update({"u": {"attempt": 2}, "i": {"completion": {}}, "d": {"estimates": False}, "sscores": {"a": True}})

    writes = list(read_oplog([insert, change], "db"))

    assert writes == [
        Write(START.timestamp(), THREADS, "7", {"_id": 7, "moves": 0}),
        Write(START.timestamp(), RESPONSES, "1", {"attempt": 2, "completion": {}, "estimates": None}),
    ]


def test_reads_what_a_transaction_wrote() -> None:
    inner = {"op": "i", "ns": "db.model_responses", "o": {"_id": 7}}
    entry = {"op": "c", "ns": "admin.$cmd", "o": {"applyOps": [inner]}, "wall": START}

    assert [write.id for write in read_oplog([entry], "db")] == ["7"]


@pytest.mark.parametrize("ns", ["other.model_responses", "db.orchestration_logs"])
def test_reads_nobody_elses_writes(ns: str) -> None:
    assert list(read_oplog([{**update({"u": {"attempt": 1}}), "ns": ns}], "db")) == []


def test_a_message_that_is_sent_again_touches_nothing() -> None:
    again = update({"u": {"dispatched_at": START, "dispatches": 2}})
    claimed = update({"u": {"dispatched_at": START, "attempt": 2}})

    assert [write.fields for write in read_oplog([again, claimed], "db")] == [{"dispatched_at": START, "attempt": 2}]


def test_a_completion_belongs_to_the_attempt_that_saved_it() -> None:
    history = make_history(
        response(0, attempt=0, completion=None),
        response(1, attempt=1),
        response(9, attempt=2),
        response(10, completion={"text": "a"}),
        response(12, attempt=3),
    )

    assert history.saved() == {"r": Saved(at=10, attempt=2)}


def test_a_response_stands_between_two_writes() -> None:
    history = make_history(response(0), response(3), response(20), response(21, status="completed"), response(90))

    assert history.stands() == [Stand("response r", 3, 17)]


def test_a_thread_stands_when_neither_it_nor_its_calls_are_touched() -> None:
    history = make_history(
        thread(0), response(5), response(6, status="completed"), thread(9, thread_status="completed")
    )

    assert Stand("thread t", 0, 5) in history.stands()


def test_an_ended_thread_does_not_stand() -> None:
    history = make_history(thread(0), thread(1, thread_status="completed"), thread(50))

    assert history.stands() == [Stand("thread t", 0, 1)]


def test_a_wait_that_is_written_down_is_no_standing() -> None:
    wished = START + timedelta(seconds=8)
    start = START.timestamp()
    history = make_history(response(start, not_before=wished), response(start + 10, status="completed"))

    assert history.stands() == [Stand("response r", start + 8, 2)]


def test_an_outage_is_no_standing() -> None:
    history = make_history(response(0), response(40, status="completed"))

    assert history.stands([Outage(5, 35)]) == [Stand("response r", 0, 10)]


def test_recovery_ends_when_every_open_call_is_closed_and_every_thread_has_moved() -> None:
    history = make_history(
        thread(0, moves=0),
        response(1),
        response(12, attempt=2),
        response(29, completion={"text": "a"}),
        response(30, status="completed"),
        thread(31, moves=1),
    )

    assert history.recovery_s(10) == 21


def test_nothing_recovers_where_nothing_was_open() -> None:
    history = make_history(thread(0), thread(2, thread_status="completed"), thread(20, moves=9))

    assert history.recovery_s(10) is None
