"""What the store promises about threads in flight, held against both that keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId

from orchestratex.domain.base import Step
from orchestratex.domain.thread import Thread
from orchestratex.store.base import Place, Store
from tests.contract.test_store import at_once
from tests.make import make_thread

PassTime = Callable[[float], None]
SHORT = 0.05
LONG = 600.0


def make_threads(count: int, **fields: Any) -> list[Thread]:
    return [make_thread(user_id="ann", **fields) for _ in range(count)]


def add(store: Store, **fields: Any) -> Thread:
    thread = make_thread(**{"user_id": "ann", **fields})
    store.insert_threads([thread])
    return store.get_thread(thread.id)


def end(store: Store, thread: Thread) -> Thread:
    ended = store.move_thread(thread, {"due_step": None, "thread_status": "completed"})
    assert ended is not None
    return ended


def orphans(store: Store, age_s: float = -1) -> list[Place]:
    return store.orphaned_places(age_s=age_s, limit=100)


def test_nobody_is_in_flight_at_first(store: Store) -> None:
    places = store.get_places()

    assert (places.count, places.by_user) == (0, {})


def test_places_are_taken_up_to_the_bound(store: Store) -> None:
    taken = [store.take_places([thread], limit=3) for thread in make_threads(5)]

    assert taken == [True] * 3 + [False] * 2
    assert store.get_places().count == 3


def test_a_batch_gets_all_its_places_or_none(store: Store) -> None:
    assert store.take_places(make_threads(2), limit=4)
    assert not store.take_places(make_threads(3), limit=4)
    assert store.take_places(make_threads(2), limit=4)
    assert not store.take_places(make_threads(1), limit=4)


def test_taking_no_places_is_allowed(store: Store) -> None:
    assert store.take_places([], limit=1)
    assert store.get_places().count == 0


def test_without_a_bound_everybody_gets_in(store: Store) -> None:
    assert store.take_places(make_threads(7))
    assert store.get_places().count == 7


@pytest.mark.parametrize("user_id", ["", "a.b", "$a", "@", "%2E", "ann lee", "é/ü", "0", "a" * 200])
def test_a_user_is_bound_whatever_the_name(store: Store, user_id: str) -> None:
    mine = [make_thread(user_id=user_id) for _ in range(3)]
    other = make_thread(user_id="another")

    taken = [store.take_places([thread], limit=10, user_limit=2) for thread in [*mine, other]]

    assert taken == [True, True, False, True]
    assert store.get_places().by_user == {user_id: 2, "another": 1}


def test_a_place_that_is_held_is_not_counted_again(store: Store) -> None:
    threads = make_threads(2)
    store.take_places(threads[:1], limit=2)

    assert store.take_places(threads, limit=2, user_limit=2)
    assert store.take_places(threads, limit=1, user_limit=1)  # the bound was lowered: who is in stays in
    assert store.get_places().by_user == {"ann": 2}


def test_a_place_is_freed_once(store: Store) -> None:
    thread, other = make_threads(2)
    store.take_places([thread, other], limit=2)
    ended = thread.model_copy(update={"moves": 1})

    freed = at_once(20, lambda _: store.free_place(ended))

    assert sum(freed) == 1
    assert store.get_places().by_user == {"ann": 1}
    assert store.take_places(make_threads(1), limit=2)


def test_nothing_is_left_of_a_user_without_places(store: Store) -> None:
    (thread,) = make_threads(1)
    store.take_places([thread])

    store.free_place(thread.model_copy(update={"moves": 1}))

    assert (store.get_places().count, store.get_places().by_user) == (0, {})


def test_a_place_that_was_taken_again_is_not_freed_by_the_end_before(store: Store) -> None:
    thread = make_thread(user_id="ann")
    store.take_places([thread])
    ended = thread.model_copy(update={"moves": 7})
    store.take_places([ended])  # to be retried

    assert not store.free_place(ended)
    assert store.free_place(ended.model_copy(update={"moves": 8}))


def test_an_older_view_of_a_thread_does_not_take_its_later_place_back(store: Store) -> None:
    thread = make_thread(user_id="ann")
    retried = thread.model_copy(update={"moves": 7})
    store.take_places([retried])

    store.take_places([thread])

    assert not store.free_place(retried)


def test_many_at_once_never_get_more_places_than_there_are(store: Store) -> None:
    counts: list[int] = []

    def take(number: int) -> bool:
        taken = store.take_places([make_thread(user_id=f"u{number % 3}")], limit=20, user_limit=9)
        counts.append(store.get_places().count)
        return taken

    taken = at_once(120, take)

    assert sum(taken) == 20
    assert max(counts) == 20
    assert max(store.get_places().by_user.values()) <= 9


def test_a_place_without_a_thread_in_flight_is_an_orphan(store: Store) -> None:
    running, ended, queued = add(store), add(store), add(store, is_queued=True)
    never = make_thread(user_id="ann")
    store.take_places([running, ended, queued, never])
    end(store, ended)

    found = orphans(store)

    assert {place.thread_id for place in found} == {ended.id, queued.id, never.id}
    assert {place.user_id for place in found} == {"ann"}
    assert len(store.orphaned_places(age_s=-1, limit=2)) == 2


def test_a_young_place_is_no_orphan_yet(store: Store, pass_time: PassTime) -> None:
    thread = make_thread(user_id="ann")
    store.take_places([thread])

    assert orphans(store, LONG) == []
    pass_time(SHORT)
    assert [place.thread_id for place in orphans(store, SHORT / 2)] == [thread.id]


def test_an_orphan_is_freed_once(store: Store) -> None:
    store.take_places(make_threads(3))
    place = orphans(store)[0]

    freed = at_once(20, lambda _: store.free_orphan(place))

    assert sum(freed) == 1
    assert store.get_places().by_user == {"ann": 2}


def test_an_orphan_that_was_taken_again_stands(store: Store, pass_time: PassTime) -> None:
    thread = make_thread(user_id="ann")
    store.take_places([thread])
    (place,) = orphans(store)
    pass_time(SHORT)

    store.take_places([thread])

    assert not store.free_orphan(place)
    assert store.get_places().count == 1


def test_threads_in_flight_without_a_place_are_found(store: Store) -> None:
    placed, stranger = add(store), add(store, due_step="respond")
    add(store, is_queued=True)
    add(store, due_step="finish")
    add(store, due_step=None)
    store.take_places([placed])

    assert [thread.id for thread in store.placeless_threads(limit=10)] == [stranger.id]


# -- standing in line


def test_the_line_is_oldest_first(store: Store, pass_time: PassTime) -> None:
    line = []
    for user_id in ("ann", "bob", "ann"):
        line.append(add(store, is_queued=True, user_id=user_id))
        pass_time(0.002)
    add(store)

    everybody = store.queued_threads(without_users=[], limit=10)
    others = store.queued_threads(without_users=["ann"], limit=10)

    assert [thread.id for thread in everybody] == [thread.id for thread in line]
    assert [thread.id for thread in others] == [line[1].id]
    assert len(store.queued_threads(without_users=[], limit=2)) == 2


def test_threads_of_one_batch_keep_their_order(store: Store) -> None:
    batch = make_threads(20, is_queued=True)
    store.insert_threads(batch)

    assert [t.id for t in store.queued_threads(without_users=[], limit=50)] == [thread.id for thread in batch]


def test_a_queued_thread_is_not_worked_on(store: Store, pass_time: PassTime) -> None:
    thread = add(store, is_queued=True)
    pass_time(SHORT)

    assert store.claim_thread(thread.id, lease_s=LONG) is None
    assert store.overdue_threads(resend_s=0, doubles=False, limit=10) == []


def test_a_thread_is_let_in_once_and_is_dispatched_then(store: Store, pass_time: PassTime) -> None:
    thread = add(store, is_queued=True)
    pass_time(SHORT)

    admitted = [
        each
        for each in at_once(20, lambda _: store.admit_thread(thread.id, deadlines_s={"deadline_at": 60}))
        if each is not None
    ]

    assert len(admitted) == 1
    assert admitted[0] == store.get_thread(thread.id)
    assert not admitted[0].is_queued
    assert thread.dispatched_at is not None
    assert admitted[0].dispatched_at is not None
    assert admitted[0].dispatched_at > thread.dispatched_at
    assert store.queued_threads(without_users=[], limit=10) == []
    assert store.claim_thread(thread.id, lease_s=LONG) is not None


def test_nobody_is_let_in_who_does_not_stand_in_line(store: Store) -> None:
    assert store.admit_thread(add(store).id, deadlines_s={"deadline_at": 60}) is None
    assert store.admit_thread(ObjectId(), deadlines_s={"deadline_at": 60}) is None


def test_a_queued_thread_that_is_moved_leaves_the_line(store: Store) -> None:
    thread = add(store, is_queued=True)

    store.move_thread(thread, {"due_step": Step.FINISH, "stop_reason": "cancelled"})

    assert store.queued_threads(without_users=[], limit=10) == []
    assert store.claim_thread(thread.id, lease_s=LONG) is not None


def test_a_move_may_put_a_thread_in_line(store: Store) -> None:
    thread = add(store, due_step=None)

    store.move_thread(thread, {"due_step": Step.SELECT, "is_queued": True})

    assert [queued.id for queued in store.queued_threads(without_users=[], limit=10)] == [thread.id]
