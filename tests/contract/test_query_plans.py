"""What is asked all the time finds its documents by an index: no question reads the whole history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from orchestratex.domain.base import Period, ThreadStatus
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.log import LogEvent
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.sums import Sums
from orchestratex.domain.thread import Thread
from orchestratex.store.listing import Wanted
from orchestratex.store.mongo import MongoStore
from orchestratex.store.purging import Scope
from tests.make import NOW, make_metrics, make_response, make_session, make_thread

pytestmark = pytest.mark.integration

LATER = NOW + timedelta(hours=1)
SOME = ObjectId()
ENDED = make_thread(thread_status="completed", due_step=None, completed_at=NOW)

QUESTIONS: dict[str, Callable[[MongoStore], object]] = {
    "renew leases": lambda s: s.renew_leases(["a", "b"], lease_s=20),
    "expired threads": lambda s: s.expired_threads(limit=5),
    "expired responses": lambda s: s.expired_responses(limit=5),
    "overdue threads": lambda s: s.overdue_threads(resend_s=1, doubles=True, limit=5),
    "overdue responses": lambda s: s.overdue_responses(resend_s=1, doubles=True, limit=5),
    "overdue panels": lambda s: s.overdue_panels(limit=5),
    "straggling panels": lambda s: s.straggling_panels(limit=5),
    "threads past their deadline": lambda s: s.threads_past_deadline(limit=5),
    "idle sessions": lambda s: s.idle_sessions(idle_s=1, limit=5),
    "cancelling sessions": lambda s: s.cancelling_sessions(limit=5),
    "reservations": lambda s: s.accounts_with_reservations(limit=5),
    "places of nobody": lambda s: s.orphaned_places(age_s=1, limit=5),
    "threads without a place": lambda s: s.placeless_threads(limit=5),
    "threads in line": lambda s: s.queued_threads(without_users=["u"], limit=5),
    "traffic of a model": lambda s: s.has_completed_since("gpt4", NOW),
    "totals of a thread": lambda s: s.thread_totals(SOME),
    "pending of a thread": lambda s: s.pending_of(SOME),
    "threads of a session": lambda s: s.threads_of(SOME),
    "selections of a thread": lambda s: s.selections_of(SOME),
    "criticisms of a thread": lambda s: s.criticisms_of(SOME),
    "logs of a thread": lambda s: s.logs_of(SOME),
    "sessions that start in an hour": lambda s: list(s.scan_between(Session, "session_start", NOW, LATER)),
    "sessions that end in an hour": lambda s: list(s.scan_between(Session, "session_end", NOW, LATER)),
    "threads of an hour": lambda s: list(s.scan_between(Thread, "completed_at", NOW, LATER)),
    "responses of an hour": lambda s: list(s.scan_between(Response, "timestamp", NOW, LATER)),
    "selections of threads": lambda s: list(s.scan_of(Selection, [SOME])),
    "criticisms of threads": lambda s: list(s.scan_of(CriticismResponse, [SOME])),
    "ratings of sessions": lambda s: s.ratings_of([SOME]),
    "probes of an hour": lambda s: list(s.scan_between(LogEvent, "timestamp", NOW, LATER, event_type="model_probed")),
    "the next hour in which something happened": lambda s: s.next_activity(NOW),
    "an hour's window": lambda s: s.put_hour(make_metrics(sums=Sums()), seen=None),
    "a longer window": lambda s: s.put_window(make_metrics(time_period="daily", sums=Sums()), seen=None),
    "windows of a day": lambda s: s.windows_between(Period.HOURLY, NOW, LATER),
    "the latest windows": lambda s: s.metrics("hourly", since=NOW, until=LATER, limit=5),
    "an acceptance": lambda s: s.set_thread(SOME, {"user_accepted": True}),
    "a rating": lambda s: s.set_session(SOME, {"user_satisfaction": 5}),
    "hours that changed late": lambda s: s.due_marks(limit=5),
    "what models have shown": lambda s: s.model_stats(),
    "the newest threads": lambda s: s.find_threads(Wanted(), limit=5),
    "a user's newest threads": lambda s: s.find_threads(Wanted(user_id="u"), limit=5),
    "a session's newest threads": lambda s: s.find_threads(Wanted(session_id=SOME), limit=5),
    "failed threads": lambda s: s.find_threads(Wanted(statuses=(ThreadStatus.FAILED,), since=NOW), limit=5),
    "sessions of a user": lambda s: s.sessions_of("u"),
    "what is old": lambda s: s.measure_extent(Scope(before=NOW)),
    "what belongs to a session": lambda s: s.measure_extent(Scope(sessions=(SOME,))),
    "old threads": lambda s: s.purgeable_threads(Scope(before=NOW), without=[SOME], limit=5),
    "threads of sessions": lambda s: s.purgeable_threads(Scope(sessions=(SOME,)), without=(), limit=5),
    "old sessions": lambda s: s.purgeable_sessions(Scope(before=NOW), without=[SOME], limit=5),
    "deleting a thread": lambda s: s.purge_thread(ENDED, []),
    "deleting a session": lambda s: s.purge_session(make_session(), []),
    "deleting old events": lambda s: s.purge_logs(NOW, limit=5),
    "what deleted documents count": lambda s: s.remainders_between(NOW, LATER),
}
# as many as models, samples, days and late hours
SMALL = ("ai_model_profiles", "places", "system_samples", "budget_days", "rollup_hours", "model_totals", "rollup_state")


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_reads_a_whole_collection(mongo_store: MongoStore, question: str) -> None:
    thread = make_thread()
    mongo_store.insert_threads([thread, ENDED])
    mongo_store.insert_responses([make_response(thread_id=thread.id, session_id=thread.session_id)])
    database = mongo_store.database
    database.command("profile", 2)
    try:
        QUESTIONS[question](mongo_store)
    finally:
        database.command("profile", 0)

    asked = list(database["system.profile"].find({"op": {"$in": ["query", "update", "command", "getmore"]}}))
    ops = [op for op in asked if "planSummary" in op]
    assert ops, "nothing was asked"
    assert [_describe(op) for op in ops if "COLLSCAN" in op["planSummary"] and _collection(op) not in SMALL] == []


def _collection(op: dict[str, Any]) -> str:
    return str(op["ns"]).split(".", 1)[1]


def _describe(op: dict[str, Any]) -> str:
    return f"{_collection(op)}: {op['planSummary']} {op.get('command')}"
