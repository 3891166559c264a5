"""What the store promises about writing several profiles: all or none."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from orchestratex.domain.profile import RateLimits
from orchestratex.store.base import Store
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
