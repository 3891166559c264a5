"""What to tell who watches or asks: why nothing moves, for how long, and what to run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from orchestratex.cli.snapshot import Snapshot
from orchestratex.steps.health import Health, HealthWatch
from orchestratex.steps.services import Services
from orchestratex.steps.waiting import Waiting, describe_time, find_waiting

IDLE_S: Final = 15.0  # without a word from anybody: workers that start need some seconds
_TOLD_S: Final = 2.0
_RECENT_S: Final = 10.0
_LOOK_S: Final = 1.0
_NO_REASON: Final = "its calls wait for their models; `orchestratex show THREAD_ID` says for what"


class WaitWatch:
    """Knows what threads wait for."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._health = HealthWatch(services, starts_with_us=False)

    def find(self, snapshot: Snapshot) -> Waiting | None:
        """What a thread waits for; None when it has ended or somebody is at it."""
        return find_waiting(snapshot.thread, snapshot.responses, self._health.look, self._services.clock())

    def tell(self, snapshot: Snapshot) -> str:
        """What to say to who watches it; nothing of what takes a moment."""
        now = self._services.clock()
        waiting = find_waiting(snapshot.thread, snapshot.responses, self._look, now)
        if waiting is None or waiting.seconds(now) < (IDLE_S if waiting.is_silent else _TOLD_S):
            return ""
        return waiting.tell(now)

    def explain(self) -> str:
        """What may keep threads of which nothing more is known."""
        return self._look().describe_stop() or _NO_REASON

    def _look(self) -> Health:
        return self._health.recall(max_age_s=_RECENT_S, patience_s=_LOOK_S)


class Idleness:
    """Knows for how long nothing has changed; `explain` says why that may be."""

    def __init__(self, explain: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._explain = explain
        self._clock = clock
        self._mark: Any = None
        self._since = clock()

    def note(self, mark: Any, *, is_worked_on: bool) -> str:
        """What to tell the user; empty as long as something moves."""
        now = self._clock()
        if mark != self._mark or is_worked_on:
            self._mark, self._since = mark, now
        idle_s = now - self._since
        if idle_s < IDLE_S:
            return ""
        return f"nothing has moved for {describe_time(idle_s)}: {self._explain()}"
