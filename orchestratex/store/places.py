"""Who is in flight: one document, changed by one conditional update: no bound is exceeded at any concurrency."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, unquote

from bson import ObjectId
from pymongo import ASCENDING, ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from orchestratex.domain.base import Document, Step
from orchestratex.domain.thread import Thread
from orchestratex.store.base import Place, Places

_Mongo = dict[str, Any]
_ALL: Final = {"_id": "threads"}
_NOW: Final = "$$NOW"
_IS_IN_FLIGHT: Final[_Mongo] = {"due_step": {"$type": "string"}, "is_queued": {"$ne": True}}
_USES_PLACE: Final[_Mongo] = {"due_step": {"$type": "string", "$ne": Step.FINISH}, "is_queued": {"$ne": True}}


class MongoPlaces:
    """The verbs of Store about places, over the collection `places`.

    `count` and `by_user` change in the same update as the `holders` that they count: neither can drift.
    """

    database: Database[_Mongo]

    def get_places(self) -> Places:
        found = self.database["places"].find_one(_ALL, {"count": 1, "by_user": 1}) or {}
        by_user = {_read_key(key): count for key, count in found.get("by_user", {}).items()}
        return Places(count=found.get("count", 0), by_user=by_user)

    def take_places(
        self, threads: Sequence[Thread], *, limit: int | None = None, user_limit: int | None = None
    ) -> bool:
        """See Store. The one conditional update."""
        if not threads:
            return True
        self._open_places()
        user_id = threads[0].user_id
        of_user = f"by_user.{_make_key(user_id)}"
        fields = {thread.id: f"holders.{thread.id}" for thread in threads}
        missing = [{"$cond": [{"$eq": [{"$type": f"${field}"}, "missing"]}, 1, 0]} for field in fields.values()]
        count = {"$add": ["$count", *missing]}
        users = {"$add": [{"$ifNull": [f"${of_user}", 0]}, *missing]}
        bounds = ((count, limit), (users, user_limit))
        has_room = {"$and": [{"$lte": [sums, most]} for sums, most in bounds if most is not None]}
        is_allowed = {"$or": [{"$eq": [{"$add": missing}, 0]}, has_room]}
        held: _Mongo = {
            fields[thread.id]: {
                "user_id": {"$literal": user_id},
                "moves": {"$max": [f"${fields[thread.id]}.moves", thread.moves]},
                "at": _NOW,
            }
            for thread in threads
        }
        result = self.database["places"].update_one(
            {**_ALL, "$expr": is_allowed}, [{"$set": {"count": count, of_user: users}}, {"$set": held}]
        )
        return result.matched_count == 1

    def free_place(self, thread: Thread) -> bool:
        return self._free_place(thread.id, thread.user_id, {f"holders.{thread.id}.moves": {"$lt": thread.moves}})

    def free_orphan(self, place: Place) -> bool:
        unchanged = {f"holders.{place.thread_id}.at": place.at, f"holders.{place.thread_id}.moves": place.moves}
        return self._free_place(place.thread_id, place.user_id, unchanged)

    def orphaned_places(self, *, age_s: float, limit: int) -> list[Place]:
        is_old = {"$lt": ["$$this.v.at", {"$add": [_NOW, round(-age_s * 1000)]}]}
        old = {"$filter": {"input": {"$objectToArray": "$holders"}, "cond": is_old}}
        rows = list(self.database["places"].aggregate([{"$match": _ALL}, {"$project": {"old": old}}]))
        places = [Place(thread_id=ObjectId(row["k"]), **row["v"]) for found in rows for row in found["old"]]
        running = self._ids({"_id": {"$in": [place.thread_id for place in places]}, **_IS_IN_FLIGHT})
        return [place for place in places if place.thread_id not in running][:limit]

    def placeless_threads(self, *, limit: int) -> list[Thread]:
        """See Store. Threads are read before and after the places: who ran all the while and is not there has none."""
        running = self._ids(_USES_PLACE)
        holders = (self.database["places"].find_one(_ALL, {"holders": 1}) or {}).get("holders", {})
        strangers = [thread_id for thread_id in running if str(thread_id) not in holders]
        if not strangers:
            return []
        rows = self.database["conversation_threads"].find({"_id": {"$in": strangers}, **_USES_PLACE}, limit=limit)
        return [Thread.model_validate(row) for row in rows]

    def queued_threads(self, *, without_users: Collection[str], limit: int) -> list[Thread]:
        query: _Mongo = {"is_queued": True}
        if without_users:
            query["user_id"] = {"$nin": list(without_users)}
        order = [("dispatched_at", ASCENDING), ("_id", ASCENDING)]
        rows = self.database["conversation_threads"].find(query, limit=limit, sort=order)
        return [Thread.model_validate(row) for row in rows]

    def admit_thread(self, thread_id: ObjectId, *, deadlines_s: Mapping[str, float]) -> Thread | None:
        deadlines = {name: {"$add": [_NOW, round(seconds * 1000)]} for name, seconds in deadlines_s.items()}
        found = self.database["conversation_threads"].find_one_and_update(
            {"_id": thread_id, "is_queued": True},
            [{"$set": {"is_queued": False, "dispatched_at": _NOW, "updated_at": _NOW, **deadlines}}],
            return_document=ReturnDocument.AFTER,
        )
        return Thread.model_validate(found) if found is not None else None

    def _ids(self, query: _Mongo) -> set[ObjectId]:
        return {row["_id"] for row in self.database["conversation_threads"].find(query, {"_id": 1})}

    def _open_places(self) -> None:
        if self.database["places"].find_one(_ALL, {"_id": 1}) is None:
            empty = {"count": 0, "by_user": {}, "holders": {}}
            with contextlib.suppress(DuplicateKeyError):  # somebody else opened it
                self.database["places"].update_one(_ALL, {"$setOnInsert": empty}, upsert=True)

    def _free_place(self, thread_id: ObjectId, user_id: str, is_meant: _Mongo) -> bool:
        of_user = f"by_user.{_make_key(user_id)}"
        left = {"$subtract": [f"${of_user}", 1]}
        less = {"count": {"$subtract": ["$count", 1]}, of_user: {"$cond": [{"$gt": [left, 0]}, left, "$$REMOVE"]}}
        result = self.database["places"].update_one(
            {**_ALL, **is_meant}, [{"$set": less}, {"$unset": f"holders.{thread_id}"}]
        )
        return result.modified_count == 1


class MemoryPlaces:
    """The same verbs in memory."""

    _lock: threading.RLock
    _tables: dict[type[Document], dict[ObjectId, Any]]
    _places: dict[ObjectId, Place]

    def get_places(self) -> Places:
        with self._lock:
            by_user = Counter(place.user_id for place in self._places.values())
            return Places(count=len(self._places), by_user=dict(by_user))

    def take_places(
        self, threads: Sequence[Thread], *, limit: int | None = None, user_limit: int | None = None
    ) -> bool:
        with self._lock:
            new = sum(thread.id not in self._places for thread in threads)
            before = self.get_places()
            is_full = limit is not None and before.count + new > limit
            if new and user_limit is not None:
                is_full = is_full or before.by_user.get(threads[0].user_id, 0) + new > user_limit
            if new and is_full:
                return False
            for thread in threads:
                held = self._places.get(thread.id)
                moves = max(thread.moves, held.moves if held else 0)
                self._places[thread.id] = Place(
                    thread_id=thread.id, user_id=thread.user_id, moves=moves, at=self._now()
                )
            return True

    def free_place(self, thread: Thread) -> bool:
        with self._lock:
            held = self._places.get(thread.id)
            return held is not None and held.moves < thread.moves and self._places.pop(thread.id) is held

    def free_orphan(self, place: Place) -> bool:
        with self._lock:
            return self._places.get(place.thread_id) == place and self._places.pop(place.thread_id) == place

    def orphaned_places(self, *, age_s: float, limit: int) -> list[Place]:
        with self._lock:
            before = self._now() - timedelta(seconds=age_s)
            old = [place for place in self._places.values() if place.at < before]
            return [place for place in old if not self._is_in_flight(place.thread_id)][:limit]

    def placeless_threads(self, *, limit: int) -> list[Thread]:
        with self._lock:
            threads: list[Thread] = list(self._tables[Thread].values())
            running = [thread for thread in threads if self._is_in_flight(thread.id)]
            return [t for t in running if t.due_step is not Step.FINISH and t.id not in self._places][:limit]

    def queued_threads(self, *, without_users: Collection[str], limit: int) -> list[Thread]:
        with self._lock:
            threads: list[Thread] = list(self._tables[Thread].values())
            queued = [thread for thread in threads if thread.is_queued and thread.user_id not in without_users]
            return sorted(queued, key=lambda thread: (thread.dispatched_at, thread.id))[:limit]

    def admit_thread(self, thread_id: ObjectId, *, deadlines_s: Mapping[str, float]) -> Thread | None:
        with self._lock:
            known: Thread | None = self._tables[Thread].get(thread_id)
            if known is None or not known.is_queued:
                return None
            now = self._now()
            deadlines = {name: now + timedelta(seconds=seconds) for name, seconds in deadlines_s.items()}
            times = {"dispatched_at": now, "updated_at": now, **deadlines}
            admitted = known.model_copy(update={"is_queued": False, **times})
            self._tables[Thread][thread_id] = admitted
            return admitted

    def _is_in_flight(self, thread_id: ObjectId) -> bool:
        thread: Thread | None = self._tables[Thread].get(thread_id)
        return thread is not None and thread.due_step is not None and not thread.is_queued

    def _now(self) -> datetime:
        raise NotImplementedError


def _make_key(user_id: str) -> str:
    """A user's id as the name of a field: readable, never empty, without dots and dollars."""
    return "@" + quote(user_id, safe="").replace(".", "%2E")


def _read_key(key: str) -> str:
    return unquote(key[1:])
