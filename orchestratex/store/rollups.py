"""What rolling up needs of the store: windows by compare-and-set, running sums beside them, hours that changed late.

An hour is rolled up while it is open and a little longer (see steps/measure.py). Whoever changes what counts in an hour
that has ended marks that hour, before the change: a mark that was cleared too early would be a change that is lost, so
one is kept until no change that it announced can still be on its way. Whether an hour has ended is told by the clock of
who writes: it may be wrong by less than the time for which hours are rolled up beyond their end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from orchestratex.domain.base import Document, Period
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.log import LogEvent
from orchestratex.domain.metrics import Metrics
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.sums import ModelSums, Sums, Tally, model_totals, subtract
from orchestratex.domain.thread import Thread
from orchestratex.store.base import LEFT_OUT, Doc, Mark, ModelStats, RollupState, Written
from orchestratex.store.purging import Remainder

_Mongo = dict[str, Any]
_NOW: Final = "$$NOW"
_HOUR: Final = timedelta(hours=1)
_STATE: Final = {"_id": "state"}
_KEEP: Final = timedelta(minutes=10)  # a change lands that long after its mark at the latest
_FRESH: Final = timedelta(seconds=2)  # a mark so young may stand for changes that are written in this moment
_MARK_AGAIN_S: Final = 1.0  # less than _FRESH: a mark of a second ago stands for this change, too
_ACTIVITY: Final[dict[type[Document], tuple[str, ...]]] = {  # what an hour's documents are found by
    Session: ("session_start", "session_end"),
    Thread: ("completed_at",),
    Response: ("timestamp",),
    LogEvent: ("timestamp",),
}


def start_hour(moment: datetime) -> datetime:
    """The full hour, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class MongoRollups:
    """The verbs of Store about rolling up, over `algorithm_metrics`, `model_totals`, `rollup_hours`, `rollup_state`."""

    client: MongoClient[_Mongo]
    database: Database[_Mongo]
    _noted: dict[datetime, float]  # hours that this process marked, on the monotonic clock

    def rollup_state(self) -> RollupState:
        return RollupState.model_validate(self.database["rollup_state"].find_one(_STATE) or {})

    def settle_rollup(self, *, rolled_from: datetime, settled_until: datetime) -> None:
        reached = {"rolled_from": rolled_from, "settled_until": settled_until}
        self.database["rollup_state"].update_one(_STATE, {"$set": reached}, upsert=True)

    def close_hours(self, until: datetime) -> None:
        self.database["rollup_state"].update_one(_STATE, {"$max": {"closed_until": start_hour(until)}}, upsert=True)

    def next_activity(self, since: datetime) -> datetime | None:
        found = [self._first(kind, field, since) for kind, fields in _ACTIVITY.items() for field in fields]
        purged = self.database["purged_sums"].find_one({"hour": {"$gte": since}}, sort=[("hour", ASCENDING)])
        found.append(purged["hour"] if purged else None)
        return min((moment for moment in found if moment is not None), default=None)

    def ratings_of(self, session_ids: Sequence[ObjectId]) -> dict[ObjectId, float]:
        rated = {"_id": {"$in": list(session_ids)}, "user_satisfaction": {"$ne": None}}
        rows = self.database["user_sessions"].find(rated, {"user_satisfaction": 1})
        return {row["_id"]: row["user_satisfaction"] for row in rows}

    def scan_of(self, document: type[Doc], thread_ids: Sequence[ObjectId]) -> Iterator[Doc]:
        left_out = LEFT_OUT.get(document, {})
        wanted = {"thread_id": {"$in": list(thread_ids)}}
        with self.database[_NAMES[document]].find(wanted, dict.fromkeys(left_out, 0) or None) as rows:
            for row in rows:
                yield document.model_validate({**row, **left_out})

    def get_window(self, period: Period, start: datetime) -> Metrics | None:
        found = self._windows.find_one(_key(period, start))
        return None if found is None else Metrics.model_validate(found)

    def windows_between(self, period: Period, start: datetime, end: datetime) -> list[Metrics]:
        within = {"time_period": period, "metric_date": {"$gte": start, "$lt": end}}
        rows = self._windows.find(within, sort=[("metric_date", ASCENDING)])
        return [Metrics.model_validate(row) for row in rows]

    def put_hour(self, window: Metrics, *, seen: int | None) -> Written:
        """See Store. All hours are written one after another: each transaction changes `rollup_state`."""
        try:
            with self.client.start_session() as session:
                return session.with_transaction(lambda of: self._put_hour(window, seen, of))
        except DuplicateKeyError:
            return Written.LOST

    def put_window(self, window: Metrics, *, seen: int | None) -> Written:
        try:
            return self._put(window, seen, None)
        except DuplicateKeyError:
            return Written.LOST

    def model_stats(self) -> dict[str, ModelStats]:
        rows = self.database["model_totals"].find({})
        return {row["_id"]: make_stats(row) for row in rows}

    def due_marks(self, *, limit: int) -> list[Mark]:
        age = {"$divide": [{"$subtract": [_NOW, "$changed_at"]}, 1000]}
        rows = self.database["rollup_hours"].aggregate(
            [
                {"$match": {"$expr": {"$lte": ["$due_at", _NOW]}}},
                {"$sort": {"due_at": ASCENDING, "_id": ASCENDING}},
                {"$limit": limit},
                {"$project": {"hour": "$_id", "changed_at": 1, "age_s": age}},
            ]
        )
        return [Mark.model_validate(row) for row in rows]

    def clear_mark(self, mark: Mark, *, is_closed: bool = False) -> None:
        hours, same = self.database["rollup_hours"], {"_id": mark.hour, "changed_at": mark.changed_at}
        if is_closed or mark.age_s >= _KEEP.total_seconds():
            hours.delete_one(same)
        elif mark.age_s >= _FRESH.total_seconds():
            hours.update_one(same, {"$set": {"due_at": mark.changed_at + _KEEP}})

    # -- inside

    @property
    def _windows(self) -> Any:
        return self.database["algorithm_metrics"]

    def _first(self, kind: type[Document], field: str, since: datetime) -> datetime | None:
        later = {field: {"$gte": since, "$type": "date"}}
        found = self.database[_NAMES[kind]].find_one(later, {field: 1}, sort=[(field, ASCENDING)])
        return None if found is None else found[field]

    def _put_hour(self, window: Metrics, seen: int | None, session: ClientSession) -> Written:
        self.database["rollup_state"].update_one(_STATE, {"$inc": {"writes": 1}}, upsert=True, session=session)
        earlier = {"time_period": Period.HOURLY, "metric_date": {"$lt": window.metric_date}, "sums": {"$ne": None}}
        before = self._windows.find_one(earlier, sort=[("metric_date", DESCENDING)], session=session)
        known = self._windows.find_one(_key(Period.HOURLY, window.metric_date), session=session)
        old = None if known is None else Metrics.model_validate(known)
        begun = window.follow(Metrics.model_validate(before).open_after if before else 0)
        written = self._put(begun, seen, session)
        if written is not Written.WRITTEN:
            session.abort_transaction()
            return written
        moved = subtract(model_totals(begun.sums or Sums()), model_totals((old and old.sums) or Sums()))
        for name, changes in moved.items():
            self.database["model_totals"].update_one({"_id": name}, {"$inc": changes}, upsert=True, session=session)
        more_open = begun.open_after - (old.open_after if old else begun.open_sessions)
        if more_open:
            self._follow(begun, more_open, session)
        return written

    def _put(self, window: Metrics, seen: int | None, session: ClientSession | None) -> Written:
        found = self._windows.find_one(_key(window.time_period, window.metric_date), session=session)
        if found is None:
            if seen is not None:
                return Written.LOST
            self._windows.insert_one(window.model_dump(by_alias=True) | {"rolls": 1}, session=session)
            return Written.WRITTEN
        old = Metrics.model_validate(found)
        if old.says_as_much_as(window):
            return Written.SAME
        fields = window.model_dump(exclude={"id"}) | {"rolls": old.rolls + 1}
        same = {"_id": found["_id"], "rolls": {"$in": [seen, None]} if seen == 0 else seen}
        result = self._windows.update_one(same, {"$set": fields}, session=session)
        return Written.WRITTEN if result.matched_count else Written.LOST

    def _follow(self, window: Metrics, more_open: int, session: ClientSession) -> None:
        """Let all windows that begin later know how many more sessions were open then."""
        later = {"metric_date": {"$gt": window.metric_date}, "sums": {"$ne": None}}
        begun = {
            "open_sessions": {"$add": ["$open_sessions", more_open]},
            "rolls": {"$add": ["$rolls", 1]},
            "updated_at": window.updated_at,
        }
        peak = {"$max": [0, {"$add": ["$open_sessions", "$sums.peak_rise"]}]}
        changes = [{"$set": begun}, {"$set": {"system_health.peak_concurrent_sessions": peak}}]
        self._windows.update_many(later, changes, session=session)

    def _note_change(self, *moments: datetime | None) -> None:
        """Mark the hours of these moments, those that have ended: the others are rolled up again anyway."""
        now, at = datetime.now(UTC), time.monotonic()
        hours = {start_hour(moment) for moment in moments if moment is not None}
        for hour in sorted(hours):
            if hour + _HOUR > now or at - self._noted.get(hour, float("-inf")) < _MARK_AGAIN_S:
                continue
            mark = {"$set": {"changed_at": _NOW, "due_at": _NOW}}
            self.database["rollup_hours"].update_one({"_id": hour}, [mark], upsert=True)
            self._noted = {**self._noted, hour: at} if len(self._noted) < 1000 else {hour: at}

    def _note_session(self, session_id: ObjectId, *, with_threads: bool = False) -> None:
        found = self.database["user_sessions"].find_one({"_id": session_id}, {"session_end": 1}) or {}
        moments = [found.get("session_end")]
        if with_threads:
            ended = {"session_id": session_id, "completed_at": {"$type": "date"}}
            rows = self.database["conversation_threads"].find(ended, {"completed_at": 1})
            moments += [row["completed_at"] for row in rows]
        self._note_change(*moments)

    def _note_document(self, kind: type[Document], document_id: ObjectId, field: str) -> None:
        found = self.database[_NAMES[kind]].find_one({"_id": document_id}, {field: 1}) or {}
        self._note_change(found.get(field))


class MemoryRollups:
    """The same verbs in memory."""

    _lock: threading.RLock
    _clock: Callable[[], datetime]
    _tables: dict[type[Document], dict[ObjectId, Any]]
    _marks: dict[datetime, tuple[datetime, datetime]]  # hour -> when it was marked, when it is due
    _totals: dict[str, dict[str, int]]
    _rollup_state: RollupState
    _remainders: list[Remainder]

    def rollup_state(self) -> RollupState:
        return self._rollup_state

    def settle_rollup(self, *, rolled_from: datetime, settled_until: datetime) -> None:
        with self._lock:
            reached = {"rolled_from": rolled_from, "settled_until": settled_until}
            self._rollup_state = self._rollup_state.model_copy(update=reached)

    def close_hours(self, until: datetime) -> None:
        with self._lock:
            known, hour = self._rollup_state.closed_until, start_hour(until)
            closed = hour if known is None else max(known, hour)
            self._rollup_state = self._rollup_state.model_copy(update={"closed_until": closed})

    def next_activity(self, since: datetime) -> datetime | None:
        with self._lock:
            moments = [
                getattr(each, field)
                for kind, fields in _ACTIVITY.items()
                for each in self._tables[kind].values()
                for field in fields
            ]
            moments += [each.hour for each in self._remainders]
            return min((moment for moment in moments if moment is not None and moment >= since), default=None)

    def ratings_of(self, session_ids: Sequence[ObjectId]) -> dict[ObjectId, float]:
        with self._lock:
            found = (self._tables[Session].get(each) for each in session_ids)
            return {s.id: s.user_satisfaction for s in found if s is not None and s.user_satisfaction is not None}

    def scan_of(self, document: type[Doc], thread_ids: Sequence[ObjectId]) -> Iterator[Doc]:
        wanted = set(thread_ids)
        with self._lock:
            found = [each for each in self._tables[document].values() if each.thread_id in wanted]
        for each in found:
            yield each.model_copy(update=LEFT_OUT.get(document, {}))

    def get_window(self, period: Period, start: datetime) -> Metrics | None:
        found = self.windows_between(period, start, start + timedelta(milliseconds=1))
        return found[0] if found else None

    def windows_between(self, period: Period, start: datetime, end: datetime) -> list[Metrics]:
        with self._lock:
            windows = [each for each in self._tables[Metrics].values() if each.time_period is period]
        return sorted((w for w in windows if start <= w.metric_date < end), key=lambda each: each.metric_date)

    def put_hour(self, window: Metrics, *, seen: int | None) -> Written:
        with self._lock:
            hours = self.windows_between(Period.HOURLY, datetime.min.replace(tzinfo=UTC), window.metric_date)
            old = self.get_window(Period.HOURLY, window.metric_date)
            before = [hour for hour in hours if hour.sums is not None]
            begun = window.follow(before[-1].open_after if before else 0)
            written = self.put_window(begun, seen=seen)
            if written is not Written.WRITTEN:
                return written
            moved = subtract(model_totals(begun.sums or Sums()), model_totals((old and old.sums) or Sums()))
            for name, changes in moved.items():
                known = self._totals.get(name, {})
                self._totals[name] = {**known, **{path: known.get(path, 0) + by for path, by in changes.items()}}
            self._follow(begun, begun.open_after - (old.open_after if old else begun.open_sessions))
            return written

    def put_window(self, window: Metrics, *, seen: int | None) -> Written:
        with self._lock:
            old = self.get_window(window.time_period, window.metric_date)
            if old is None and seen is not None:
                return Written.LOST
            if old is not None and old.says_as_much_as(window):
                return Written.SAME
            if old is not None and old.rolls != seen:
                return Written.LOST
            identity = {"id": old.id, "rolls": old.rolls + 1} if old else {"rolls": 1}
            kept = window.model_copy(update=identity)
            self._tables[Metrics][kept.id] = kept
            return Written.WRITTEN

    def model_stats(self) -> dict[str, ModelStats]:
        with self._lock:
            return {name: make_stats(_unflatten(totals)) for name, totals in self._totals.items()}

    def due_marks(self, *, limit: int) -> list[Mark]:
        with self._lock:
            now = self._now()
            due = sorted((due_at, hour) for hour, (_, due_at) in self._marks.items() if due_at <= now)
            marked = [(hour, self._marks[hour][0]) for _, hour in due[:limit]]
            return [Mark(hour=h, changed_at=at, age_s=(now - at).total_seconds()) for h, at in marked]

    def clear_mark(self, mark: Mark, *, is_closed: bool = False) -> None:
        with self._lock:
            changed_at, _ = self._marks.get(mark.hour, (None, None))
            if changed_at != mark.changed_at:
                return
            if is_closed or mark.age_s >= _KEEP.total_seconds():
                del self._marks[mark.hour]
            elif mark.age_s >= _FRESH.total_seconds():
                self._marks[mark.hour] = (mark.changed_at, mark.changed_at + _KEEP)

    def _follow(self, window: Metrics, more_open: int) -> None:
        if not more_open:
            return
        for each in list(self._tables[Metrics].values()):
            if each.metric_date > window.metric_date and each.sums is not None:
                later = each.follow(each.open_sessions + more_open)
                marks = {"rolls": each.rolls + 1, "updated_at": window.updated_at}
                self._tables[Metrics][each.id] = later.model_copy(update=marks)

    def _note_change(self, *moments: datetime | None) -> None:
        now = self._now()
        for hour in {start_hour(moment) for moment in moments if moment is not None}:
            if hour + _HOUR <= now:
                self._marks[hour] = (now, now)

    def _note_document(self, new: Document, old: Document | None = None) -> None:
        """Mark what a document counts in, as it is now and as it was."""
        if isinstance(new, Session):
            was = old if isinstance(old, Session) else new
            self._note_change(was.session_end, new.session_end, None if old else new.session_start)
            if was.user_satisfaction != new.user_satisfaction:
                threads = [t for t in self._tables[Thread].values() if t.session_id == new.id]
                self._note_change(*(thread.completed_at for thread in threads))
        elif isinstance(new, Thread):
            self._note_change(new.completed_at, old.completed_at if isinstance(old, Thread) else None)
        elif isinstance(new, Response):
            self._note_change(new.timestamp)

    def _now(self) -> datetime:
        raise NotImplementedError


def make_stats(totals: Mapping[str, Any]) -> ModelStats:
    """What a model's running sums say."""
    sums = ModelSums.model_validate({name: value for name, value in totals.items() if name != "_id"})
    first = {domain: Tally.model_validate(value) for domain, value in totals.get("first_answers", {}).items()}
    latency = sums.latency_s.mean
    return ModelStats(
        average_response_time=None if latency is None else latency * 1000,
        success_rate=sums.returned / sums.attempts if sums.attempts else None,
        average_quality=sums.score.mean,
        requests=sums.attempts,
        tokens=sums.tokens,
        first_answers={domain: tally for domain, tally in first.items() if tally.count},
    )


def _unflatten(totals: Mapping[str, int]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in totals.items():
        *parents, name = path.split(".")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = value
    return nested


def _key(period: Period, start: datetime) -> _Mongo:
    return {"time_period": period, "metric_date": start}


_NAMES: Final[dict[type[Document], str]] = {
    Session: "user_sessions",
    Thread: "conversation_threads",
    Response: "model_responses",
    Selection: "model_selection_history",
    CriticismResponse: "criticism_responses",
    LogEvent: "orchestration_logs",
}
