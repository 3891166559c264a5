"""Bounds on threads in flight: who gets in, who is refused, who waits, and what crashes leave behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestratex.domain.base import Step, StopReason, ThreadStatus
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.errors import CapacityError, StoreUnavailableError
from orchestratex.settings import Settings
from orchestratex.steps import places
from orchestratex.steps.moves import stop
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.submit import SessionRequest, ThreadRequest, submit_new
from tests.make import make_thread
from tests.support import World

PROMPT = "What is a monad?"


def open_world(max_threads: int = 2, **settings: object) -> World:
    return World(settings=Settings.model_validate({"max_threads": max_threads, **settings}))


def add(world: World, user_id: str = "ann", prompt: str = PROMPT) -> Thread:
    return world.submit(prompt, max_iterations=1, user_id=user_id)


def batch(world: World, count: int, user_id: str = "ann") -> list[Thread]:
    requests = [ThreadRequest(prompt=f"{PROMPT} {number}", max_iterations=1) for number in range(count)]
    return submit_new(SessionRequest(user_id=user_id), requests, world.services)


def count(world: World) -> int:
    return world.store.get_places().count


def queued(world: World) -> list[Thread]:
    return world.store.queued_threads(without_users=[], limit=100)


def run_in_order(world: World) -> list[Thread]:
    """Work until nothing is left, never with more in flight than may be; the threads by their ends."""
    ended: dict[object, Thread] = {}
    while world.queue.messages:
        world.work(world.queue.messages.pop(0))
        running = [t for t in world.store._all(Thread) if t.due_step is not None and not t.is_queued]
        assert len(running) <= world.services.settings.max_threads
        ended |= {t.id: t for t in world.store._all(Thread) if t.is_ended and t.id not in ended}
    return list(ended.values())


# -- refusing


def test_above_the_bound_a_thread_is_refused_and_nothing_is_written() -> None:
    world = open_world()
    add(world)
    add(world)

    with pytest.raises(CapacityError, match="the installation has 2 threads in flight and may have 2") as refused:
        batch(world, 1)

    assert refused.value.retry_after_s > 0
    assert "try again in" in str(refused.value)
    assert (len(world.store._all(Thread)), len(world.store._all(Session))) == (2, 2)


def test_an_end_makes_room() -> None:
    world = open_world(1)
    add(world)
    world.run()

    assert count(world) == 0
    assert add(world).thread_status is ThreadStatus.INITIALIZING


def test_a_failed_thread_makes_room_too() -> None:
    world = open_world(1)
    thread = add(world)
    world.store.move_thread(thread, stop(StopReason.FAILED, "x").fields(thread))

    world.run()

    assert world.store.get_thread(thread.id).thread_status is ThreadStatus.FAILED
    assert count(world) == 0


def test_a_user_has_a_bound_of_its_own() -> None:
    world = open_world(10, max_user_threads=1)
    add(world, "ann")

    with pytest.raises(CapacityError, match="user ann has 1 threads in flight and may have 1"):
        add(world, "ann")

    assert add(world, "bob")


def test_a_batch_is_taken_in_whole_or_refused_whole() -> None:
    world = open_world(3)
    batch(world, 2)

    with pytest.raises(CapacityError, match="2 more do not fit"):
        batch(world, 2)
    with pytest.raises(CapacityError, match="4 at once never fit: submit fewer"):
        batch(world, 4)

    assert len(world.store._all(Thread)) == 2


# -- standing in line


def test_above_the_bound_threads_stand_in_line_where_that_is_set() -> None:
    world = open_world(2, when_full="queue")

    threads = [add(world) for _ in range(4)]

    assert [thread.id for thread in queued(world)] == [thread.id for thread in threads[2:]]
    assert {thread.thread_status for thread in queued(world)} == {ThreadStatus.INITIALIZING}
    assert [ids for _, ids in world.queue.messages] == [(thread.id,) for thread in threads[:2]]


def test_whoever_stands_in_line_is_let_in_oldest_first() -> None:
    world = open_world(2, when_full="queue")
    threads = [add(world) for _ in range(3)] + batch(world, 4)

    ended = run_in_order(world)

    assert [thread.id for thread in ended] == [thread.id for thread in threads]
    assert {thread.thread_status for thread in ended} == {ThreadStatus.COMPLETED}
    assert not any(thread.is_queued for thread in ended)
    assert count(world) == 0


def test_a_user_at_its_bound_does_not_keep_others_out() -> None:
    world = open_world(3, max_user_threads=1, when_full="queue")
    first, second = add(world, "ann"), add(world, "ann")

    other = add(world, "bob")

    assert [thread.id for thread in queued(world)] == [second.id]
    assert world.store.get_places().by_user == {"ann": 1, "bob": 1}
    ended = run_in_order(world)
    assert {thread.id for thread in ended} == {first.id, second.id, other.id}


def test_a_newcomer_does_not_overtake_the_line() -> None:
    world = open_world(1, when_full="queue")
    add(world)
    waiting = add(world)
    first = world.store._all(Thread)[0]
    world.store.free_place(first.model_copy(update={"moves": 1}))  # room that nobody has noticed

    newcomer = add(world)

    assert [thread.id for thread in queued(world)] == [newcomer.id]
    assert not world.store.get_thread(waiting.id).is_queued


def test_waiting_costs_a_queued_thread_nothing_of_its_time() -> None:
    world = open_world(1, when_full="queue")
    add(world)
    thread = add(world)
    world.clock.pass_time(100_000)
    reconcile(world.services)

    still = world.store.get_thread(thread.id)

    assert still.is_queued
    assert still.dispatches == 0
    world.run()
    assert world.store.get_thread(thread.id).thread_status is ThreadStatus.COMPLETED


def test_a_queued_thread_that_is_told_to_finish_ends_without_a_place() -> None:
    world = open_world(1, when_full="queue")
    add(world)
    thread = add(world)

    world.store.move_thread(thread, stop(StopReason.CANCELLED, "x").fields(thread))
    world.queue.send_step(Step.FINISH, thread.id)
    reconcile(world.services)
    world.run()

    assert world.store.get_thread(thread.id).is_ended
    assert count(world) == 0


# -- what crashes leave behind


def test_a_place_whose_thread_was_never_inserted_is_freed_after_a_lease() -> None:
    world = open_world(1)
    places.take([make_thread(user_id="ann")], world.services)  # and the process dies

    reconcile(world.services)
    assert count(world) == 1
    world.clock.pass_time(world.services.settings.lease_s + 1)
    done = reconcile(world.services)

    assert (count(world), done["places mended"]) == (0, 1)


def test_a_place_whose_thread_ended_without_freeing_it_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = open_world(1)

    def fail(_thread: Thread) -> bool:
        raise StoreUnavailableError("MongoDB at db:27017 does not answer")

    add(world)
    with monkeypatch.context() as broken:
        broken.setattr(world.store, "free_place", fail)
        world.run()
    assert count(world) == 1
    world.clock.pass_time(world.services.settings.lease_s + 1)
    reconcile(world.services)

    assert count(world) == 0


def test_reconcile_lets_the_next_in_where_the_end_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    world = open_world(1, when_full="queue")
    add(world)
    waiting = add(world)
    with monkeypatch.context() as broken:
        broken.setattr(places, "release", lambda *_: None)
        world.run()
    assert [thread.id for thread in queued(world)] == [waiting.id]

    world.clock.pass_time(world.services.settings.lease_s + 1)
    reconcile(world.services)
    world.run()

    assert world.store.get_thread(waiting.id).thread_status is ThreadStatus.COMPLETED


def test_whoever_dies_between_taking_a_place_and_letting_in_keeps_nobody_out() -> None:
    world = open_world(2, max_user_threads=1, when_full="queue")
    thread = make_thread(user_id="ann", is_queued=True, session_id=add(world, "bob").session_id)
    world.store.insert_threads([thread])
    world.store.take_places([thread])  # and the process dies: ann is at her bound by a thread that stands in line

    world.clock.pass_time(world.services.settings.lease_s + 1)
    reconcile(world.services)

    assert queued(world) == []
    assert world.store.get_places().by_user == {"ann": 1, "bob": 1}


def test_threads_that_were_in_flight_before_there_were_bounds_count() -> None:
    world = open_world(1)
    world.store.insert_threads([make_thread(user_id="ann")])

    reconcile(world.services)

    with pytest.raises(CapacityError):
        add(world)


def test_a_process_that_hung_until_its_places_were_given_away_puts_its_threads_in_line() -> None:
    world = open_world(1, lease_s=0.000001)  # any time is too long
    thread = make_thread(user_id="ann")
    entry = places.take([thread], world.services)
    world.store.free_orphan(world.store.orphaned_places(age_s=-1, limit=1)[0])
    places.take([make_thread(user_id="bob")], world.services)
    world.store.insert_threads(entry.threads)

    places.enter(entry, world.services)

    assert [each.id for each in queued(world)] == [thread.id]
    assert world.queue.messages == []


def test_who_lets_in_a_thread_that_has_come_and_gone_leaves_no_place_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    world = open_world(1, when_full="queue")
    thread = add(world)
    world.run()
    stale = [thread]  # what another process read before the thread was let in

    monkeypatch.setattr(world.store, "queued_threads", lambda **_: [stale.pop()] if stale else [])

    assert places.admit(world.services) == 0
    assert count(world) == 0


# -- starting again


def start_again(world: World, thread: Thread) -> Thread:
    """What retrying an ended thread does about places."""
    ended = world.store.get_thread(thread.id)
    entry = places.take([ended], world.services)
    again = {"due_step": Step.SELECT, "thread_status": ThreadStatus.MODEL_SELECTION, "is_queued": entry.is_queued}
    moved = world.store.move_thread(ended, again)
    assert moved is not None
    places.enter(replace(entry, threads=[moved]), world.services)
    return ended


def test_a_thread_that_is_started_again_takes_a_place_again() -> None:
    world = open_world(1)
    thread = add(world)
    world.run()

    ended = start_again(world, thread)

    with pytest.raises(CapacityError):
        add(world)
    places.release(ended, world.services)  # a late release of the end before does not free it
    assert count(world) == 1
    assert [ids for _, ids in world.queue.messages] == [(thread.id,)]


def test_a_thread_that_is_started_again_while_all_is_full_is_refused_and_stays_ended() -> None:
    world = open_world(1)
    thread = add(world)
    world.run()
    add(world)

    with pytest.raises(CapacityError):
        start_again(world, thread)

    assert world.store.get_thread(thread.id).is_ended


def test_a_thread_that_is_started_again_may_stand_in_line() -> None:
    world = open_world(1, when_full="queue")
    thread = add(world)
    world.run()
    add(world)

    start_again(world, thread)

    assert [each.id for each in queued(world)] == [thread.id]
    assert len(world.queue.messages) == 1
    world.run()
    assert queued(world) == []
