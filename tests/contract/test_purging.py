"""What the stores promise of finding threads again, and of deleting them whole."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from orchestratex.domain.base import ThreadStatus
from orchestratex.domain.session import Session
from orchestratex.domain.sums import Sums
from orchestratex.domain.thread import Thread
from orchestratex.errors import NotFoundError
from orchestratex.store.base import Store
from orchestratex.store.listing import Wanted
from orchestratex.store.purging import Extent, Remainder, Scope
from tests.make import (
    NOW,
    make_criticism_response,
    make_evaluation,
    make_log,
    make_response,
    make_selection,
    make_session,
    make_thread,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALL = Scope()


def put_session(store: Store, **fields: Any) -> Session:
    session = make_session(**{"status": "completed", "session_start": NOW, "session_end": NOW + HOUR, **fields})
    store.insert_session(session)
    return session


def put_ended(store: Store, session: Session, **fields: Any) -> Thread:
    """An ended thread with a document of each kind."""
    ended = {"thread_status": "completed", "due_step": None, "completed_at": NOW, "final_response": "done"}
    thread = make_thread(**{"session_id": session.id, "user_id": session.user_id, **ended, **fields})
    of = {"thread_id": thread.id, "session_id": session.id}
    store.insert_threads([thread])
    store.insert_responses([make_response(**of, status="completed")])
    store.insert_evaluation(make_evaluation(**of))
    store.insert_selection(make_selection(**of))
    store.insert_criticism(make_criticism_response(**of))
    store.insert_logs([make_log(**of)])
    return thread


def count_of(store: Store, thread: Thread) -> list[int]:
    verbs = (store.responses_of, store.evaluations_of, store.selections_of, store.criticisms_of, store.logs_of)
    return [len(verb(thread.id)) for verb in verbs]


def remainder(hours: int = 0, **sums: Any) -> Remainder:
    return Remainder(hour=NOW + hours * HOUR, sums=Sums(**sums))


# -- finding


def test_threads_are_found_by_session_user_status_and_age_the_newest_first(store: Store) -> None:
    mine, other = put_session(store, user_id="ann"), put_session(store, user_id="bob")
    first, second, third = (put_ended(store, mine, created_at=NOW + n * HOUR) for n in range(3))
    running = make_thread(session_id=other.id, user_id="bob", created_at=NOW + DAY, is_queued=True)
    store.insert_threads([running])

    def find(limit: int = 10, **wanted: Any) -> list[ObjectId]:
        return [thread.id for thread in store.find_threads(Wanted(**wanted), limit=limit)]

    assert find() == [running.id, third.id, second.id, first.id]
    assert find(limit=2) == [running.id, third.id]
    assert find(session_id=mine.id) == find(user_id="ann") == [third.id, second.id, first.id]
    assert find(user_id="ann", since=NOW + HOUR) == [third.id, second.id]
    assert find(statuses=(ThreadStatus.INITIALIZING,)) == find(is_queued=True) == [running.id]
    assert find(is_queued=False) == [third.id, second.id, first.id]
    assert find(user_id="nobody") == []
    assert store.sessions_of("ann") == [mine.id]


# -- deleting


def test_a_thread_goes_with_all_that_belongs_to_it_and_nothing_else(store: Store) -> None:
    session = put_session(store)
    gone, stays = (put_ended(store, session, total_cost_nanos=7) for _ in range(2))

    assert store.purge_thread(gone, [])

    with pytest.raises(NotFoundError):
        store.get_thread(gone.id)
    known = store.get_session(session.id)
    assert (count_of(store, gone), count_of(store, stays)) == ([0] * 5, [1] * 5)
    assert (known.purged_threads, known.purged_nanos) == (1, 7)
    assert not store.purge_thread(gone, [])


def test_a_thread_that_was_taken_up_again_stays_whole(store: Store) -> None:
    thread = put_ended(store, put_session(store))
    assert store.move_thread(thread, {"due_step": "respond", "completed_at": None})

    assert not store.purge_thread(thread, [remainder()])

    assert count_of(store, thread) == [1] * 5
    assert store.remainders_between(NOW - DAY, NOW + DAY) == []


def test_a_thread_stays_as_long_as_a_call_of_it_is_under_way(store: Store) -> None:
    thread = put_ended(store, put_session(store))
    call = make_response(thread_id=thread.id, model_name="claude")
    store.insert_responses([call])
    held = store.claim_response(call.id, lease_s=60)
    assert held is not None

    refused = store.purge_thread(thread, [])
    store.update_response(held, {}, is_release=True)

    assert (refused, store.purge_thread(thread, [])) == (False, True)


def test_a_session_goes_with_its_events_when_it_has_no_thread(store: Store) -> None:
    session, other = put_session(store), put_session(store)
    thread = put_ended(store, session)
    told = [make_log(session_id=each.id, event_type="session_opened") for each in (session, other)]
    store.insert_logs(told)
    find = store.purgeable_sessions

    assert [each.id for each in find(ALL, without=(), limit=5)] == [other.id]
    assert not store.purge_session(store.get_session(session.id), [])
    assert store.purge_thread(thread, [])
    assert {each.id for each in find(ALL, without=(), limit=5)} == {session.id, other.id}
    assert store.purge_session(store.get_session(session.id), [])

    assert find(ALL, without=[other.id], limit=5) == []
    assert store.purge_logs(NOW + DAY, limit=10) == 1  # the other's


def test_an_open_session_and_one_that_holds_money_stay(store: Store) -> None:
    put_session(store, status="active", session_end=None)
    owing = put_session(store)
    assert store.reserve(owing.id, {f"{ObjectId()}_1": 5})

    assert store.purgeable_sessions(ALL, without=(), limit=5) == []


def test_a_scope_holds_what_ended_before_and_belongs_to_its_sessions(store: Store) -> None:
    mine, other = put_session(store), put_session(store, session_end=NOW + DAY)
    old, late = put_ended(store, mine), put_ended(store, mine, completed_at=NOW + HOUR)
    theirs = put_ended(store, other)
    store.insert_threads([make_thread(session_id=mine.id)])

    def find(**scope: Any) -> set[ObjectId]:
        return {each.id for each in store.purgeable_threads(Scope(**scope), without=(), limit=10)}

    assert find() == {old.id, late.id, theirs.id}
    assert find(before=NOW + HOUR) == {old.id, theirs.id}
    assert find(sessions=(mine.id,)) == {old.id, late.id}
    assert find(sessions=(mine.id,), before=NOW) == find(sessions=()) == set()
    assert {each.id for each in store.purgeable_threads(ALL, without=[old.id], limit=1)} <= {late.id, theirs.id}
    assert store.measure_extent(Scope(sessions=(mine.id,))) == Extent(threads=2, running=1, sessions=1)
    assert store.measure_extent(Scope(before=NOW + 2 * HOUR)) == Extent(threads=3, running=1, sessions=1)


def test_the_oldest_events_go_first(store: Store) -> None:
    thread_id = ObjectId()
    store.insert_logs([make_log(thread_id=thread_id, timestamp=NOW + n * HOUR) for n in range(4)])

    counts = [store.purge_logs(NOW + 3 * HOUR, limit=2) for _ in range(3)]

    assert counts == [2, 1, 0]
    assert [event.timestamp for event in store.logs_of(thread_id)] == [NOW + 3 * HOUR]


def test_what_was_deleted_leaves_its_sums_and_its_hour_is_found(store: Store) -> None:
    thread = put_ended(store, put_session(store))
    left = [remainder(threads=1), remainder(50, probes=2)]

    assert store.purge_thread(thread, left)

    assert store.remainders_between(NOW, NOW + HOUR) == left[:1]
    assert store.next_activity(NOW + 2 * HOUR) == NOW + 50 * HOUR
    assert NOW in {mark.hour for mark in store.due_marks(limit=10)}
    store.forget_remainders(NOW + HOUR)
    assert store.remainders_between(NOW, NOW + 99 * HOUR) == left[1:]


def test_a_users_spending_on_past_days_is_forgotten(store: Store) -> None:
    days = ("2026-01-01/user/a.b", "2026-01-02/user/a.b", "2026-01-01/user/a-b", "2026-01-01/user/xa.b")
    for name in days:
        assert store.reserve(name, {"x_1": 5}, limit=10)
        assert store.settle(name, "x_1", 4)

    forgotten = store.forget_days("a.b", until="2026-01-02")

    assert forgotten == 1
    assert [store.get_account(name).total_cost_nanos for name in days] == [0, 4, 4, 4]
