"""Who does what is done once: turns, short leases and alarms in `system_samples`, judged by the store's clock."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

_Mongo = dict[str, Any]
_NOW: Final = "$$NOW"
_EARLY: Final = 0.1  # share of a period by which a turn may come early: a beat's ticks jitter, and none shall be lost


class MongoTurns:
    """The verbs of Store about turns, leases and alarms."""

    database: Database[_Mongo]

    def take_turn(self, name: str, *, every_s: float) -> bool:
        """See Store. `next_at` goes on by whole periods, so that the mean rate is exact whoever takes the turns."""
        every_ms = round(every_s * 1000)
        is_due = {"$gte": [_NOW, {"$subtract": ["$next_at", round(every_ms * _EARLY)]}]}
        is_late = {"$gte": [_NOW, {"$add": ["$next_at", every_ms]}]}  # also where there is no `next_at` yet
        after = {"$add": [{"$cond": [is_late, _NOW, "$next_at"]}, every_ms]}
        taken = {"next_at": after, "at": _NOW, "turns": {"$add": [{"$ifNull": ["$turns", 0]}, 1]}}
        return self._change_sample(f"turn/{name}", {"$expr": is_due}, taken)

    def take_lease(self, name: str, *, lease_s: float) -> str | None:
        token = secrets.token_hex(8)
        is_free = {"$lte": ["$until", _NOW]}  # missing is before every date
        taken = {"token": token, "until": {"$add": [_NOW, round(lease_s * 1000)]}}
        return token if self._change_sample(f"lease/{name}", {"$expr": is_free}, taken) else None

    def end_lease(self, name: str, token: str) -> None:
        ended = {"token": None, "until": _NOW}
        self.database["system_samples"].update_one({"_id": f"lease/{name}", "token": token}, [{"$set": ended}])

    def set_alarm(self, name: str, is_on: bool) -> bool:
        if is_on:
            return self._change_sample(f"alarm/{name}", {"is_on": {"$ne": True}}, {"is_on": True, "at": _NOW})
        ended = {"is_on": False, "at": _NOW}
        result = self.database["system_samples"].update_one({"_id": f"alarm/{name}", "is_on": True}, [{"$set": ended}])
        return result.modified_count == 1

    def sample_ages(self, names: Collection[str]) -> dict[str, float]:
        age = {"$divide": [{"$subtract": [_NOW, "$at"]}, 1000]}
        rows = self.database["system_samples"].aggregate(
            [{"$match": {"_id": {"$in": list(names)}, "at": {"$type": "date"}}}, {"$project": {"age": age}}]
        )
        return {row["_id"]: row["age"] for row in rows}

    def _change_sample(self, sample_id: str, condition: _Mongo, fields: _Mongo) -> bool:
        """Change a sample where the condition holds. An upsert may not have `$expr`: the sample is opened before."""
        samples = self.database["system_samples"]
        if samples.find_one({"_id": sample_id}, {"_id": 1}) is None:
            with contextlib.suppress(DuplicateKeyError):  # somebody else opened it
                samples.update_one({"_id": sample_id}, {"$setOnInsert": {}}, upsert=True)
        return samples.update_one({"_id": sample_id, **condition}, [{"$set": fields}]).modified_count == 1


class MemoryTurns:
    """The same verbs in memory."""

    _lock: threading.RLock
    _samples: dict[str, tuple[int, datetime]]
    _turns: dict[str, datetime]
    _leases: dict[str, tuple[str, datetime]]
    _alarms: set[str]

    def take_turn(self, name: str, *, every_s: float) -> bool:
        with self._lock:
            now, every = self._now(), timedelta(seconds=every_s)
            due = self._turns.get(name, now - every)
            if now < due - every * _EARLY:
                return False
            self._turns[name] = (now if now >= due + every else due) + every
            return True

    def take_lease(self, name: str, *, lease_s: float) -> str | None:
        with self._lock:
            _, until = self._leases.get(name, ("", self._now()))
            if until > self._now():
                return None
            token = secrets.token_hex(8)
            self._leases[name] = (token, self._now() + timedelta(seconds=lease_s))
            return token

    def end_lease(self, name: str, token: str) -> None:
        with self._lock:
            if self._leases.get(name, ("", None))[0] == token:
                del self._leases[name]

    def set_alarm(self, name: str, is_on: bool) -> bool:
        with self._lock:
            was_on = name in self._alarms
            self._alarms = self._alarms | {name} if is_on else self._alarms - {name}
            return was_on is not is_on

    def sample_ages(self, names: Collection[str]) -> dict[str, float]:
        with self._lock:
            now = self._now()
            return {name: (now - at).total_seconds() for name, (_, at) in self._samples.items() if name in names}

    def _now(self) -> datetime:
        raise NotImplementedError
