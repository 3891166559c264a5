"""Why a thread does not move at this moment, since when, and who would have to do something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from orchestratex.domain.base import CALL_STEPS, Leased, Purpose, Step
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.steps.health import CALLING, COMPUTING, Health

IN_LINE: Final = "it stands in line: as many threads are in flight as may be"
_QUIET_S: Final = 5.0  # a message is under way, or a free worker about to take it, for less
_COMING: Final = timedelta(seconds=15)  # after its time a call is announced by who let it wait, else by reconcile
_LISTED: Final = 3


@dataclass(frozen=True)
class Waiting:
    """What a thread waits for."""

    why: str
    since: datetime
    is_silent: bool = False  # nobody said so: it is concluded from nothing happening

    def seconds(self, now: datetime) -> float:
        """For how long."""
        return max(0.0, (now - self.since).total_seconds())

    def tell(self, now: datetime) -> str:
        """Both, for people."""
        return f"for {describe_time(self.seconds(now))}: {self.why}"


def find_waiting(
    thread: Thread, calls: Sequence[Response], look: Callable[[], Health], now: datetime
) -> Waiting | None:
    """What a thread waits for; None when it has ended, or a worker is at it. Of its calls the pending ones are enough.

    `look` is asked only where nothing is known of the thread itself.
    """
    if thread.is_ended:
        return None
    if thread.is_queued:
        return Waiting(IN_LINE, thread.created_at)
    pending = [each for each in calls if each.is_pending and each.purpose is not Purpose.ASSESSMENT]
    if any(_is_held(each, now) for each in (thread, *pending)):
        return None
    told = [found for each in pending if (found := _explain_call(each, now)) is not None]
    if told:
        reasons = dict.fromkeys(each.why for each in told)
        return Waiting("; ".join(list(reasons)[:_LISTED]), min(each.since for each in told))
    since = max([thread.updated_at, *(each.timestamp for each in pending)])
    if (now - since).total_seconds() < _QUIET_S:
        return None
    is_call = thread.due_step in CALL_STEPS or thread.due_step is Step.EVALUATE
    problem = look().first_of(*(CALLING if is_call else COMPUTING))
    why = f"nothing works on it: {problem}" if problem else "it waits for a free worker"
    return Waiting(why, since, is_silent=True)


def describe_time(seconds: float) -> str:
    """A time that grows, in steps that are worth a new line."""
    if seconds < 60:
        return f"{seconds // 5 * 5:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _is_held(work: Leased, now: datetime) -> bool:
    return work.lease_token is not None and (work.lease_until is None or work.lease_until > now)


def _explain_call(call: Response, now: datetime) -> Waiting | None:
    """What one call waits for, as whoever let it wait has said."""
    if call.seat_wanted_at is not None:
        taken = call.waits_for or f"{call.model_name} takes no more calls at once"
        return Waiting(f"{call.model_name}'s call waits its turn: {taken}", call.seat_wanted_at)
    if call.not_before is None or call.not_before + _COMING < now:
        return None
    if call.waits_for is not None:
        return Waiting(f"{call.model_name}'s call waits: {call.waits_for}", call.timestamp)
    if call.retried_for is not None:
        return Waiting(f"{call.retried_for}; it is asked again", call.refused_since or call.timestamp)
    return None
