"""Back-pressure: how many threads may be in flight at once, in the installation and for each user.

A place is taken before its thread is inserted and freed after it has ended. Whatever dies in between is mended by
reconcile: a place without a thread is freed, a thread without a place gets one. Above a bound a thread is refused, or
stands in line until a place is free: in the store like any other, but nobody works on it and no clock of its runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestratex.domain.base import Step
from orchestratex.domain.thread import Thread
from orchestratex.errors import CapacityError, StoreUnavailableError
from orchestratex.faultpoints import FaultPoint
from orchestratex.steps.announce import announce_thread
from orchestratex.steps.panel import panel_deadlines
from orchestratex.steps.services import Services

RETRY_AFTER_S: Final = 10.0  # a thread takes from seconds to minutes; with many in flight some place is free by then
_BATCH: Final = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """Threads on their way in: to be inserted, then opened."""

    threads: list[Thread]  # as they are to be written
    is_queued: bool
    taken_at: float  # monotonic seconds


def take(threads: Sequence[Thread], services: Services) -> Entry:
    """Take a place for each thread of one user, all or none, before they are inserted or started again.

    With `when_full` set to queue none is taken: the threads come back as standing in line, and `enter` lets in whoever
    has waited longest. Whoever starts an ended thread again writes the entry's `is_queued` with its move, and then
    enters the thread as moved. Raises CapacityError; then nothing was written.
    """
    settings = services.settings
    is_queued = settings.when_full == "queue"
    if not is_queued and not _hold(threads, services):
        raise _refuse(threads, services)
    services.faults.reach(FaultPoint.PLACED)
    marked = [thread.model_copy(update={"is_queued": is_queued}) for thread in threads]
    return Entry(marked, is_queued, time.monotonic())


def enter(entry: Entry, services: Services) -> None:
    """Announce threads that have been written, or let in whoever stands in line first."""
    if entry.is_queued:
        admit(services)
        return
    is_late = time.monotonic() - entry.taken_at > services.settings.lease_s / 2
    if is_late and not _hold(entry.threads, services):  # this process hung so long that its places were given away
        for thread in entry.threads:
            services.store.set_thread(thread.id, {"is_queued": True})
        return
    for thread in entry.threads:
        announce_thread(thread, services)


def release(thread: Thread, services: Services) -> None:
    """Free the place of a thread that has ended, and let the next in. What fails here is left to reconcile."""
    services.faults.reach(FaultPoint.ENDED)
    try:
        services.store.free_place(thread)
        if services.settings.when_full == "queue":
            admit(services)
    except StoreUnavailableError as error:
        _log.warning("the place of thread %s is freed by reconcile: %s", thread.id, error)


def admit(services: Services) -> int:
    """Let threads in that stand in line, the oldest first, as far as there is room; returns how many.

    Users who are at their own bound keep nobody else out.
    """
    admitted = 0
    while waiting := _find_next(services):
        for thread in waiting:
            if not _hold([thread], services):
                break  # a bound was reached meanwhile: look again at which
            admitted += _admit(thread, services)
    return admitted


def mend(services: Services) -> int:
    """Make places and threads agree again after crashes, and let in who can come in; returns how much was mended."""
    store = services.store
    orphans = store.orphaned_places(age_s=services.settings.lease_s, limit=_BATCH)
    freed = [store.free_orphan(place) for place in orphans]
    adopted = [store.take_places([thread]) for thread in store.placeless_threads(limit=_BATCH)]
    return sum(freed) + sum(adopted) + admit(services)


def _hold(threads: Sequence[Thread], services: Services) -> bool:
    settings = services.settings
    return services.store.take_places(threads, limit=settings.max_threads, user_limit=settings.max_user_threads)


def _find_next(services: Services) -> list[Thread]:
    settings = services.settings
    places = services.store.get_places()
    room = settings.max_threads - places.count
    if room <= 0:
        return []
    most = settings.max_user_threads
    full = [user_id for user_id, count in places.by_user.items() if most is not None and count >= most]
    return services.store.queued_threads(without_users=full, limit=min(room, _BATCH))


def _admit(thread: Thread, services: Services) -> bool:
    deadlines = {"deadline_at": thread.options.deadline_s or services.settings.thread_deadline_s}
    if thread.due_step is Step.EVALUATE:
        deadlines |= panel_deadlines(services)
    admitted = services.store.admit_thread(thread.id, deadlines_s=deadlines)
    if admitted is None:
        _give_back(thread, services)
        return False
    announce_thread(admitted, services)
    return True


def _give_back(thread: Thread, services: Services) -> None:
    """Somebody else let the thread in and holds this very place, unless it has ended since."""
    now = services.store.get_thread(thread.id)
    if now.is_ended:
        services.store.free_place(now)


def _refuse(threads: Sequence[Thread], services: Services) -> CapacityError:
    settings, wanted = services.settings, len(threads)
    places = services.store.get_places()
    user_id = threads[0].user_id
    of_user = places.by_user.get(user_id, 0)
    most = settings.max_user_threads
    is_user = most is not None and of_user + wanted > most
    who = f"user {user_id}" if is_user else "the installation"
    limit, count = (most or 0, of_user) if is_user else (settings.max_threads, places.count)
    name = "ORCHESTRATEX_MAX_USER_THREADS" if is_user else "ORCHESTRATEX_MAX_THREADS"
    if wanted > limit:
        todo = f"{wanted} at once never fit: submit fewer"
    else:
        todo = f"{wanted} more do not fit: try again in {RETRY_AFTER_S:g} s"
    return CapacityError(
        f"{who} has {count} threads in flight and may have {limit} ({name}); {todo}, or let threads wait in line with "
        "ORCHESTRATEX_WHEN_FULL=queue",
        retry_after_s=RETRY_AFTER_S,
    )
