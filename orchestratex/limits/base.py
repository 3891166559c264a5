"""What the limits promise: requests and tokens per minute and calls at once of a model, shared by whoever calls it.

**The schedule.** Each model has a clock of its own that runs at most as fast as time: it stands still in a pause and
runs slower after a 429. A call books the next slot on that clock; slots are a request's share of the minute apart (GCRA
with a burst of one call), at 97 % of the limit, and no earlier than the tokens of the calls before it allow. A wait is
the time that the clock needs to reach the slot, so a pause moves all slots together and nobody's turn is lost by it. A
call that comes late is granted at once unless others are late too: a gate spreads them at 125 % of the pace, so what
has piled up while Redis or the workers were away does not leave as one burst.

Slots are laid out by what calls really use of their estimates, a share learned from corrections, so that a queue booked
by generous estimates does not leave the limit unused. Too early a slot costs no more than a question: a due call is
held, and the clock with it, until what was granted before it is paid but for ten seconds' worth of tokens.

**The promise.** The schedule only paces; what is promised is checked at each grant against the log of grants. A grant's
charge is its estimate until it is corrected and its actual tokens from then on. At each grant, this call's charge and
the charges of all grants in the 61 s before it are at most `tokens_per_minute`, and these grants at most
`requests_per_minute` (61, not 60: a second for the way to the provider). Therefore

- no window of 60 s ever holds more than `requests_per_minute` grants;
- where estimates are not below the truth, no window of 60 s holds more actual tokens than the limit; where some are,
  the excess is at most what the calls in flight were underestimated by;
- a window's *estimates* may exceed the limit: using what the estimates left over is what correcting is for.

A call estimated above the limit goes when the log holds no tokens, and pays for all of them before the next one goes.
A due call that does not fit stops the clock for all until enough has left the log: nothing smaller overtakes it.

**Seats.** A model that takes so many calls at once has so many seats. A granted call sits in one until it is corrected,
released or forgotten, at the longest for the lease that it was booked with: a caller that dies frees it by doing
nothing. Who finds no seat stands in line, in the order of first asking, before it books anything of the minute. A seat
goes to the first in line who is on time; who comes later than it was told to keeps its place for a minute, but others
may pass meanwhile. Asking again under the id of a call that still sits takes no second seat. Whoever frees a seat is
told whose turn it is, and may call them; nobody has to, for they come back by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SEAT_S = 150.0  # a seat that nobody frees is free again after this: longer than any call


class Wait(float):
    """Seconds until a call should ask again; 0.0: it may go now."""

    is_for_seat: bool  # as many calls as the model takes at once are under way; else its rates bind

    def __new__(cls, seconds: float, *, is_for_seat: bool = False) -> Wait:
        """A number that says what it waits for."""
        wait = super().__new__(cls, seconds)
        wait.is_for_seat = is_for_seat
        return wait


CallIds = tuple[str, ...]


class Limiter(Protocol):
    """Shared limits by model. Every verb raises LimiterUnavailableError; the caller then sends nothing."""

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
        """Ask to send a call of about `tokens` tokens: 0.0 to send it now, else the seconds until it should ask again.

        `seats` is how many calls the model takes at once (None: no limit), `seat_s` the most that this call may take.

        A wait is a booking under `call_id`: come back with the same id when it is over. Earlier, the rest of the wait
        is returned; more than a minute late, the slot is lost and the next one booked. A grant ends the booking: asking
        again under the same id is a new call.
        """

    def correct(self, model: str, *, call_id: str, estimated: int, actual: int) -> CallIds:
        """Charge the last grant of `call_id` with its actual tokens, once; 0 if it was never sent. Frees its seat.

        Returns the waiting calls whose turn it is to sit, the first in line first.
        """

    def release(self, model: str, *, call_id: str) -> CallIds:
        """Free the seat of a call that is over, and leave its charge as it is. Returns whose turn it is."""

    def forget(self, model: str, *, call_id: str) -> CallIds:
        """Give up a booking that nobody will come back for, and its place in line; those behind it make room.

        Returns whose turn it is.
        """

    def ping(self) -> None:
        """Ask whether there is anybody to ask, who also takes what is written."""

    def pause(self, model: str, *, seconds: float) -> None:
        """After a 429: grant nothing for so long (a shorter pause never shortens a longer one) and go on slower.

        The pace falls to 70 % once an incident, and recovers by 5 points a minute.
        """


@dataclass(frozen=True)
class Pacing:
    """How slots are laid out. Everything is relative to the minute, so tests can use a shorter one."""

    minute_s: float = 60.0
    pace: float = 0.97  # of the provider's limit
    margin: float = 1 / 60  # of a minute: how much later than its grant a call may reach the provider
    credit: float = 1 / 6  # of a minute: tokens saved while requests were what was short
    gate: float = 0.8  # of the distance of two requests: how close late calls follow each other
    burst: float = 1 / 240  # of a minute: late calls within it are not worth spreading
    patience: float = 1 / 30  # of a minute: a due call that did not fit may come this late before others pass it
    recheck: float = 1 / 60  # of a minute: a due call that does not fit asks again no sooner, a correction may help
    grace: float = 1.0  # of a minute: a slot that nobody came back for is lost
    slower: float = 0.7  # pace after a 429
    slowest: float = 0.1
    recovery: float = 0.05  # of the full pace, per minute
    incident: float = 1 / 6  # of a minute: 429s within it are one incident
    prior: float = 0.25  # share of an estimate that a call really uses, until learned: early costs a question only
    learning: float = 0.1  # weight of the newest call in what is learned
    taken: float = 1 / 20  # of a minute: how long a call sits, until learned
    early: float = 1 / 8  # of that time: the first in line ask so often, for nobody may have called them
    seat_least: float = 1 / 120  # of a minute: who waits for a seat asks no sooner
    seat_most: float = 1 / 6  # of a minute: and no later, whatever stands before it

    @property
    def window_s(self) -> float:
        """How long a grant counts."""
        return self.minute_s * (1 + self.margin)


class NoLimiter:
    """Limits that never bind."""

    def book(
        self,
        model: str,  # noqa: ARG002
        *,
        call_id: str,  # noqa: ARG002
        requests_per_minute: int,  # noqa: ARG002
        tokens_per_minute: int,  # noqa: ARG002
        tokens: int,  # noqa: ARG002
        seats: int | None = None,  # noqa: ARG002
        seat_s: float = SEAT_S,  # noqa: ARG002
    ) -> Wait:
        """See Limiter."""
        return Wait(0.0)

    def correct(self, model: str, *, call_id: str, estimated: int, actual: int) -> CallIds:  # noqa: ARG002
        """See Limiter."""
        return ()

    def release(self, model: str, *, call_id: str) -> CallIds:  # noqa: ARG002
        """See Limiter."""
        return ()

    def forget(self, model: str, *, call_id: str) -> CallIds:  # noqa: ARG002
        """See Limiter."""
        return ()

    def ping(self) -> None:
        """See Limiter."""

    def pause(self, model: str, *, seconds: float) -> None:
        """See Limiter."""
