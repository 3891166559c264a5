"""Turns, the lease of reconcile, and who notices that the beat is gone."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from celery.signals import task_revoked

from orchestratex.domain.log import LogEvent
from orchestratex.domain.metrics import Metrics
from orchestratex.steps.periodic import measure_in_turn, probe_in_turn, reconcile_in_turn
from orchestratex.steps.pulse import BEAT, CONTROL, BeatWatch
from orchestratex.steps.reconcile import reconcile
from tests.support import World
from workers.beat import FROM_BEAT, SCHEDULE
from workers.signs import note_expired, note_sender


def events(world: World) -> list[str]:
    return [event.event_type for event in world.store._all(LogEvent) if event.event_type.startswith("beat_")]


def open_watch(world: World) -> BeatWatch:
    return BeatWatch(lambda: world.services, clock=lambda: world.clock().timestamp())


def look_for(seconds: int, world: World, *watches: BeatWatch) -> None:
    for _ in range(seconds):
        world.clock.pass_time(1)
        for watch in watches:
            watch.look()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is said of the beat; a broker of another test may have gone away meanwhile."""
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    return [message for message in said if "from the beat" in message]


# -- once a period


def test_however_many_ask_models_are_probed_once_a_period() -> None:
    world = World()

    asked = [probe_in_turn(world.services) for _ in range(3)]
    world.clock.pass_time(60)
    again = [probe_in_turn(world.services) for _ in range(3)]

    assert [len(found) for found in asked + again] == [8, 0, 0, 8, 0, 0]


def test_however_many_ask_it_is_measured_once_a_period() -> None:
    world = World()

    windows = [measure_in_turn(world.services) for _ in range(3)]

    assert windows[0] == len(world.store._all(Metrics)) > 0
    assert windows[1:] == [0, 0]


def test_one_pass_of_reconcile_is_made_at_a_time() -> None:
    world = World()
    thread = world.submit("What is a monad?", max_iterations=1)
    world.queue.messages.clear()
    world.clock.pass_time(60)
    token = world.store.take_lease("reconcile", lease_s=100)

    while_held = reconcile(world.services)
    world.store.end_lease("reconcile", token or "")
    after = reconcile(world.services)

    assert while_held == {}
    assert after["threads sent"] == 1
    assert [ids for _, ids in world.queue.messages] == [(thread.id,)]


def test_the_beat_asks_for_a_pass_only_where_no_clock_made_one_in_this_period() -> None:
    world = World()
    world.submit("What is a monad?")
    world.queue.messages.clear()
    reconcile(world.services)
    world.clock.pass_time(world.services.settings.reconcile_s - 1)

    soon = reconcile_in_turn(world.services)
    world.clock.pass_time(60)  # the control workers' own clocks are gone
    late = reconcile_in_turn(world.services)

    assert (soon, late["threads sent"]) == ({}, 1)


def test_a_pass_that_fails_gives_its_lease_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def fail(**_: object) -> list[object]:
        raise RuntimeError("one bad document")

    with monkeypatch.context() as broken:
        broken.setattr(world.store, "overdue_panels", fail)
        with pytest.raises(RuntimeError):
            reconcile(world.services)

    assert CONTROL not in world.store.sample_ages([CONTROL])
    reconcile(world.services)
    assert CONTROL in world.store.sample_ages([CONTROL])


def test_a_holder_that_died_delays_mending_by_less_than_a_period() -> None:
    world = World()
    period = world.services.settings.reconcile_s
    world.submit("What is a monad?")
    world.queue.messages.clear()
    world.clock.pass_time(60)
    world.store.take_lease("reconcile", lease_s=period / 2)  # and it dies

    reconcile(world.services)
    world.clock.pass_time(period)

    assert reconcile(world.services)["threads sent"] == 1


def test_passes_that_were_left_out_are_no_gap() -> None:
    """Whoever finds the lease taken notes nothing; leases may be freed all the same in the pass after."""
    world = World()
    thread = world.submit("What is a monad?")
    assert world.store.claim_thread(thread.id, lease_s=10)
    reconcile(world.services)
    for _ in range(6):  # 30 s, in which every second pass finds the lease taken
        world.clock.pass_time(2.5)
        token = world.store.take_lease("reconcile", lease_s=1)
        assert reconcile(world.services) == {}
        world.store.end_lease("reconcile", token or "")
        world.clock.pass_time(2.5)
        reconcile(world.services)

    assert world.store.get_thread(thread.id).crashes == 1


# -- signs of life


@pytest.mark.parametrize("name", sorted(SCHEDULE))
def test_what_the_beat_sends_says_that_it_comes_from_it(name: str) -> None:
    assert SCHEDULE[name]["options"]["headers"][FROM_BEAT] is True


def test_only_a_message_of_the_beat_is_a_sign_of_its_life() -> None:
    world = World()

    note_sender(SimpleNamespace(), world.services)
    reconcile(world.services)
    assert BEAT not in world.store.sample_ages([BEAT])

    note_sender(SimpleNamespace(**{FROM_BEAT: True}), world.services)
    assert BEAT in world.store.sample_ages([BEAT])


def test_a_message_of_the_beat_that_came_too_late_is_a_sign_all_the_same() -> None:
    world = World()
    from_beat, other = SimpleNamespace(**{FROM_BEAT: True}), SimpleNamespace()
    receiver = note_expired(lambda: world.services)
    try:
        task_revoked.send(sender=None, request=from_beat, expired=False)  # somebody revoked it by hand
        task_revoked.send(sender=None, request=other, expired=True)
        before = world.store.sample_ages([BEAT])
        task_revoked.send(sender=None, request=from_beat, expired=True)
    finally:
        task_revoked.disconnect(receiver)

    assert before == {}
    assert BEAT in world.store.sample_ages([BEAT])


def test_a_beat_that_stops_is_missed_after_three_periods(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    watch = open_watch(world)
    world.store.put_sample(BEAT, 1)

    look_for(14, world, watch)
    before = warnings(caplog)
    look_for(3, world, watch)

    assert before == []
    assert len(warnings(caplog)) == 1
    assert "nothing came from the beat for" in warnings(caplog)[0]
    assert events(world) == ["beat_missing"]


def test_an_outage_is_warned_of_once_a_minute_and_recorded_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    watches = [open_watch(world), open_watch(world)]
    world.store.put_sample(BEAT, 1)

    look_for(15 + 130, world, *watches)

    assert len(warnings(caplog)) == 3 * len(watches)
    assert events(world) == ["beat_missing"]


def test_a_beat_that_comes_back_is_recorded_once_for_each_outage() -> None:
    world = World()
    watches = [open_watch(world), open_watch(world)]
    for _ in range(2):
        world.store.put_sample(BEAT, 1)
        look_for(20, world, *watches)
    world.store.put_sample(BEAT, 1)
    look_for(3, world, *watches)

    assert events(world) == ["beat_missing", "beat_back"] * 2


def test_a_watcher_that_has_just_started_gives_the_beat_time(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.store.put_sample(BEAT, 1)
    world.clock.pass_time(1000)  # nothing ran here for a while
    watch = open_watch(world)

    look_for(29, world, watch)
    early = warnings(caplog)
    look_for(3, world, watch)

    assert early == []
    assert len(warnings(caplog)) == 1


def test_an_alarm_that_another_process_raised_is_ended_by_whoever_sees_the_beat() -> None:
    world = World()
    world.store.put_sample(BEAT, 1)
    gone = open_watch(world)
    gone.look()
    look_for(20, world, gone)
    world.store.put_sample(BEAT, 1)

    open_watch(world).look()

    assert events(world) == ["beat_missing", "beat_back"]
