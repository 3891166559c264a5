"""Deleting threads and sessions whole, at somebody's wish or because they are old. What they count in metrics stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from bson import ObjectId

from orchestratex.domain.base import Component
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.rules.rollup import Rollup
from orchestratex.steps.rolling import BEGINNING
from orchestratex.steps.services import Services
from orchestratex.store.base import Store
from orchestratex.store.purging import Remainder, Scope
from orchestratex.store.rollups import start_hour

_BATCH: Final = 200  # threads read at once
_LOGS_AT_ONCE: Final = 5000
_RUN: Final = timedelta(seconds=60)  # after it upkeep leaves the rest to its next turn; tasks are ended after 200 s
_HOUR: Final = timedelta(hours=1)
_Whole = TypeVar("_Whole", Thread, Session)


@dataclass(frozen=True)
class Purged:
    """What was deleted."""

    threads: int = 0
    sessions: int = 0
    events: int = 0  # of the log, beside those of the threads and sessions
    left: int = 0  # ended threads whose last calls are still under way: they can be deleted in a minute


def purge(scope: Scope, services: Services, *, until: datetime | None = None) -> Purged:
    """Delete what the scope holds and has ended, threads first; begins nothing more after `until`.

    Each goes whole or not at all, and twice is once. Raises StoreUnavailableError.
    """
    threads, left = _purge_threads(scope, services, until)
    sessions = _purge_sessions(scope, services, until)
    done = Purged(threads=threads, sessions=sessions, left=left)
    _tell(done, services)
    return done


def purge_older(before: datetime, services: Services, *, until: datetime | None = None) -> Purged:
    """Delete all that ended before a moment. Hours before it that were rolled up are closed: they need no remainder."""
    _close_hours(before, services)
    return purge(Scope(before=before), services, until=until)


def retain(services: Services) -> Purged:
    """Delete what is older than the settings let it become, as much as fits into a minute.

    Only hours that were rolled up are touched, and they are closed first. Raises StoreUnavailableError.
    """
    settings, end = services.settings, services.clock() + _RUN
    done = Purged()
    if settings.retention_days and (before := _find_cutoff(settings.retention_days, services)):
        done = purge_older(before, services, until=end)
    if settings.log_retention_days and (before := _find_cutoff(settings.log_retention_days, services)):
        _close_hours(before, services)
        done = Purged(done.threads, done.sessions, _purge_logs(before, services, end), done.left)
    services.store.forget_remainders(services.store.rollup_state().closed_until or BEGINNING)
    return done


def _find_cutoff(days: float, services: Services) -> datetime | None:
    """The hour before which things are too old and were rolled up; None where nothing was yet."""
    settled = services.store.rollup_state().settled_until
    try:
        return settled and min(settled, start_hour(services.clock() - timedelta(days=days)))
    except OverflowError:
        return None  # longer than there is time


def _close_hours(before: datetime, services: Services) -> None:
    settled = services.store.rollup_state().settled_until
    if settled is not None:
        services.store.close_hours(min(settled, start_hour(before)))


def _purge_threads(scope: Scope, services: Services, until: datetime | None) -> tuple[int, int]:
    store = services.store

    def find(left: set[ObjectId]) -> list[Thread]:
        return store.purgeable_threads(scope, without=left, limit=_BATCH)

    def delete(thread: Thread, closed: datetime) -> bool:
        return not _is_owing(thread, store) and store.purge_thread(thread, _sum_thread(thread, closed, store))

    return _purge_each(find, delete, services, until)


def _purge_sessions(scope: Scope, services: Services, until: datetime | None) -> int:
    store = services.store

    def find(left: set[ObjectId]) -> list[Session]:
        return store.purgeable_sessions(scope, without=left, limit=_BATCH)

    def delete(session: Session, closed: datetime) -> bool:
        return store.purge_session(session, _sum_session(session, closed))

    return _purge_each(find, delete, services, until)[0]


def _purge_each(
    find: Callable[[set[ObjectId]], list[_Whole]],
    delete: Callable[[_Whole, datetime], bool],
    services: Services,
    until: datetime | None,
) -> tuple[int, int]:
    """How many were deleted, and how many were found that have to stay for now; hours before `closed` need no sums."""
    done, left = 0, set[ObjectId]()
    while found := find(left):
        closed = services.store.rollup_state().closed_until or BEGINNING
        for each in found:
            if until is not None and services.clock() >= until:
                return done, len(left)
            if delete(each, closed):
                done += 1
            else:
                left.add(each.id)
    return done, len(left)


def _purge_logs(before: datetime, services: Services, until: datetime) -> int:
    done = 0
    while services.clock() < until and (count := services.store.purge_logs(before, limit=_LOGS_AT_ONCE)):
        done += count
    return done


def _is_owing(thread: Thread, store: Store) -> bool:
    """Whether money is still held for one of its calls: reconcile settles that by what the call's document says."""
    held = store.get_account(thread.session_id).reservations
    if not held:
        return False
    ids = {str(thread.id), *(str(each.id) for each in store.scan_of(Response, [thread.id]))}
    return any(key.partition("_")[0] in ids for key in held)


def _sum_thread(thread: Thread, closed: datetime, store: Store) -> list[Remainder]:
    """What a thread and its calls count in hours that may still be rolled up."""
    if thread.completed_at is None or start_hour(thread.completed_at) < closed:
        return []
    responses = list(store.scan_of(Response, [thread.id]))
    selections = list(store.scan_of(Selection, [thread.id]))
    criticisms = list(store.scan_of(CriticismResponse, [thread.id]))
    rating = store.ratings_of([thread.session_id]).get(thread.session_id)
    hours = {start_hour(thread.completed_at), *(start_hour(each.timestamp) for each in responses)}
    remainders = []
    for hour in sorted(each for each in hours if each >= closed):
        rollup = Rollup(hour, hour + _HOUR)
        rollup.add_thread(thread, rating)
        for response in responses:
            rollup.add_response(response)
        for selection in selections:
            rollup.add_selection(selection)
        for criticism in criticisms:
            rollup.add_criticism(criticism)
        remainders.append(Remainder(hour=hour, sums=rollup.result()))
    return remainders


def _sum_session(session: Session, closed: datetime) -> list[Remainder]:
    moments: Sequence[datetime] = [m for m in (session.session_start, session.session_end) if m is not None]
    return [
        _sum_sitting(hour, session) for hour in sorted({start_hour(moment) for moment in moments}) if hour >= closed
    ]


def _sum_sitting(hour: datetime, session: Session) -> Remainder:
    rollup = Rollup(hour, hour + _HOUR)
    rollup.add_start(session)
    rollup.add_end(session)
    starts = (session.session_start,) if start_hour(session.session_start) == hour else ()
    ended = session.session_end
    ends = (ended,) if ended is not None and start_hour(ended) == hour else ()
    return Remainder(hour=hour, sums=rollup.result(), starts=starts, ends=ends)


def _tell(done: Purged, services: Services) -> None:
    if done.threads or done.sessions:
        message = f"{done.threads} threads and {done.sessions} sessions were deleted"
        services.journal.write(
            Component.ORCHESTRATOR, "purged", message, threads=done.threads, sessions=done.sessions, left=done.left
        )
