"""The record of every call that reached the sandbox: what came of it, and whether it was charged.

Kept in memory and never trimmed: it is what a benchmark or a fault test compares with the engine's own ledger.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

OPEN: Final = "open"
OK: Final = "ok"


@dataclass(slots=True)
class Entry:
    """One call."""

    number: int
    idempotency_key: str
    response_id: str  # the key without its attempt
    model: str  # schema name, an empty string where it is not known
    task: str
    prompt_sha: str
    started: float  # monotonic seconds
    started_wall: float  # seconds since the epoch
    ended: float | None = None
    outcome: str = OPEN  # ok, the fault that hit it, or the error code
    status: int | None = None  # HTTP status, None where none was sent
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0  # billionths of a US dollar
    is_charged: bool = False


class Ledger:
    """Every call since the start or the last clearing."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all calls; those under way end in nobody's ledger."""
        self.entries: list[Entry] = []
        self._under_way: set[int] = set()
        self.max_concurrency = 0

    def open(self, *, key: str, model: str = "", task: str = "", prompt_sha: str = "") -> Entry:
        """Begin the record of a call."""
        response_id, dot, _ = key.rpartition(".")
        entry = Entry(
            number=len(self.entries),
            idempotency_key=key,
            response_id=response_id if dot else key,
            model=model,
            task=task,
            prompt_sha=prompt_sha,
            started=time.monotonic(),
            started_wall=time.time(),
        )
        self.entries.append(entry)
        self._under_way.add(id(entry))
        self.max_concurrency = max(self.max_concurrency, len(self._under_way))
        return entry

    def charge(self, entry: Entry, *, input_tokens: int, output_tokens: int, cost_nanos: int) -> None:
        """Write down that a completion was produced."""
        entry.input_tokens, entry.output_tokens, entry.cost_nanos = input_tokens, output_tokens, cost_nanos
        entry.is_charged = True

    def close(self, entry: Entry, *, outcome: str, status: int | None) -> None:
        """End the record of a call."""
        entry.outcome, entry.status, entry.ended = outcome, status, time.monotonic()
        self._under_way.discard(id(entry))

    def dump(self) -> list[dict[str, Any]]:
        """Return every call as plain data, oldest first."""
        return [asdict(entry) for entry in self.entries]

    def summarise(self) -> dict[str, Any]:
        """Return counts and sums. A repeated key or response is one that was charged more than once."""
        charged = [entry for entry in self.entries if entry.is_charged]
        return {
            "calls": len(self.entries),
            "charged": len(charged),
            "cost_nanos": sum(entry.cost_nanos for entry in charged),
            "input_tokens": sum(entry.input_tokens for entry in charged),
            "output_tokens": sum(entry.output_tokens for entry in charged),
            "by_outcome": dict(Counter(entry.outcome for entry in self.entries)),
            "by_model": dict(Counter(entry.model for entry in self.entries)),
            "by_task": dict(Counter(entry.task for entry in self.entries)),
            "repeated_keys": _count_repeated(entry.idempotency_key for entry in charged),
            "repeated_responses": _count_repeated(entry.response_id for entry in charged),
            "max_concurrency": self.max_concurrency,
            "under_way": len(self._under_way),
        }


def _count_repeated(names: Iterable[str]) -> int:
    """Count the names that occur more than once; calls without a key are nobody's repetition."""
    return sum(count > 1 for name, count in Counter(names).items() if name)
