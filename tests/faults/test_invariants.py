"""Each invariant catches what breaks it, and lets a sound run pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from orchestratex.domain.base import Document
from orchestratex.sandbox.ledger import OK
from orchestratex.store.base import COLLECTIONS
from tests.faults.history import Saved, Stand
from tests.faults.invariants import INVARIANTS, Call, Evidence, Window, check
from tests.make import NOW, make_answer, make_session, make_thread

SESSION, THREAD, RESPONSE = ObjectId(), ObjectId(), ObjectId()


def dump(document: Document) -> dict[str, Any]:
    return document.model_dump(by_alias=True)


def sound_session(**fields: Any) -> dict[str, Any]:
    money = {"total_cost_nanos": 700, "total_cost": 7e-7}
    return dump(make_session(**{"_id": SESSION, **money, "cost_limit_nanos": 1000, **fields}))


def sound_thread(**fields: Any) -> dict[str, Any]:
    score = {"iteration": 1, "response_id": RESPONSE, "model_name": "gpt4", "score": 6}
    values = {
        "_id": THREAD,
        "session_id": SESSION,
        "processed_prompt": "Why is the sky blue?",
        "domain": "factual",
        "complexity_level": "simple",
        "estimated_difficulty": 2,
        "language": "en",
        "best_model_id": "gpt4",
        "best_response_id": RESPONSE,
        "thread_status": "completed",
        "due_step": None,
        "final_response": "Because of scattering.",
        "final_quality_score": 6,
        "completed_at": NOW,
        "scores": [score],
        "total_cost_nanos": 700,
    }
    return dump(make_thread(**{**values, **fields}))


def sound_response(**fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    values = {
        "_id": RESPONSE,
        "thread_id": THREAD,
        "session_id": SESSION,
        "status": "completed",
        "response_text": "Because of scattering.",
        "prompt_sent": "Why is the sky blue?",
        "response_time": 1,
        "tokens_used": usage,
        "cost": 7e-7,
        "processing_duration": 1,
        "confidence_score": 8,
        "self_assessment": "sure",
        "attempt": 2,
        "attempt_costs": {
            "1": {"nanos": 400, "source": "estimated"},
            "2": {"nanos": 300, "source": "computed", "usage": usage},
        },
        "cost_nanos": 700,
    }
    return dump(make_answer(**{**values, **fields}))


def sound_call(**fields: Any) -> Call:
    return replace(Call(str(RESPONSE), 1, started=10, ended=11, cost_nanos=300), **fields)


def make_evidence(
    *,
    session: Mapping[str, Any] | None = None,
    thread: Mapping[str, Any] | None = None,
    response: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Evidence:
    """A run in which one call met a fault at 10.5 s and was paid again."""
    documents = {
        "user_sessions": [session or sound_session()],
        "conversation_threads": [thread or sound_thread()],
        "model_responses": [response or sound_response()],
    }
    values: dict[str, Any] = {
        "submitted": [str(THREAD)],
        "documents": documents,
        "calls": [sound_call(), sound_call(attempt=2, started=40, ended=41)],
        "saved": {str(RESPONSE): Saved(at=41.1, attempt=2)},
        "stands": [Stand(f"response {RESPONSE}", 11, 29)],
        "windows": [Window(10.5, 10.6)],
    }
    return Evidence(**{**values, **fields})


def lacking(document: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != field}


VIOLATIONS: dict[str, tuple[str, Evidence]] = {
    "a thread that is gone": ("every thread ends", make_evidence(submitted=[str(THREAD), str(ObjectId())])),
    "a thread that has not ended": (
        "every thread ends",
        make_evidence(thread=sound_thread(thread_status="criticism", due_step="weigh")),
    ),
    "a thread without an answer": (
        "every thread ends",
        make_evidence(thread=sound_thread(thread_status="failed", failure_reason="nobody answered")),
    ),
    "a response that stood": ("nothing stands", make_evidence(stands=[Stand("response x", 10, 35.1)])),
    "an attempt after the saved one": (
        "no saved call is paid again",
        make_evidence(calls=[sound_call(attempt=3, started=12)], saved={str(RESPONSE): Saved(11, attempt=2)}),
    ),
    "an uncharged attempt after the saved one": (
        "no saved call is paid again",
        make_evidence(calls=[sound_call(attempt=3, is_charged=False)], saved={str(RESPONSE): Saved(11, attempt=2)}),
    ),
    "a call that began after the save": (
        "no saved call is paid again",
        make_evidence(saved={str(RESPONSE): Saved(at=39.9, attempt=2)}),
    ),
    "a repeat without a fault": ("only calls in flight are repeated", make_evidence(windows=[])),
    "a repeat in a fault that loses no answers": (
        "only calls in flight are repeated",
        make_evidence(windows=[Window(10.5, 10.6, loses_answers=False)]),
    ),
    "an estimate although nothing went wrong": (
        "money differs only in estimates",
        make_evidence(windows=[], calls=[sound_call(), sound_call(attempt=2, started=40, ended=41)]),
    ),
    "a repeat of a call that ended long before the fault": (
        "only calls in flight are repeated",
        make_evidence(windows=[Window(14, 15)]),
    ),
    "a repeat of a call that began after the fault": (
        "only calls in flight are repeated",
        make_evidence(windows=[Window(8, 9)]),
    ),
    "an attempt that was sent twice": (
        "an attempt is sent once",
        make_evidence(calls=[sound_call(), sound_call(is_charged=False)]),
    ),
    "a charged attempt that is not booked": (
        "money is never below the ledger",
        make_evidence(response=sound_response(attempt_costs={"2": {"nanos": 700, "source": "estimated"}})),
    ),
    "an attempt booked below its charge": (
        "money is never below the ledger",
        make_evidence(calls=[sound_call(cost_nanos=401)]),
    ),
    "a charged call of nobody": (
        "money is never below the ledger",
        make_evidence(calls=[sound_call(response_id=str(ObjectId()))]),
    ),
    "a known amount that is not the charged one": (
        "money differs only in estimates",
        make_evidence(calls=[sound_call(), sound_call(attempt=2, started=40, ended=41, cost_nanos=299)]),
    ),
    "a known amount that nobody charged": (
        "money differs only in estimates",
        make_evidence(calls=[sound_call()]),
    ),
    "a response that is not the sum of its attempts": (
        "sums agree",
        make_evidence(response=sound_response(cost_nanos=701)),
    ),
    "a thread that is not the sum of its responses": (
        "sums agree",
        make_evidence(thread=sound_thread(total_cost_nanos=1)),
    ),
    "a session that is not the sum of its threads": (
        "sums agree",
        make_evidence(session=sound_session(total_cost_nanos=699)),
    ),
    "a session whose dollars are not its nano-dollars": (
        "sums agree",
        make_evidence(session=sound_session(total_cost=1.0)),
    ),
    "a session that spent too much": ("sums agree", make_evidence(session=sound_session(cost_limit_nanos=600))),
    "a reservation": (
        "no lease or reservation is left",
        make_evidence(session=sound_session(held_nanos=5, reservations={f"{RESPONSE}_2": 5})),
    ),
    "money held by nobody": ("no lease or reservation is left", make_evidence(session=sound_session(held_nanos=5))),
    "a thread's lease": ("no lease or reservation is left", make_evidence(thread=sound_thread(lease_token="t"))),
    "a response's lease": ("no lease or reservation is left", make_evidence(response=sound_response(lease_token="t"))),
    "a document that is none": (
        "every document is valid",
        make_evidence(thread={**sound_thread(), "current_iteration": 11}),
    ),
    "a field that is missing": ("every document is valid", make_evidence(response=lacking(sound_response(), "cost"))),
    "a null that means nothing": ("every document is valid", make_evidence(thread=sound_thread(final_response=None))),
    "a final score below the first": (
        "no final score is below the first",
        make_evidence(thread=sound_thread(final_quality_score=5.9)),
    ),
}


def test_a_sound_run_breaks_nothing() -> None:
    assert check(make_evidence()) == {}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_an_invariant_catches_what_breaks_it(name: str) -> None:
    invariant, evidence = VIOLATIONS[name]

    assert invariant in check(evidence)


def test_two_responses_for_one_call_are_caught() -> None:
    evidence = make_evidence()
    twin = {**sound_response(), "_id": ObjectId()}
    doubled = replace(evidence, documents={**evidence.documents, "model_responses": [sound_response(), twin]})

    assert "a call has one response" in check(doubled)


def test_every_invariant_has_its_violation() -> None:
    assert {invariant for invariant, _ in VIOLATIONS.values()} | {"a call has one response"} == INVARIANTS.keys()


def test_a_call_that_its_model_spoiled_may_be_paid_again() -> None:
    dropped = sound_call(outcome="drop")
    again = sound_call(attempt=2, started=40, ended=41)

    assert check(make_evidence(windows=[], calls=[dropped, again])) == {}
    assert dropped.outcome != OK


def test_a_failed_thread_may_be_allowed() -> None:
    failed = sound_thread(thread_status="failed", failure_reason="nobody answered", final_response=None)

    assert check(make_evidence(thread=failed, may_fail=True)) == {}


def test_all_collections_can_be_judged() -> None:
    for name in COLLECTIONS:
        assert "every document is valid" in check(make_evidence(session=None) and Evidence([], {name: [{"_id": 1}]}))
