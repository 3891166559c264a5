"""Histories of generated threads, written past the store's verbs: three calls each, texts of 100 characters.

And what rolling up reads of them, as MongoDB itself counts it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId
from pymongo.database import Database

from orchestratex.domain.base import Document
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.steps.rolling import roll_hours
from orchestratex.steps.services import Services
from orchestratex.store.base import COLLECTIONS
from orchestratex.store.mongo import dump
from tests.make import make_answer, make_criticism_response, make_response, make_selection, make_session, make_thread

MODELS: Final = ("gpt4", "claude", "gemini", "mistral")
DOMAINS: Final = ("coding", "creative", "math", "general")
TEXT: Final = "x" * 100
_BATCH: Final = 2000  # documents
_NAMES: Final = {kind: name for name, kind in COLLECTIONS.items()}

Row = dict[str, Any]


def write_threads(database: Database[Row], count: int, *, begin: datetime, an_hour: int) -> datetime:
    """Insert so many threads, each in a session of its own, evenly spread; returns the end of the last one's hour."""
    waiting: dict[type[Document], list[Row]] = {}
    for number in range(count):
        start = begin + timedelta(seconds=3600 / an_hour * (number + 0.25))
        for kind, row in _make_thread(number, start):
            rows = waiting.setdefault(kind, [])
            rows.append(row)
            if len(rows) == _BATCH:
                _insert(database, kind, rows)
                rows.clear()
    for kind, rows in waiting.items():
        _insert(database, kind, rows)
    return begin + timedelta(hours=-(-count // an_hour))


def count_examined(hours: Collection[datetime], database: Database[Row], services: Services) -> tuple[int, int]:
    """Roll hours up once more; returns how many documents and index keys MongoDB looked at for it."""
    database.command("profile", 0)
    database["system.profile"].drop()
    database.command("profile", 2)
    try:
        roll_hours(hours, services)
    finally:
        database.command("profile", 0)
    ops = list(database["system.profile"].find())
    return sum(op.get("docsExamined", 0) for op in ops), sum(op.get("keysExamined", 0) for op in ops)


def _insert(database: Database[Row], kind: type[Document], rows: list[Row]) -> None:
    if rows:
        database[_NAMES[kind]].insert_many(rows, ordered=False)


def _make_thread(number: int, start: datetime) -> Iterator[tuple[type[Document], Row]]:
    ended, model, domain = start + timedelta(seconds=40), MODELS[number % 4], DOMAINS[number % 3]
    session_id, thread_id = ObjectId(), ObjectId()
    times = {"created_at": start, "updated_at": ended}
    ids = {"thread_id": thread_id, "session_id": session_id}
    yield (
        Session,
        _row(
            _SESSION,
            _id=session_id,
            session_start=start,
            session_end=ended,
            user_satisfaction=1 + number % 10,
            total_cost_nanos=30_000,
            **times,
        ),
    )
    scored = {"final_quality_score": 1 + number % 9, "user_accepted": number % 5 > 0, "best_model_id": model}
    yield (
        Thread,
        _row(_THREAD, _id=thread_id, session_id=session_id, domain=domain, completed_at=ended, **scored, **times),
    )
    score = 1 + number % 90 / 10
    for at, (template, fields) in enumerate(
        (
            (_ANSWER, {"selection_score": score}),
            (_EVALUATION, {}),
            (_REVISION, {"selection_score": score}),
        )
    ):
        moment = start + timedelta(seconds=10 * at)
        yield (
            Response,
            _row(
                template,
                _id=ObjectId(),
                model_name=MODELS[(number + at) % 4],
                timestamp=moment,
                domain=domain,
                **ids,
                **fields,
            ),
        )
    accuracy = number % 10 / 10
    yield (
        Selection,
        _row(
            _SELECTION, _id=ObjectId(), selected_model=model, selection_accuracy_score=accuracy, timestamp=start, **ids
        ),
    )
    yield CriticismResponse, _row(_CRITICISM, _id=ObjectId(), improvement_score=1 + number % 9, timestamp=ended, **ids)


def _row(template: Row, **changes: Any) -> Row:
    return {**template, **changes}


_DONE: Final[dict[str, Any]] = {
    "status": "completed",
    "response_text": TEXT,
    "prompt_sent": TEXT,
    "response_time": 1500.5,
    "tokens_used": {"input_tokens": 50, "output_tokens": 50, "total_tokens": 100},
    "cost_nanos": 10_000,
    "cost": 0.00001,
    "attempts_sent": 1,
    "finish_reason": "stop",
    "processing_duration": 1600.5,
}
_REFINED: Final = {"role": "refiner", "response_type": "improvement", "purpose": "answer", "iteration_number": 2}
_SESSION: Final = dump(make_session(status="completed"))
_THREAD: Final = dump(
    make_thread(
        original_prompt=TEXT, final_response=TEXT, thread_status="completed", due_step=None, current_iteration=2
    )
)
_ANSWER: Final = dump(make_answer(**_DONE))
_EVALUATION: Final = dump(make_response(**_DONE))
_REVISION: Final = dump(make_response(**{**_DONE, **_REFINED}))
_SELECTION: Final = dump(make_selection())
_CRITICISM: Final = dump(make_criticism_response(revised_answer=TEXT))
