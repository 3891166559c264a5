"""What happened to threads and responses, and when: read from MongoDB's own log of writes, which nobody can forget.

The documents say how things ended. Whether a call was paid after its answer was saved, and how long a thread stood,
is only known from the order and the times of the writes; the oplog of the replica set has both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from orchestratex.domain.base import ResponseStatus

THREADS = "conversation_threads"
RESPONSES = "model_responses"


@dataclass(frozen=True)
class Write:
    """One write to one document: its top-level fields that changed."""

    at: float  # seconds since the epoch, by mongod's clock
    collection: str
    id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Saved:
    """The moment from which a response must never be paid again."""

    at: float
    attempt: int  # whose completion it is


_ANNOUNCED = {"dispatched_at", "dispatches"}  # reconcile sent a message again: nobody has touched the work by that


@dataclass(frozen=True)
class Stand:
    """A time in which nobody touched what was open: no claim, no heartbeat, no result."""

    subject: str
    started: float
    seconds: float


@dataclass(frozen=True)
class Outage:
    """A time in which nothing could be done: it is not counted as standing."""

    started: float
    ended: float

    def overlap(self, started: float, ended: float) -> float:
        """Seconds that the two have in common."""
        return max(0.0, min(self.ended, ended) - max(self.started, started))


class History:
    """The writes of one run, oldest first."""

    def __init__(self, writes: Iterable[Write], parents: Mapping[str, str]) -> None:
        """`parents` names each response's thread."""
        self._parents = parents
        self._by_response: dict[str, list[Write]] = {}
        self._by_thread: dict[str, list[Write]] = {}
        for write in sorted(writes, key=lambda each: each.at):
            own = self._by_response if write.collection == RESPONSES else self._by_thread
            own.setdefault(write.id, []).append(write)

    def saved(self) -> dict[str, Saved]:
        """When each response's completion was saved, and of which attempt."""
        found: dict[str, Saved] = {}
        for response_id, writes in self._by_response.items():
            attempt = 0
            for write in writes:
                attempt = write.fields.get("attempt", attempt)
                if write.fields.get("completion") is not None:
                    found.setdefault(response_id, Saved(write.at, attempt))
        return found

    def stands(self, outages: Sequence[Outage] = ()) -> list[Stand]:
        """The longest time for which each thread and each open call stood, outages not counted."""
        subjects = [
            *((f"response {key}", _until(writes, _is_closed)) for key, writes in self._by_response.items()),
            *((f"thread {key}", self._of_thread(key)) for key in self._by_thread),
        ]
        longest = [max(_gaps(name, ws, outages), key=lambda s: s.seconds, default=None) for name, ws in subjects]
        return [stand for stand in longest if stand is not None]

    def recovery_s(self, over: float) -> float | None:
        """Seconds from a moment until all that was open then had gone on; None where nothing was open.

        A call has gone on when it is closed, a thread when it has moved.
        """
        moments = [
            *(_next(writes, over, _is_closed) for writes in self._by_response.values()),
            *(_next(writes, over, _is_move) for writes in self._by_thread.values()),
        ]
        return max((moment - over for moment in moments if moment is not None), default=None)

    def _of_thread(self, thread_id: str) -> list[Write]:
        """A thread's writes with those of its responses, until it ended."""
        own = self._by_thread[thread_id]
        calls = [w for key, ws in self._by_response.items() if self._parents.get(key) == thread_id for w in ws]
        ended = next((write.at for write in own if _is_end(write)), float("inf"))
        return sorted((w for w in [*own, *calls] if w.at <= ended), key=lambda each: each.at)


def read_oplog(entries: Iterable[Mapping[str, Any]], database: str) -> Iterator[Write]:
    """The writes to a database's threads and responses in entries of `local.oplog.rs`."""
    names = {f"{database}.{name}": name for name in (THREADS, RESPONSES)}
    for entry in entries:
        if entry["op"] == "c":
            for inner in entry["o"].get("applyOps", ()):
                yield from read_oplog([{**inner, "wall": entry["wall"]}], database)
        elif entry["ns"] in names and entry["op"] in {"i", "u"}:
            document_id = entry["o2"]["_id"] if entry["op"] == "u" else entry["o"]["_id"]
            fields = _fields(entry["o"])
            if not fields or not fields.keys() <= _ANNOUNCED:
                yield Write(_seconds(entry["wall"]), names[entry["ns"]], str(document_id), fields)


def _fields(change: Mapping[str, Any]) -> Mapping[str, Any]:
    if "diff" not in change:
        return change  # an insert, or a whole new document
    diff = change["diff"]
    return {**diff.get("u", {}), **diff.get("i", {}), **dict.fromkeys(diff.get("d", {}))}


def _gaps(name: str, writes: Sequence[Write], outages: Sequence[Outage]) -> Iterator[Stand]:
    """The times between writes; a wait that the document itself asks for is none."""
    resumes = 0.0
    for earlier, later in pairwise(writes):
        wished = earlier.fields.get("not_before")
        resumes = _seconds(wished) if isinstance(wished, datetime) else resumes
        started = min(max(earlier.at, resumes), later.at)
        lost = sum(outage.overlap(started, later.at) for outage in outages)
        yield Stand(name, started, later.at - started - lost)


def _until(writes: Sequence[Write], is_last: Callable[[Write], bool]) -> list[Write]:
    kept: list[Write] = []
    for write in writes:
        kept.append(write)
        if is_last(write):
            break
    return kept


def _next(writes: Sequence[Write], over: float, is_wanted: Callable[[Write], bool]) -> float | None:
    """When the first wanted write after a moment came, of what was begun before it and not yet done."""
    before = [write for write in writes if write.at <= over]
    if not before or any(_is_closed(write) or _is_end(write) for write in before):
        return None
    return next((write.at for write in writes if write.at > over and is_wanted(write)), None)


def _is_closed(write: Write) -> bool:
    return bool(write.fields.get("status", ResponseStatus.PENDING) != ResponseStatus.PENDING)


def _is_move(write: Write) -> bool:
    return "moves" in write.fields


def _is_end(write: Write) -> bool:
    return write.fields.get("thread_status") in {"completed", "failed"}


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
