"""What the store promises about writing several profiles: all or none."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestratex.domain.capabilities import Capabilities, Refusals, Stated
from orchestratex.domain.profile import RateLimits
from orchestratex.store.base import Store
from orchestratex.store.mongo import MongoStore
from tests.make import NOW, make_profile


def test_profiles_are_added_and_changed_together(store: Store) -> None:
    store.insert_profiles([make_profile("gpt4", probes=3)])
    limits = RateLimits(requests_per_minute=7, tokens_per_minute=70)

    is_written = store.write_profiles([make_profile("qwen")], {"gpt4": {"rate_limits": limits, "is_active": False}})

    gpt4, qwen = store.profiles()
    assert is_written
    assert (qwen.model_name, qwen.updated_at) == ("qwen", NOW)
    assert (gpt4.rate_limits, gpt4.is_active, gpt4.probes) == (limits, False, 3)
    assert gpt4.updated_at > NOW


def test_nothing_is_written_when_a_new_profile_is_there_already(store: Store) -> None:
    store.insert_profiles([make_profile("gpt4")])
    before = store.profiles()

    is_written = store.write_profiles([make_profile("qwen"), make_profile("gpt4")], {})

    assert not is_written
    assert store.profiles() == before


def test_nothing_is_written_when_a_profile_to_be_changed_is_gone(store: Store) -> None:
    store.insert_profiles([make_profile("gpt4")])
    before = store.profiles()

    is_written = store.write_profiles(
        [make_profile("qwen")], {"gpt4": {"strengths": "new"}, "nobody": {"strengths": ""}}
    )

    assert not is_written
    assert store.profiles() == before


def test_one_of_many_adds_a_profile(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        written = list(
            pool.map(lambda _: store.write_profiles([make_profile("gpt4"), make_profile("qwen")], {}), range(8))
        )

    assert sum(written) == 1
    assert len(store.profiles()) == 2


CAPABILITIES = Capabilities(
    efforts={"none": False, "low": 1024, "high": "xhigh"}, temperature="unless_thinking", schema_form="tool", seed=False
)


def test_what_a_model_takes_is_kept_as_it_was_written(store: Store) -> None:
    stated = Stated(at="here", read_at=NOW, capabilities=CAPABILITIES)
    store.insert_profiles([make_profile("gpt4", capabilities=CAPABILITIES)])

    store.update_profile("gpt4", {"stated": stated})

    (gpt4,) = store.profiles()
    assert (gpt4.capabilities, gpt4.stated) == (CAPABILITIES, stated)
    assert gpt4.capabilities.efforts == {"none": False, "low": 1024, "high": "xhigh"}


def test_a_profile_is_changed_only_where_it_is_as_it_was(store: Store) -> None:
    store.insert_profiles([make_profile("gpt4"), make_profile("qwen")])
    one, two = (Refusals(at="here", parameters=parameters) for parameters in (["seed"], ["seed", "temperature"]))

    outcomes = [
        store.swap_profile("gpt4", {"refusals": None}, {"refusals": one}),
        store.swap_profile("gpt4", {"refusals": None}, {"refusals": two}),
        store.swap_profile("gpt4", {"refusals": one}, {"refusals": two}),
        store.swap_profile("gpt4", {"served_version": None}, {"served_version": "a"}),
        store.swap_profile("gpt4", {"served_version": "b"}, {"served_version": "c"}),
        store.swap_profile("nobody", {"served_version": None}, {"served_version": "a"}),
    ]

    gpt4, qwen = store.profiles()
    assert outcomes == [True, False, True, True, False, False]
    assert (gpt4.refusals, gpt4.served_version, gpt4.updated_at > NOW) == (two, "a", True)
    assert (qwen.refusals, qwen.served_version) == (None, None)


def test_of_many_that_learn_the_same_one_is_first(store: Store) -> None:
    store.insert_profiles([make_profile("gpt4")])
    after = {"refusals": Refusals(at="here", parameters=["seed"])}

    with ThreadPoolExecutor(8) as pool:
        swapped = list(pool.map(lambda _: store.swap_profile("gpt4", {"refusals": None}, after), range(8)))

    assert sum(swapped) == 1


@pytest.mark.integration
def test_a_profile_of_an_older_version_learns_like_any_other(mongo_store: MongoStore) -> None:
    later = dict.fromkeys(("capabilities", "refusals", "served_version", "stated"), "")
    mongo_store.database["ai_model_profiles"].update_one({"model_name": "gpt4"}, {"$unset": later})

    assert mongo_store.swap_profile("gpt4", {"served_version": None}, {"served_version": "a"})
    assert mongo_store.swap_profile("gpt4", {"refusals": None}, {"refusals": Refusals(at="here")})
    (gpt4,) = (each for each in mongo_store.profiles() if each.model_name == "gpt4")
    assert (gpt4.capabilities, gpt4.served_version) == (Capabilities(), "a")


def test_an_edit_and_the_workers_records_both_stand(store: Store) -> None:
    store.insert_profiles([make_profile("gpt4")])
    start = threading.Barrier(2)

    def edit() -> None:
        start.wait()
        for number in range(20):
            assert store.write_profiles([], {"gpt4": {"strengths": str(number)}})

    def record() -> None:
        start.wait()
        for number in range(20):
            store.update_profile("gpt4", {"probes": number})

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(edit), pool.submit(record)]:
            each.result()

    (gpt4,) = store.profiles()
    assert (gpt4.strengths, gpt4.probes) == ("19", 19)
