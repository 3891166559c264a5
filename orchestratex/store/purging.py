"""What deleting needs of the store: a thread or session goes whole, in one transaction, and what it counts stays.

An hour that is not closed may be rolled up again, from the documents that there are then. So whoever deletes some of
them leaves their sums behind, as numbers without texts and names; the roll-up adds them to what it counts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final

from bson import ObjectId
from pymongo import ASCENDING, MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database

from orchestratex.domain.base import Count, Document, Record, SessionStatus, UtcDate
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.evaluation import Evaluation
from orchestratex.domain.log import LogEvent
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.sums import Sums
from orchestratex.domain.thread import Thread

_Mongo = dict[str, Any]
_OF_THREAD: Final[dict[str, type[Document]]] = {
    "model_responses": Response,
    "model_evaluations": Evaluation,
    "model_selection_history": Selection,
    "criticism_responses": CriticismResponse,
    "orchestration_logs": LogEvent,
}
_DAY: Final = r"\d{4}-\d\d-\d\d"  # how the name of a day's budget begins
_BRIEF: Final = {"processed_prompt": 0, "context": 0, "final_response": 0}


class Scope(Record):
    """What is to be deleted: of these sessions (None: of all), what ended before a moment (None: whenever)."""

    sessions: tuple[ObjectId, ...] | None = None
    before: UtcDate | None = None


class Remainder(Record):
    """What deleted documents count in one hour."""

    hour: UtcDate
    sums: Sums
    starts: tuple[UtcDate, ...] = ()  # of sessions: how many are open at once follows from the moments
    ends: tuple[UtcDate, ...] = ()


class Extent(Record):
    """How much a scope holds."""

    threads: Count = 0  # that have ended
    running: Count = 0  # threads that have not
    sessions: Count = 0


class MongoPurging:
    """The verbs of Store about deleting."""

    client: MongoClient[_Mongo]
    database: Database[_Mongo]
    _note_change: Callable[..., None]

    def measure_extent(self, scope: Scope) -> Extent:
        threads, of = self.database["conversation_threads"], _of_sessions(scope, "session_id")
        running = threads.count_documents({**of, "due_step": {"$type": "string"}})
        ended = threads.count_documents(_ended_threads(scope))
        sessions = self.database["user_sessions"].count_documents(_sessions(scope))
        return Extent(threads=ended, running=running, sessions=sessions)

    def purgeable_threads(self, scope: Scope, *, without: Collection[ObjectId], limit: int) -> list[Thread]:
        query = _ended_threads(scope)
        if without:
            query["_id"] = {"$nin": list(without)}
        rows = self.database["conversation_threads"].find(query, _BRIEF, limit=limit)
        return [Thread.model_validate(row) for row in rows]

    def purgeable_sessions(self, scope: Scope, *, without: Collection[ObjectId], limit: int) -> list[Session]:
        left = {
            "from": "conversation_threads",
            "localField": "_id",
            "foreignField": "session_id",
            "pipeline": [{"$limit": 1}, {"$project": {"_id": 1}}],
            "as": "left",
        }
        ended = {**_sessions(scope), "status": {"$ne": SessionStatus.ACTIVE}, "held_nanos": 0}
        stages: list[_Mongo] = [{"$match": ended}, {"$lookup": left}, {"$match": {"left": []}}]
        if without:
            stages.append({"$match": {"_id": {"$nin": list(without)}}})
        rows = self.database["user_sessions"].aggregate([*stages, {"$limit": limit}])
        return [Session.model_validate(row) for row in rows]

    def purge_thread(self, thread: Thread, remainders: Sequence[Remainder]) -> bool:
        self._note_change(*(each.hour for each in remainders))
        with self.client.start_session() as session:
            return session.with_transaction(lambda of: self._purge_thread(thread, remainders, of))

    def purge_session(self, session: Session, remainders: Sequence[Remainder]) -> bool:
        self._note_change(*(each.hour for each in remainders))
        with self.client.start_session() as transaction:
            return transaction.with_transaction(lambda of: self._purge_session(session, remainders, of))

    def purge_logs(self, before: datetime, *, limit: int) -> int:
        logs = self.database["orchestration_logs"]
        old = {"timestamp": {"$lt": before}}
        ids = [row["_id"] for row in logs.find(old, {"_id": 1}, sort=[("timestamp", ASCENDING)], limit=limit)]
        return logs.delete_many({"_id": {"$in": ids}}).deleted_count if ids else 0

    def forget_days(self, user_id: str, *, until: str) -> int:
        named = {"$regex": rf"^{_DAY}/user/{re.escape(user_id)}\z", "$lt": until}
        return self.database["budget_days"].delete_many({"_id": named, "held_nanos": 0}).deleted_count

    def remainders_between(self, start: datetime, end: datetime) -> list[Remainder]:
        rows = self.database["purged_sums"].find({"hour": {"$gte": start, "$lt": end}})
        return [Remainder.model_validate(row) for row in rows]

    def forget_remainders(self, before: datetime) -> None:
        self.database["purged_sums"].delete_many({"hour": {"$lt": before}})

    # -- inside

    def _purge_thread(self, thread: Thread, remainders: Sequence[Remainder], session: ClientSession) -> bool:
        database, of = self.database, {"thread_id": thread.id}
        leased = {**of, "lease_token": {"$type": "string"}}
        if database["model_responses"].find_one(leased, {"_id": 1}, session=session):
            return False
        same = {"_id": thread.id, "moves": thread.moves, "due_step": None, "lease_token": None}
        if not database["conversation_threads"].delete_one(same, session=session).deleted_count:
            return False
        for name in _OF_THREAD:
            database[name].delete_many(of, session=session)
        gone = {"purged_threads": 1, "purged_nanos": thread.total_cost_nanos}
        database["user_sessions"].update_one({"_id": thread.session_id}, {"$inc": gone}, session=session)
        self._leave(remainders, session)
        return True

    def _purge_session(self, known: Session, remainders: Sequence[Remainder], session: ClientSession) -> bool:
        database = self.database
        if database["conversation_threads"].find_one({"session_id": known.id}, {"_id": 1}, session=session):
            return False
        same = {"_id": known.id, "updated_at": known.updated_at, "status": known.status, "held_nanos": 0}
        if not database["user_sessions"].delete_one(same, session=session).deleted_count:
            return False
        # events about no thread are found by their time: a session speaks from its start on
        told = {"thread_id": None, "timestamp": {"$gte": known.created_at}, "session_id": known.id}
        database["orchestration_logs"].delete_many(told, session=session)
        self._leave(remainders, session)
        return True

    def _leave(self, remainders: Sequence[Remainder], session: ClientSession) -> None:
        if remainders:
            self.database["purged_sums"].insert_many([each.model_dump() for each in remainders], session=session)


class MemoryPurging:
    """The same verbs in memory."""

    _lock: threading.RLock
    _tables: dict[type[Document], dict[ObjectId, Any]]
    _days: dict[str, Any]
    _remainders: list[Remainder]
    _note_change: Callable[..., None]

    def measure_extent(self, scope: Scope) -> Extent:
        with self._lock:
            threads = [each for each in self._tables[Thread].values() if _is_of(scope, each.session_id)]
            ended = [each for each in threads if _has_ended(scope, each)]
            sessions = [each for each in self._tables[Session].values() if _holds_session(scope, each)]
            running = sum(each.due_step is not None for each in threads)
            return Extent(threads=len(ended), running=running, sessions=len(sessions))

    def purgeable_threads(self, scope: Scope, *, without: Collection[ObjectId], limit: int) -> list[Thread]:
        with self._lock:
            of = [each for each in self._tables[Thread].values() if _is_of(scope, each.session_id)]
        return [each for each in of if _has_ended(scope, each) and each.id not in without][:limit]

    def purgeable_sessions(self, scope: Scope, *, without: Collection[ObjectId], limit: int) -> list[Session]:
        with self._lock:
            busy = {each.session_id for each in self._tables[Thread].values()}
            found = [each for each in self._tables[Session].values() if _holds_session(scope, each)]
        ended = [each for each in found if each.status is not SessionStatus.ACTIVE and not each.held_nanos]
        return [each for each in ended if each.id not in busy and each.id not in without][:limit]

    def purge_thread(self, thread: Thread, remainders: Sequence[Remainder]) -> bool:
        with self._lock:
            known: Thread | None = self._tables[Thread].get(thread.id)
            responses = [each for each in self._tables[Response].values() if each.thread_id == thread.id]
            if known is None or known.moves != thread.moves or known.due_step is not None or known.lease_token:
                return False
            if any(response.lease_token for response in responses):
                return False
            del self._tables[Thread][thread.id]
            for kind in _OF_THREAD.values():
                self._drop(kind, lambda each: each.thread_id == thread.id)
            if session := self._tables[Session].get(thread.session_id):
                nanos = session.purged_nanos + thread.total_cost_nanos
                gone = {"purged_threads": session.purged_threads + 1, "purged_nanos": nanos}
                self._tables[Session][session.id] = session.model_copy(update=gone)
            self._leave(remainders)
            return True

    def purge_session(self, session: Session, remainders: Sequence[Remainder]) -> bool:
        with self._lock:
            if self._tables[Session].get(session.id) != session or session.held_nanos:
                return False
            if any(each.session_id == session.id for each in self._tables[Thread].values()):
                return False
            del self._tables[Session][session.id]
            self._drop(LogEvent, lambda each: each.thread_id is None and each.session_id == session.id)
            self._leave(remainders)
            return True

    def purge_logs(self, before: datetime, *, limit: int) -> int:
        with self._lock:
            old = [each for each in self._tables[LogEvent].values() if each.timestamp < before]
            gone = {each.id for each in sorted(old, key=lambda each: each.timestamp)[:limit]}
            self._drop(LogEvent, lambda each: each.id in gone)
            return len(gone)

    def forget_days(self, user_id: str, *, until: str) -> int:
        with self._lock:
            days = {name: name for name, account in self._days.items() if not account.held_nanos}
            gone = [name for name in days if re.fullmatch(rf"{_DAY}/user/{re.escape(user_id)}", name) and name < until]
            self._days = {name: account for name, account in self._days.items() if name not in gone}
            return len(gone)

    def remainders_between(self, start: datetime, end: datetime) -> list[Remainder]:
        with self._lock:
            return [each for each in self._remainders if start <= each.hour < end]

    def forget_remainders(self, before: datetime) -> None:
        with self._lock:
            self._remainders = [each for each in self._remainders if each.hour >= before]

    def _leave(self, remainders: Sequence[Remainder]) -> None:
        self._note_change(*(each.hour for each in remainders))
        self._remainders = [*self._remainders, *remainders]

    def _drop(self, kind: type[Document], is_gone: Callable[[Any], bool]) -> None:
        self._tables[kind] = {key: each for key, each in self._tables[kind].items() if not is_gone(each)}


def _of_sessions(scope: Scope, field: str) -> _Mongo:
    return {} if scope.sessions is None else {field: {"$in": list(scope.sessions)}}


def _ended_threads(scope: Scope) -> _Mongo:
    ended: _Mongo = {"$type": "date"} | ({"$lt": scope.before} if scope.before else {})
    return {**_of_sessions(scope, "session_id"), "due_step": None, "lease_token": None, "completed_at": ended}


def _sessions(scope: Scope) -> _Mongo:
    ended: _Mongo = {"session_end": {"$type": "date", "$lt": scope.before}} if scope.before else {}
    return {**_of_sessions(scope, "_id"), **ended}


def _is_of(scope: Scope, session_id: ObjectId) -> bool:
    return scope.sessions is None or session_id in scope.sessions


def _has_ended(scope: Scope, thread: Thread) -> bool:
    ended = thread.completed_at
    is_over = thread.due_step is None and thread.lease_token is None and ended is not None
    return is_over and (scope.before is None or (ended is not None and ended < scope.before))


def _holds_session(scope: Scope, session: Session) -> bool:
    is_old = scope.before is None or (session.session_end is not None and session.session_end < scope.before)
    return _is_of(scope, session.id) and is_old
