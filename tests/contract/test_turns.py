"""What the store promises about turns, leases and alarms, held against both that keep it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from pymongo import ReturnDocument

from orchestratex.store.base import Store
from orchestratex.store.memory import MemoryStore
from orchestratex.store.mongo import MongoStore
from tests.contract.test_store import at_once
from tests.support import FakeClock

PassTime = Callable[[float], None]
PERIOD = 0.4
LONG = 600.0


def test_a_turn_is_taken_once_a_period(store: Store, pass_time: PassTime) -> None:
    first = at_once(20, lambda _: store.take_turn("probe", every_s=LONG))
    other = store.take_turn("measure", every_s=LONG)

    assert (sum(first), other) == (1, True)


def test_the_next_period_has_its_own_turn(store: Store, pass_time: PassTime) -> None:
    store.take_turn("probe", every_s=PERIOD)
    pass_time(PERIOD)

    second = at_once(20, lambda _: store.take_turn("probe", every_s=PERIOD * 10))

    assert sum(second) == 1


def test_a_turn_may_come_a_little_early(store: Store, pass_time: PassTime) -> None:
    store.take_turn("probe", every_s=PERIOD)
    pass_time(PERIOD * 0.95)

    assert store.take_turn("probe", every_s=PERIOD)


def test_turns_that_come_early_do_not_add_up(clock: FakeClock) -> None:
    store = MemoryStore(clock)
    taken = 0
    for _ in range(2000):  # a hundred periods, asked for at every twentieth of one
        taken += store.take_turn("probe", every_s=LONG)
        clock.pass_time(LONG / 20)

    assert taken in {100, 101}


@pytest.mark.integration
def test_a_turn_that_comes_early_leaves_the_next_where_it_was(mongo_store: MongoStore) -> None:
    samples = mongo_store.database["system_samples"]
    mongo_store.take_turn("probe", every_s=LONG)
    due = samples.find_one_and_update(
        {"_id": "turn/probe"},
        [{"$set": {"next_at": {"$add": ["$$NOW", 30_000]}}}],
        return_document=ReturnDocument.AFTER,
    )

    is_taken = mongo_store.take_turn("probe", every_s=LONG)

    after = samples.find_one({"_id": "turn/probe"})
    assert is_taken
    assert due is not None
    assert after is not None
    assert after["next_at"] - due["next_at"] == timedelta(seconds=LONG)


def test_turns_that_nobody_took_are_not_made_up_for(store: Store, pass_time: PassTime) -> None:
    store.take_turn("probe", every_s=1)
    pass_time(3)

    assert [store.take_turn("probe", every_s=1) for _ in range(2)] == [True, False]


def test_one_holds_a_lease_until_it_ends(store: Store) -> None:
    tokens = [token for token in at_once(20, lambda _: store.take_lease("reconcile", lease_s=LONG)) if token]

    assert len(tokens) == 1
    assert store.take_lease("another", lease_s=LONG)
    store.end_lease("reconcile", tokens[0])
    assert store.take_lease("reconcile", lease_s=LONG)


def test_the_lease_of_a_dead_holder_runs_out(store: Store, pass_time: PassTime) -> None:
    store.take_lease("reconcile", lease_s=0.05)
    pass_time(0.06)

    assert store.take_lease("reconcile", lease_s=LONG)


def test_a_lost_lease_is_not_anothers_to_end(store: Store, pass_time: PassTime) -> None:
    lost = store.take_lease("reconcile", lease_s=0.05)
    pass_time(0.06)
    store.take_lease("reconcile", lease_s=LONG)

    assert lost
    store.end_lease("reconcile", lost)

    assert store.take_lease("reconcile", lease_s=LONG) is None


def test_an_alarm_is_raised_once_and_ended_once(store: Store) -> None:
    never = store.set_alarm("beat", False)
    raised = at_once(20, lambda _: store.set_alarm("beat", True))
    ended = at_once(20, lambda _: store.set_alarm("beat", False))
    again = store.set_alarm("beat", True)

    assert (never, sum(raised), sum(ended), again) == (False, 1, 1, True)


def test_samples_have_an_age_however_old(store: Store, pass_time: PassTime) -> None:
    store.put_sample("beat", 1)
    pass_time(0.2)
    store.put_sample("reconcile", 1)
    pass_time(0.2)

    ages = store.sample_ages(["beat", "reconcile", "other"])

    assert set(ages) == {"beat", "reconcile"}
    assert 0.2 <= ages["reconcile"] < 60
    assert 0.2 <= ages["beat"] - ages["reconcile"] < 60
