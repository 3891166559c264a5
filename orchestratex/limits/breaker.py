"""The circuit breaker of each model: it stops calls to a model that keeps failing, and tries it again by one call.

A failure is trouble of the provider's: 5xx, timeout, no or a broken connection. A 429 is the limiter's matter, and any
other answer, a refusal or nonsense too, shows that the model answers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from orchestratex.limits.shared import Client, Script

_KEYS = ("state", "answered", "failed")


class BreakerState(StrEnum):
    """What a breaker lets through: all calls, none, or one trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class Verdict:
    """What a breaker says to a call."""

    state: BreakerState
    wait_s: float = 0.0  # 0: send it now

    @property
    def is_allowed(self) -> bool:
        """Whether the call may be sent now."""
        return self.wait_s == 0

    @property
    def is_trial(self) -> bool:
        """Whether it is the one call that decides; say so when recording it."""
        return self.is_allowed and self.state is BreakerState.HALF_OPEN


@dataclass(frozen=True)
class BreakerPolicy:
    """When a breaker opens, and for how long."""

    failures: int = 5  # in a row
    failure_rate: float = 0.5  # or this share
    calls: int = 10  # of at least so many
    window_s: float = 60.0  # within this time
    open_s: float = 30.0  # at first; doubles with each trial that fails
    open_max_s: float = 300.0
    trial_s: float = 150.0  # a trial that nobody has recorded by then is dead: longer than any call
    trial_poll_s: float = 5.0  # while a trial is on its way, ask again after this


class Breaker(Protocol):
    """Shared breakers by model. Every verb raises LimiterUnavailableError; the caller then sends nothing."""

    def allow(self, model: str) -> Verdict:
        """Ask right before sending. A trial must be recorded or given back."""

    def record(self, model: str, *, ok: bool, trial: bool = False) -> BreakerState | None:
        """Tell how a call went; the new state where that changed it. Late news from before it opened is ignored."""

    def give_back(self, model: str) -> None:
        """The trial was not sent after all: the next call may be it."""

    def snapshot(self, models: Iterable[str]) -> dict[str, BreakerState]:
        """All states now."""


class RedisBreaker:
    """Breakers that all workers share, judged by Redis' clock."""

    def __init__(self, client: Client, *, prefix: str, policy: BreakerPolicy | None = None) -> None:
        path = Path(__file__).with_name("breaker.lua")
        constants = policy or BreakerPolicy()
        self._script = Script(client, path, prefix=f"{prefix}breaker:", keys=_KEYS, constants=constants)

    def allow(self, model: str) -> Verdict:
        """See Breaker."""
        state, wait_s = self._script.run(model, "allow").split()
        return Verdict(BreakerState(state), float(wait_s))

    def record(self, model: str, *, ok: bool, trial: bool = False) -> BreakerState | None:
        """See Breaker."""
        changed = self._script.run(model, "record", int(ok), int(trial))
        return BreakerState(changed) if changed else None

    def give_back(self, model: str) -> None:
        """See Breaker."""
        self._script.run(model, "give_back")

    def snapshot(self, models: Iterable[str]) -> dict[str, BreakerState]:
        """See Breaker."""
        return {model: BreakerState(self._script.run(model, "state")) for model in models}


class MemoryBreaker:
    """The twin in memory, judged by the clock (seconds) that it is given."""

    def __init__(self, clock: Callable[[], float], policy: BreakerPolicy | None = None) -> None:
        self._clock = clock
        self._policy = policy or BreakerPolicy()
        self._circuits: dict[str, _Circuit] = {}
        self._lock = threading.Lock()

    def allow(self, model: str) -> Verdict:
        """See Breaker."""
        with self._lock:
            return self._circuit(model).allow(self._clock())

    def record(self, model: str, *, ok: bool, trial: bool = False) -> BreakerState | None:
        """See Breaker."""
        with self._lock:
            return self._circuit(model).record(self._clock(), ok=ok, trial=trial)

    def give_back(self, model: str) -> None:
        """See Breaker."""
        with self._lock:
            self._circuit(model).trial_until = 0.0

    def snapshot(self, models: Iterable[str]) -> dict[str, BreakerState]:
        """See Breaker."""
        with self._lock:
            return {model: self._circuit(model).state(self._clock()) for model in models}

    def _circuit(self, model: str) -> _Circuit:
        return self._circuits.setdefault(model, _Circuit(self._policy))


@dataclass
class _Circuit:
    """One model's breaker."""

    policy: BreakerPolicy
    open_until: float | None = None
    open_s: float = 0.0
    trial_until: float = 0.0
    streak: int = 0
    calls: deque[tuple[float, bool]] = field(default_factory=deque)

    def state(self, now: float) -> BreakerState:
        if self.open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.open_until else BreakerState.HALF_OPEN

    def allow(self, now: float) -> Verdict:
        state = self.state(now)
        if self.open_until is None:
            return Verdict(state)
        if state is BreakerState.OPEN:
            return Verdict(state, self.open_until - now)
        if now < self.trial_until:
            return Verdict(state, min(self.policy.trial_poll_s, self.trial_until - now))
        self.trial_until = now + self.policy.trial_s
        return Verdict(state)

    def record(self, now: float, *, ok: bool, trial: bool) -> BreakerState | None:
        if self.open_until is not None:
            return self._judge_trial(now, ok=ok) if trial else None
        self.calls.append((now, ok))
        while self.calls[0][0] <= now - self.policy.window_s:
            self.calls.popleft()
        self.streak = 0 if ok else self.streak + 1
        return None if ok or not self._is_failing() else self._open(now, self.policy.open_s)

    def _judge_trial(self, now: float, *, ok: bool) -> BreakerState:
        if not ok:
            return self._open(now, min(self.policy.open_max_s, 2 * self.open_s))
        self.open_until = None
        return BreakerState.CLOSED

    def _open(self, now: float, open_s: float) -> BreakerState:
        self.open_until, self.open_s, self.trial_until, self.streak = now + open_s, open_s, 0.0, 0
        self.calls.clear()
        return BreakerState.OPEN

    def _is_failing(self) -> bool:
        failed = sum(not ok for _, ok in self.calls)
        is_often = len(self.calls) >= self.policy.calls and failed >= self.policy.failure_rate * len(self.calls)
        return is_often or self.streak >= self.policy.failures
