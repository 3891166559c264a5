"""The seats of one model and the line before them, in memory: the twin of what `limiter.lua` does about them."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestratex.limits.base import CallIds, Pacing


@dataclass
class Line:
    """Who sits, who waits, and whose turn it is. Times are seconds of the lane's `now`."""

    pacing: Pacing
    seats: int = 0  # 0: no limit
    seat_s: float = 0.0
    seated: dict[str, float] = field(default_factory=dict)  # call -> when its seat is free at the latest
    waiting: dict[str, float] = field(default_factory=dict)  # call -> when others may pass it; in order of first asking
    taken_s: float = field(init=False)  # learned: how long a call sits

    def __post_init__(self) -> None:
        self.taken_s = self.pacing.taken * self.pacing.minute_s

    def advance(self, now: float) -> None:
        """Free the seats of dead callers, and forget who never came back."""
        missing = now - self.pacing.grace * self.pacing.minute_s
        self.seated = {call: end for call, end in self.seated.items() if end > now}
        self.waiting = {call: until for call, until in self.waiting.items() if until > missing}

    def stand(self, call_id: str, now: float) -> float:
        """Ask for a seat: 0.0 when it is this call's turn, else when to ask again."""
        if call_id in self.seated:  # its own, of an attempt that died
            return 0.0
        self.expect(call_id, 0.0, now)
        if call_id in self.next(now):
            return 0.0
        turns = list(self.waiting).index(call_id) // self.seats
        wait_s = self.taken_s * (turns + self.pacing.early)
        least_s, most_s = self.pacing.seat_least * self.pacing.minute_s, self.pacing.seat_most * self.pacing.minute_s
        wait_s = max(least_s, min(most_s, wait_s))
        self.expect(call_id, wait_s, now)
        return wait_s

    def expect(self, call_id: str, wait_s: float, now: float) -> None:
        """Keep the call's place: it comes back in so many seconds."""
        self.waiting[call_id] = now + wait_s + self.pacing.patience * self.pacing.minute_s

    def sit(self, call_id: str, now: float) -> None:
        """Give the call its seat."""
        self.waiting.pop(call_id, None)
        self.seated[call_id] = now + self.seat_s

    def rise(self, call_id: str, now: float, *, is_done: bool) -> None:
        """Free the call's seat; `is_done` when how long it took says something about the model."""
        end = self.seated.pop(call_id, None)
        if end is not None and is_done:
            self.taken_s += self.pacing.learning * (max(0.0, now - (end - self.seat_s)) - self.taken_s)

    def leave(self, call_id: str) -> None:
        """Give the call's place in line up."""
        self.waiting.pop(call_id, None)

    def next(self, now: float) -> CallIds:
        """Whose turn it is: as many as seats are free, and who is late before them."""
        found: list[str] = []
        free = self.seats - len(self.seated)
        for call_id, until in self.waiting.items():
            if free <= 0:
                break
            found.append(call_id)
            free -= until >= now
        return tuple(found)
