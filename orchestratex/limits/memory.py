"""The limiter's twin in memory: the same schedule as `limiter.lua`, for one process and tests."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestratex.limits.base import SEAT_S, CallIds, Pacing, Wait
from orchestratex.limits.line import Line

_EPSILON_S = 1e-5
_TICK_S = 0.001


class MemoryLimiter:
    """Limits of one process, judged by the clock (seconds) that it is given."""

    def __init__(self, clock: Callable[[], float], pacing: Pacing | None = None) -> None:
        self._clock = clock
        self._pacing = pacing or Pacing()
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()

    def book(
        self,
        model: str,
        *,
        call_id: str,
        requests_per_minute: int,
        tokens_per_minute: int,
        tokens: int,
        seats: int | None = None,
        seat_s: float = SEAT_S,
    ) -> Wait:
        """See Limiter."""
        with self._lock:
            lane = self._lane(model)
            lane.set_limits(requests_per_minute, tokens_per_minute)
            lane.line.seats, lane.line.seat_s = seats or 0, seat_s
            return lane.book_seat(call_id, max(0, tokens)) if seats else Wait(lane.book(call_id, max(0, tokens)))

    def correct(self, model: str, *, call_id: str, estimated: int, actual: int) -> CallIds:
        """See Limiter."""
        with self._lock:
            lane = self._lane(model)
            lane.correct(call_id, estimated, actual)
            lane.line.rise(call_id, lane.now, is_done=actual > 0)
            return lane.line.next(lane.now)

    def release(self, model: str, *, call_id: str) -> CallIds:
        """See Limiter."""
        with self._lock:
            lane = self._lane(model)
            lane.line.rise(call_id, lane.now, is_done=True)
            return lane.line.next(lane.now)

    def forget(self, model: str, *, call_id: str) -> CallIds:
        """See Limiter."""
        with self._lock:
            lane = self._lane(model)
            lane.drop(call_id)
            lane.line.leave(call_id)
            lane.line.rise(call_id, lane.now, is_done=False)
            return lane.line.next(lane.now)

    def ping(self) -> None:
        """See Limiter."""

    def pause(self, model: str, *, seconds: float) -> None:
        """See Limiter."""
        with self._lock:
            self._lane(model).pause(seconds)

    def _lane(self, model: str) -> _Lane:
        now = self._clock()
        if model not in self._lanes:
            self._lanes[model] = _Lane(self._pacing, now)
        self._lanes[model].advance(now)
        return self._lanes[model]


@dataclass
class _Booking:
    slot: float  # on the lane's clock
    tokens: int
    is_called: bool = False  # it has been through the gate


@dataclass
class _Grant:
    at: float
    tokens: int
    paced: float  # tokens that the schedule expects of it


@dataclass
class _Lane:
    """One model's clock, bookings and log of grants."""

    pacing: Pacing
    now: float
    clock: float = field(init=False)
    speed: float = 1.0
    pause_until: float = 0.0
    slowed_until: float = 0.0
    hold_until: float = 0.0  # a due call that does not fit stops the clock
    holder: str = ""
    requests_at: float = field(init=False)  # the next request's slot
    debt_s: float = field(init=False)  # the time that what was granted has yet to pay for
    tokens_at: float = field(init=False)  # when all booked tokens are likely to be paid, on the lane's clock
    gate_at: float = field(init=False)
    granted: float = -math.inf  # the latest slot granted
    ratio: float = field(init=False)  # learned: actual tokens per estimated one
    rpm: int = 1
    tpm: int = 1
    bookings: dict[str, _Booking] = field(default_factory=dict)
    log: deque[_Grant] = field(default_factory=deque)
    uncorrected: dict[str, _Grant] = field(default_factory=dict)
    charged: int = 0
    line: Line = field(init=False)  # before its seats, where calls at once are limited

    def __post_init__(self) -> None:
        self.line = Line(self.pacing)
        self.clock = self.requests_at = self.gate_at = self.now
        self.debt_s = self._credit_s  # nothing is known: no credit
        self.tokens_at = self.now + self.debt_s
        self.ratio = self.pacing.prior

    @property
    def request_s(self) -> float:
        return self.pacing.minute_s / (self.pacing.pace * self.rpm)

    @property
    def token_s(self) -> float:
        return self.pacing.minute_s / (self.pacing.pace * self.tpm)

    def set_limits(self, requests_per_minute: int, tokens_per_minute: int) -> None:
        self.rpm, self.tpm = requests_per_minute, tokens_per_minute

    def advance(self, now: float) -> None:
        """Let the clock run, empty the log of what no longer counts, drop bookings that nobody came back for."""
        now = max(now, self.now)
        self.debt_s = max(0.0, self.debt_s - self.speed * max(0.0, now - max(self.now, self.pause_until)))
        run = now - max(self.now, self.hold_until, self.pause_until)
        self.now = now
        if run > 0:
            self.clock += self._reach(run)
            self.speed = min(1.0, self.speed + self._recovery * run)
        while self.log and self.log[0].at <= now - self.pacing.window_s:
            self.charged -= self.log.popleft().tokens
        lost = self.clock - self.pacing.grace * self.pacing.minute_s
        for call_id in [each for each, booking in self.bookings.items() if booking.slot < lost]:
            self.drop(call_id)
        self.line.advance(now)

    def book_seat(self, call_id: str, tokens: int) -> Wait:
        """First a seat, then the minute's rates."""
        wait_s = self.line.stand(call_id, self.now)
        if wait_s > 0:
            return Wait(wait_s, is_for_seat=True)
        wait_s = self.book(call_id, tokens)
        if wait_s == 0:
            self.line.sit(call_id, self.now)
        elif call_id in self.line.waiting:
            self.line.expect(call_id, wait_s, self.now)
        return Wait(wait_s)

    def book(self, call_id: str, tokens: int) -> float:
        booking = self.bookings.get(call_id) or self._append(call_id, tokens)
        if booking.slot > self.clock + _EPSILON_S:
            return self._wait(booking.slot)
        return self._behind_others(call_id) or self._at_gate(booking) or self._against_log(call_id, booking)

    def correct(self, call_id: str, estimated: int, actual: int) -> None:
        if estimated > 0 and actual > 0:
            self.ratio += self.pacing.learning * (min(2.0, actual / estimated) - self.ratio)
        grant = self.uncorrected.pop(call_id, None)
        if grant is None or grant.at <= self.now - self.pacing.window_s:
            return
        self.charged += actual - grant.tokens
        self.debt_s = max(0.0, self.debt_s + (actual - grant.paced) * self.token_s)
        grant.tokens = actual

    def pause(self, seconds: float) -> None:
        self.pause_until = max(self.pause_until, self.now + seconds)
        if self.now >= self.slowed_until:
            self.speed = max(self.pacing.slowest, self.speed * self.pacing.slower)
            self.slowed_until = self.now + max(seconds, self.pacing.incident * self.pacing.minute_s)

    def drop(self, call_id: str) -> None:
        booking = self.bookings.pop(call_id, None)
        if booking is None:
            return
        if self.holder == call_id:
            self.holder, self.hold_until = "", 0.0
        last = max([self.granted, *(each.slot for each in self.bookings.values())])
        paid_at = self.tokens_at - booking.tokens * self.ratio * self.token_s
        self.requests_at = min(self.requests_at, max(self.clock, last + self.request_s))
        self.tokens_at = max(self.clock, min(paid_at, last + self._credit_s))

    def _append(self, call_id: str, tokens: int) -> _Booking:
        """Book the next slot."""
        if not self.bookings:  # nothing is guessed: what was granted is known better
            self.tokens_at = min(self.tokens_at, self.clock + self.debt_s)
        slot = max(self.clock, self.requests_at, self.tokens_at - self._credit_s)
        booking = _Booking(slot, tokens)
        self.requests_at = slot + self.request_s
        self.tokens_at = max(self.tokens_at, slot) + tokens * self.ratio * self.token_s
        self.bookings[call_id] = booking
        return booking

    def _behind_others(self, call_id: str) -> float:
        """A pause, or a due call that did not fit and goes first."""
        if self.now < self.pause_until:
            return max(_TICK_S, self.pause_until - self.now)
        patience_s = self.pacing.patience * self.pacing.minute_s
        if self.holder not in ("", call_id) and self.now < self.hold_until + patience_s:
            return max(0.0, self.hold_until - self.now) + max(_TICK_S, self.pacing.gate * self.request_s)
        return 0.0

    def _at_gate(self, booking: _Booking) -> float:
        """Spread calls that are late together."""
        if booking.is_called:
            return 0.0
        step_s = self.pacing.gate * self.request_s
        passes_at = self.gate_at - max(0.0, self.pacing.burst * self.pacing.minute_s - step_s)
        self.gate_at = max(self.gate_at, self.clock) + step_s
        booking.is_called = True
        if self.clock + _EPSILON_S >= passes_at:
            return 0.0
        booking.slot = passes_at
        return self._wait(passes_at)

    def _against_log(self, call_id: str, booking: _Booking) -> float:
        """Grant the call if both limits allow it now, else let it go first when they do."""
        owed_s = (self.debt_s - self._credit_s) / self.speed
        short_s = max(owed_s, self._fits_at(min(booking.tokens, self.tpm)) - self.now)
        if short_s > _EPSILON_S:
            wait_s = min(short_s, max(self.pacing.recheck * self.pacing.minute_s, short_s / 2))
            self.holder, self.hold_until = call_id, self.now + wait_s
            return max(_TICK_S, wait_s)
        if self.holder == call_id or self.now >= self.hold_until:
            self.holder, self.hold_until = "", 0.0
        del self.bookings[call_id]
        self.granted = max(self.granted, booking.slot)
        grant = _Grant(self.now, booking.tokens, booking.tokens * self.ratio)
        self.log.append(grant)
        self.uncorrected[call_id] = grant
        self.charged += booking.tokens
        self.debt_s += grant.paced * self.token_s
        return 0.0

    def _fits_at(self, tokens: int) -> float:
        """When the log has room for one more call."""
        count, charged = len(self.log), self.charged
        fits_at = self.now
        for grant in self.log:
            if count < self.rpm and charged + tokens <= self.tpm:
                break
            count, charged = count - 1, charged - grant.tokens
            fits_at = grant.at + self.pacing.window_s + _TICK_S
        return fits_at

    @property
    def _credit_s(self) -> float:
        return self.pacing.credit * self.pacing.minute_s

    @property
    def _recovery(self) -> float:
        return self.pacing.recovery / self.pacing.minute_s

    def _reach(self, seconds: float) -> float:
        """How far the clock gets in so many seconds, recovering on the way."""
        slow_s = min(seconds, (1 - self.speed) / self._recovery)
        return slow_s * (self.speed + self._recovery * slow_s / 2) + (seconds - slow_s)

    def _wait(self, slot: float) -> float:
        """How long the clock takes to reach a slot: the inverse of `_reach`, after any stop."""
        way = max(0.0, slot - self.clock)
        slow_s = (1 - self.speed) / self._recovery
        slow_way = slow_s * (1 + self.speed) / 2
        if way > slow_way:
            running_s = slow_s + way - slow_way
        else:
            running_s = (math.sqrt(self.speed**2 + 2 * self._recovery * way) - self.speed) / self._recovery
        stopped_s = max(0.0, max(self.hold_until, self.pause_until) - self.now)
        return max(_TICK_S, stopped_s + running_s)
