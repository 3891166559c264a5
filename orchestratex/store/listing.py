"""How threads are found again: by session, user, status and age, the newest first."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import DESCENDING
from pymongo.database import Database

from orchestratex.domain.base import Document, Id, Record, ThreadStatus, UtcDate
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread

_Mongo = dict[str, Any]
_LONG: dict[str, Any] = dict.fromkeys(("processed_prompt", "context", "final_response"))  # nothing that a list shows


class Wanted(Record):
    """Which threads are looked for; None: whichever."""

    session_id: Id | None = None
    user_id: str | None = None
    statuses: tuple[ThreadStatus, ...] | None = None
    is_queued: bool | None = None
    since: UtcDate | None = None  # submitted then or later


class MongoListing:
    """The verbs of Store about finding threads."""

    database: Database[_Mongo]

    def find_threads(self, wanted: Wanted, *, limit: int) -> list[Thread]:
        query: _Mongo = {name: value for name in ("session_id", "user_id") if (value := getattr(wanted, name))}
        if wanted.since is not None:
            query["created_at"] = {"$gte": wanted.since}
        if wanted.statuses is not None:
            query["thread_status"] = {"$in": list(wanted.statuses)}
        if wanted.is_queued is not None:
            query["is_queued"] = True if wanted.is_queued else {"$ne": True}
        threads, without = self.database["conversation_threads"], dict.fromkeys(_LONG, 0)
        rows = threads.find(query, without, sort=[("created_at", DESCENDING), ("_id", DESCENDING)], limit=limit)
        return [Thread.model_validate(row) for row in rows]

    def sessions_of(self, user_id: str) -> list[ObjectId]:
        rows = self.database["user_sessions"].find({"user_id": user_id}, {"_id": 1})
        return [row["_id"] for row in rows]


class MemoryListing:
    """The same verbs in memory."""

    _lock: threading.RLock
    _tables: dict[type[Document], dict[ObjectId, Any]]

    def find_threads(self, wanted: Wanted, *, limit: int) -> list[Thread]:
        with self._lock:
            found = [each for each in self._tables[Thread].values() if _is_wanted(each, wanted)]
        newest_first = sorted(found, key=_age, reverse=True)
        return [each.model_copy(update=_LONG) for each in newest_first[:limit]]

    def sessions_of(self, user_id: str) -> list[ObjectId]:
        with self._lock:
            return [each.id for each in self._tables[Session].values() if each.user_id == user_id]


def _is_wanted(thread: Thread, wanted: Wanted) -> bool:
    return (
        wanted.session_id in (None, thread.session_id)
        and wanted.user_id in (None, thread.user_id)
        and (wanted.statuses is None or thread.thread_status in wanted.statuses)
        and wanted.is_queued in (None, thread.is_queued)
        and (wanted.since is None or thread.created_at >= wanted.since)
    )


def _age(thread: Thread) -> tuple[datetime, ObjectId]:
    return thread.created_at, thread.id
