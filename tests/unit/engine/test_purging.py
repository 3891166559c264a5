"""Whatever is deleted, and whenever: the metrics say what they said, and what still runs or is owed stays whole."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from orchestratex.advance import end_session
from orchestratex.domain.base import Period
from orchestratex.domain.log import LogEvent
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.steps.measure import measure
from orchestratex.steps.periodic import RETAIN_S, measure_in_turn
from orchestratex.steps.purge import Purged, purge, purge_older, retain
from orchestratex.store.purging import Scope
from tests.support import World, steady

DAY_S = 86_400.0


def solve_ended(world: World, **options: Any) -> Thread:
    """A thread in a session that has ended."""
    thread = world.solve("Why is the sky blue?", max_iterations=1, **options)
    end_session(thread.session_id, world.services)
    return thread


def read_windows(world: World) -> list[dict[str, Any]]:
    measure(world.services)
    marks = {"updated_at", "rolls", "id"}
    return [w.model_dump(exclude=marks) for period in Period for w in world.store.metrics(period, limit=1000)]


def of(thread: Thread) -> Scope:
    return Scope(sessions=(thread.session_id,))


def test_metrics_stay_when_a_thread_of_the_open_hour_is_deleted() -> None:
    world = World()
    thread = solve_ended(world)
    before = read_windows(world)

    done = purge(of(thread), world.services)

    assert done == Purged(threads=1, sessions=1)
    assert (world.store._all(Thread), world.store._all(Session)) == ([], [])
    assert read_windows(world) == before
    assert {event.event_type for event in world.store._all(LogEvent)} == {"purged"}


def test_an_hour_counts_what_was_deleted_before_it_was_rolled_up() -> None:
    world = World()
    thread = solve_ended(world)
    purge(of(thread), world.services)
    world.clock.pass_time(7200)

    hour = read_windows(world)[1]

    assert (hour["total_threads"], hour["total_sessions"], hour["sums"]["opened"]) == (1, 1, 1)
    assert sum(each["total_cost"] for each in hour["model_usage_stats"].values()) == pytest.approx(thread.total_cost)
    assert world.store.model_stats()[str(thread.best_model_id)].requests > 0


@pytest.mark.parametrize("seed", range(3))
def test_metrics_stay_whatever_is_deleted(seed: int) -> None:
    world, dice = World(), random.Random(seed)
    threads = []
    for _ in range(6):
        threads.append(solve_ended(world))
        if dice.random() < 0.5:
            world.store.set_session(threads[-1].session_id, {"user_satisfaction": 7.0})
        world.clock.pass_time(dice.choice([60, 1800, 4000]))
    before = read_windows(world)

    for thread in dice.sample(threads, 4):
        purge(of(thread), world.services)
        world.clock.pass_time(dice.choice([0, 700]))
        after = {(w["time_period"], w["metric_date"]): w for w in read_windows(world)}
        assert all(after[w["time_period"], w["metric_date"]] == w for w in before[1:])
    stats = world.store.model_stats()
    measure(world.services)
    assert world.store.model_stats() == stats


def test_what_still_runs_stays_and_what_is_under_way_is_told() -> None:
    world = World()
    thread, running = solve_ended(world), world.submit("Why?")
    call = world.store.responses_of(thread.id)[0].model_copy(update={"lease_token": "held"})
    world.store._tables[type(call)][call.id] = call

    done = purge(Scope(), world.services)

    assert done == Purged(left=1)
    assert {each.id for each in world.store._all(Thread)} == {thread.id, running.id}


def test_upkeep_deletes_whole_threads_after_so_many_days_and_closes_their_hours() -> None:
    world = World(settings=steady(retention_days=10, log_retention_days=0))
    old = solve_ended(world)
    read_windows(world)
    world.clock.pass_time(9 * DAY_S)
    young = solve_ended(world)
    before = read_windows(world)
    kept = measure_in_turn(world.services), {thread.id for thread in world.store._all(Thread)}
    world.clock.pass_time(1.5 * DAY_S)
    before = read_windows(world)

    measure_in_turn(world.services)

    assert kept[1] == {old.id, young.id}
    assert [thread.id for thread in world.store._all(Thread)] == [young.id]
    assert world.store.responses_of(old.id) == []
    assert world.store.remainders_between(old.created_at - timedelta(days=1), world.clock()) == []
    closed = world.store.rollup_state().closed_until
    assert closed is not None
    assert old.completed_at is not None
    assert old.completed_at < closed <= world.clock() - timedelta(days=10)
    assert read_windows(world) == before


def test_upkeep_deletes_old_events_and_leaves_the_rest() -> None:
    world = World()
    thread = solve_ended(world)
    read_windows(world)
    world.clock.pass_time(31 * DAY_S)
    read_windows(world)

    done = retain(world.services)

    assert (done.threads, done.events > 0) == (0, True)
    assert world.store.logs_of(thread.id) == []
    assert world.store.get_thread(thread.id).id == thread.id
    assert len(world.store.responses_of(thread.id)) > 1


def test_nothing_goes_before_it_was_rolled_up() -> None:
    world = World(settings=steady(retention_days=1))
    thread = solve_ended(world)
    world.clock.pass_time(40 * DAY_S)

    assert retain(world.services) == Purged()
    assert world.store.get_thread(thread.id).id == thread.id


def test_upkeep_takes_its_turn_now_and_then() -> None:
    world = World(settings=steady(retention_days=1))
    measure_in_turn(world.services)
    solve_ended(world)
    world.clock.pass_time(RETAIN_S / 2)
    measure_in_turn(world.services)

    world.clock.pass_time(3 * DAY_S)
    for _ in range(2):
        world.clock.pass_time(RETAIN_S)
        measure_in_turn(world.services)

    assert world.store._all(Thread) == []


def test_all_that_ended_before_a_moment_goes_of_hours_that_are_rolled_up_without_remainder() -> None:
    world = World()
    solve_ended(world)
    read_windows(world)
    world.clock.pass_time(2 * DAY_S)
    late = solve_ended(world)
    before = read_windows(world)

    done = purge_older(world.clock() + timedelta(days=1), world.services)

    assert done == Purged(threads=2, sessions=2)
    assert late.completed_at is not None
    hours = {each.hour for each in world.store.remainders_between(late.created_at - timedelta(days=9), world.clock())}
    assert hours == {late.completed_at.replace(minute=0, second=0, microsecond=0)}
    assert read_windows(world) == before


def test_a_session_that_stays_says_what_its_deleted_threads_had_cost() -> None:
    world = World()
    thread = world.solve("Why?", max_iterations=1)

    purge(of(thread), world.services)

    session = world.store.get_session(thread.session_id)
    assert session.purged_threads == 1
    assert session.purged_nanos == session.total_cost_nanos == thread.total_cost_nanos
