"""Rolling up: hours from their documents, days from hours, weeks and months from days.

What is due is derived, and nothing is lost where a run dies half-way: an hour counts as rolled up when its day, week
and month are, too, and until then the next run does it again. Twice is once: what would not change is not written.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestratex.domain.base import Period
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.log import LogEvent
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.sums import Sums, add, merge
from orchestratex.domain.thread import Thread
from orchestratex.rules.periods import end_period, start_period
from orchestratex.rules.rollup import Rollup
from orchestratex.rules.windows import make_window
from orchestratex.steps.services import Services
from orchestratex.store.base import Mark, RollupState, Store, Written

HOURS_A_RUN: Final = 100  # missed ones, and as many that changed late: a run's work is bounded
_AT_ONCE: Final = 20  # hours; what they are is noted as done before the next ones
_RUN: Final = timedelta(seconds=60)  # after it a run begins nothing more; tasks are ended after 200 s
_SETTLING: Final = timedelta(minutes=5)  # an hour is rolled up so long after its end: what is written later marks it
_BATCH: Final = 500  # threads whose documents are asked for at once
_HOUR: Final = timedelta(hours=1)
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGER: Final = ((Period.DAILY, Period.HOURLY), (Period.WEEKLY, Period.DAILY), (Period.MONTHLY, Period.DAILY))


@dataclass(frozen=True)
class Rolled:
    """What a run did."""

    hours: list[datetime] = field(default_factory=list)  # rolled up, whether or not they changed
    changed: dict[Period, list[datetime]] = field(default_factory=dict)  # windows that were written
    is_caught_up: bool = True  # False: there is more to do, for the next run
    lost: int = 0  # windows that another program wrote meanwhile: they are rolled up by the next run

    @property
    def written(self) -> int:
        """How many windows were written."""
        return sum(map(len, self.changed.values()))

    def and_then(self, later: Rolled) -> Rolled:
        """What both did, one after the other."""
        hours = sorted({*self.hours, *later.hours})
        periods = [period for period in Period if period in self.changed or period in later.changed]
        changed = {each: sorted({*self.changed.get(each, ()), *later.changed.get(each, ())}) for each in periods}
        return Rolled(hours, changed, later.is_caught_up, later.lost)


@dataclass(frozen=True)
class _Plan:
    """What a run is to do."""

    hours: list[datetime]
    marks: list[Mark]
    first: datetime  # the first hour that anything is known of
    settled_until: datetime  # where all of it is done
    closed_until: datetime
    is_caught_up: bool


def roll_up(services: Services, *, limit: int = HOURS_A_RUN) -> Rolled:
    """Roll up what is due: the open hour, hours that were missed and hours that changed late, `limit` of each.

    A run that takes long leaves the rest to the next. Raises StoreUnavailableError.
    """
    end = services.clock() + _RUN
    run = _roll_some(min(limit, _AT_ONCE), services, with_open=True)
    left = limit - _AT_ONCE
    while left > 0 and not run.is_caught_up and not run.lost and services.clock() < end:
        run = run.and_then(_roll_some(min(left, _AT_ONCE), services, with_open=False))
        left -= _AT_ONCE
    return run


def _roll_some(limit: int, services: Services, *, with_open: bool) -> Rolled:
    store, now = services.store, services.clock()
    plan = _make_plan(store, now, limit, with_open=with_open)
    rolled = roll_hours(plan.hours, services)
    if rolled.lost:
        return Rolled(rolled.hours, rolled.changed, False, rolled.lost)
    store.settle_rollup(rolled_from=plan.first, settled_until=plan.settled_until)
    for mark in plan.marks:
        store.clear_mark(mark, is_closed=mark.hour < plan.closed_until)
    return Rolled(rolled.hours, rolled.changed, plan.is_caught_up)


def roll_hours(hours: Collection[datetime], services: Services) -> Rolled:
    """Roll up these hours, and the days, weeks and months that hold them, whether or not they are due."""
    names = [profile.model_name for profile in services.store.profiles()]
    changed: dict[Period, list[datetime]] = {}
    lost = 0
    for period, start, write in _writes(sorted(hours), names, services):
        lost += write is Written.LOST
        if write is Written.WRITTEN:
            changed.setdefault(period, []).append(start)
    return Rolled(sorted(hours), changed, True, lost)


def roll_range(since: datetime, until: datetime, services: Services) -> Rolled:
    """Roll up the hours that begin in [since, until) once more, whether or not they are due; closed ones are left."""
    store, since = services.store, start_period(Period.HOURLY, since)
    until = min(until, services.clock())
    known = [window.metric_date for window in store.windows_between(Period.HOURLY, since, until)]
    closed = store.rollup_state().closed_until or BEGINNING
    return roll_hours({hour for hour in [*known, *find_hours(store, since, until)] if hour >= closed}, services)


def find_hours(store: Store, since: datetime, until: datetime, *, limit: int | None = None) -> list[datetime]:
    """The hours that begin in [since, until) and in which anything happened, the earliest first."""
    hours: list[datetime] = []
    while limit is None or len(hours) < limit:
        moment = store.next_activity(since)
        if moment is None or moment >= until:
            break
        hours.append(start_period(Period.HOURLY, moment))
        since = hours[-1] + _HOUR
    return hours


def _make_plan(store: Store, now: datetime, limit: int, *, with_open: bool) -> _Plan:
    state, open_hour = store.rollup_state(), start_period(Period.HOURLY, now)
    first, begin = _find_begin(store, state, open_hour)
    missed = find_hours(store, begin, open_hour, limit=limit + 1)
    is_caught_up = len(missed) <= limit
    settled = start_period(Period.HOURLY, now - _SETTLING)
    if not is_caught_up:
        settled = min(settled, missed[limit])
    marks = store.due_marks(limit=limit)
    closed = state.closed_until or BEGINNING
    hours = {*missed[:limit], *(mark.hour for mark in marks if mark.hour < open_hour)}
    hours |= {open_hour} if with_open else set()
    return _Plan(
        hours=sorted(hour for hour in hours if hour >= closed),
        marks=marks,
        first=first,
        settled_until=max(settled, begin),
        closed_until=closed,
        is_caught_up=is_caught_up and len(marks) < limit,
    )


def _find_begin(store: Store, state: RollupState, open_hour: datetime) -> tuple[datetime, datetime]:
    """The first hour that anything is known of, and the one to go on from: a history that came in anew is rolled up."""
    moment = store.next_activity(BEGINNING)
    first = min(open_hour, open_hour if moment is None else start_period(Period.HOURLY, moment))
    if state.rolled_from is None or state.settled_until is None or first < state.rolled_from:
        return first, first
    return state.rolled_from, state.settled_until


def _writes(
    hours: Sequence[datetime], names: Sequence[str], services: Services
) -> Iterable[tuple[Period, datetime, Written]]:
    for hour in hours:
        yield Period.HOURLY, hour, _roll_hour(hour, names, services)
    for period, part in _LONGER:
        for start in sorted({start_period(period, hour) for hour in hours}):
            yield period, start, _roll_longer(period, part, start, services)


def _roll_hour(start: datetime, names: Sequence[str], services: Services) -> Written:
    store, now = services.store, services.clock()
    known = store.get_window(Period.HOURLY, start)  # before its documents are read
    is_over = start_period(Period.HOURLY, now) > start
    if known is not None and is_over:  # models that came later are not put into what is past
        names = list(known.model_usage_stats)
    if known is None and is_over and not find_hours(store, start, start + _HOUR, limit=1):
        return Written.SAME  # marked for a change that was not made
    window = make_window(Period.HOURLY, start, _count(start, names, store), now=now)
    return store.put_hour(window, seen=known.rolls if known else None)


def _roll_longer(period: Period, part: Period, start: datetime, services: Services) -> Written:
    store = services.store
    known = store.get_window(period, start)  # before its parts are read
    parts = [each for each in store.windows_between(part, start, end_period(period, start)) if each.sums]
    if not parts:
        return Written.SAME
    sums = merge((each.sums for each in parts if each.sums), is_first_later=parts[0].metric_date > start)
    window = make_window(period, start, sums, now=services.clock()).follow(parts[0].open_sessions)
    return store.put_window(window, seen=known.rolls if known else None)


def _count(start: datetime, names: Sequence[str], store: Store) -> Sums:
    """What an hour's documents add up to: all are found by its times, or by the threads that ended in it."""
    end = end_period(Period.HOURLY, start)
    rollup = Rollup(start, end, model_names=names)
    remainders = store.remainders_between(start, end)  # first: what is purged meanwhile is missed, never counted twice
    for session in store.scan_between(Session, "session_start", start, end):
        rollup.add_start(session)
    for session in store.scan_between(Session, "session_end", start, end):
        rollup.add_end(session)
    batch: list[Thread] = []
    for thread in store.scan_between(Thread, "completed_at", start, end):
        batch.append(thread)
        if len(batch) == _BATCH:
            _add_threads(batch, rollup, store)
            batch = []
    _add_threads(batch, rollup, store)
    for response in store.scan_between(Response, "timestamp", start, end):
        rollup.add_response(response)
    for event in store.scan_between(LogEvent, "timestamp", start, end, event_type="model_probed"):
        rollup.add_probe(passed=bool(event.details.get("passed")))
    for each in remainders:
        rollup.add_moments(starts=each.starts, ends=each.ends)
    return functools.reduce(add, (each.sums for each in remainders), rollup.result())


def _add_threads(threads: Sequence[Thread], rollup: Rollup, store: Store) -> None:
    ratings = store.ratings_of([thread.session_id for thread in threads])
    for thread in threads:
        rollup.add_thread(thread, ratings.get(thread.session_id))
    ids = [thread.id for thread in threads]
    for selection in store.scan_of(Selection, ids):
        rollup.add_selection(selection)
    for criticism in store.scan_of(CriticismResponse, ids):
        rollup.add_criticism(criticism)
