"""Callers of a limiter on a clock that only the simulation moves, and what they were granted."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestratex.limits.base import Pacing
from orchestratex.limits.memory import MemoryLimiter

MODEL = "gpt-4"


class Seconds:
    """A clock in seconds that tests move."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Granted:
    """A call that a limiter let go."""

    at: float
    tokens: int
    call_id: str = ""


@dataclass
class Demand:
    """How callers behave."""

    estimate: Callable[[random.Random], int]
    actual: Callable[[random.Random, int], int] = lambda _, estimate: estimate
    latency: Callable[[random.Random], float] = lambda _: 1.0
    lateness: Callable[[random.Random], float] = lambda _: 0.0
    lost: float = 0.0  # share of waiting calls that never come back


@dataclass
class Simulation:
    """Closed loop: each of so many callers sends its next call when the last one is answered."""

    demand: Demand
    callers: int
    rpm: int = 60
    tpm: int = 20_000
    seed: int = 0
    pacing: Pacing = field(default_factory=Pacing)
    granted: list[Granted] = field(default_factory=list)
    booked: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> Simulation:
        """Simulate so many seconds."""
        rng, clock, numbers = random.Random(self.seed), Seconds(), itertools.count()
        limiter = MemoryLimiter(clock, self.pacing)
        start = clock.now
        events: list[tuple[float, int, Callable[[], None]]] = []

        def at(when: float, event: Callable[[], None]) -> None:
            heapq.heappush(events, (when, next(numbers), event))

        def begin() -> None:
            call_id, estimate = f"c{next(numbers)}", self.demand.estimate(rng)
            self.booked.append(call_id)
            ask(call_id, estimate, clock.now)

        def ask(call_id: str, estimate: int, since: float) -> None:
            wait_s = limiter.book(
                MODEL,
                call_id=call_id,
                requests_per_minute=self.rpm,
                tokens_per_minute=self.tpm,
                tokens=estimate,
            )
            if wait_s > 0 and rng.random() < self.demand.lost:
                at(clock.now + wait_s, begin)
            elif wait_s > 0:
                at(clock.now + wait_s + self.demand.lateness(rng), lambda: ask(call_id, estimate, since))
            else:
                self.waits.append(clock.now - since)
                actual = self.demand.actual(rng, estimate)
                self.granted.append(Granted(clock.now, actual, call_id))
                at(clock.now + self.demand.latency(rng), lambda: end(call_id, estimate, actual))

        def end(call_id: str, estimate: int, actual: int) -> None:
            limiter.correct(MODEL, call_id=call_id, estimated=estimate, actual=actual)
            begin()

        for _ in range(self.callers):
            at(start, begin)
        while events and events[0][0] < start + seconds:
            clock.now, _, event = heapq.heappop(events)
            event()
        return self

    def utilisation(self, *, since_s: float = 60) -> float:
        """The share of the limit that is closer, after a start."""
        first, last = self.granted[0].at + since_s, self.granted[-1].at
        counted = [grant for grant in self.granted if grant.at > first]
        minutes = (last - first) / 60
        tokens = sum(grant.tokens for grant in counted)
        return max(len(counted) / self.rpm, tokens / self.tpm) / minutes


def most_in_window(granted: list[Granted], window_s: float) -> tuple[int, int]:
    """The most calls and the most tokens in any window, each of which ends with a call."""
    ordered = sorted(granted, key=lambda grant: grant.at)
    most_calls = most_tokens = tokens = first = 0
    for index, grant in enumerate(ordered):
        tokens += grant.tokens
        while ordered[first].at <= grant.at - window_s:
            tokens -= ordered[first].tokens
            first += 1
        most_calls, most_tokens = max(most_calls, index - first + 1), max(most_tokens, tokens)
    return most_calls, most_tokens
