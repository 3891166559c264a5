from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestratex.domain.profile import STATE_FIELDS, PerformanceMetrics, Profile
from orchestratex.errors import InputError, StoreUnavailableError
from orchestratex.steps.profiles import (
    CONFIGURED,
    add_profiles,
    edit_profile,
    load_profiles,
    plan_profiles,
    switch_models,
)
from orchestratex.store.memory import MemoryStore
from orchestratex.store.migrations import shipped_profiles
from orchestratex.store.profiles import read_profiles
from tests.make import NOW, make_profile

SHIPPED = Path(__file__).parents[3] / "orchestratex" / "store" / "profiles.toml"


def make_row(model_name: str = "new", **fields: Any) -> dict[str, Any]:
    row = {
        "model_name": model_name,
        "provider": "openai",
        "model_version": "new-1",
        "specialties": ["coding"],
        "max_context_length": 8000,
        "api_endpoint": "https://example.org/v1",
        "cost_per_input_token": 1e-6,
        "cost_per_output_token": 2e-6,
        "rate_limits": {"requests_per_minute": 10, "tokens_per_minute": 1000},
    }
    return {**row, **fields}


def make_store(*profiles: Profile) -> MemoryStore:
    store = MemoryStore()
    store.insert_profiles(profiles)
    return store


def test_the_shipped_profiles_keep_the_rules_for_files() -> None:
    store = MemoryStore()

    plan = load_profiles(read_profiles(SHIPPED), store, now=NOW)

    assert len(plan.added) == 8
    assert all(profile.prices_as_of for profile in plan.added)
    without_id = [profile.model_dump(exclude={"id"}) for profile in plan.added]
    assert without_id == [profile.model_dump(exclude={"id"}) for profile in shipped_profiles(NOW)]


def test_every_field_is_configured_or_state() -> None:
    assert set(Profile.model_fields) >= STATE_FIELDS
    assert set(CONFIGURED) | STATE_FIELDS == set(Profile.model_fields)


def test_loading_twice_changes_nothing() -> None:
    store = make_store(make_profile("gpt4"))
    rows = [make_row("new"), {"model_name": "gpt4", "cost_per_input_token": 3e-6}]

    first = load_profiles(rows, store, now=NOW)
    before = store.profiles()
    second = load_profiles(rows, store, now=NOW)

    assert first.describe() == ["new: added", "gpt4: cost_per_input_token = 3e-06, prices_as_of = None"]
    assert second.describe() == ["unchanged: new, gpt4"]
    assert store.profiles() == before


def test_loading_leaves_what_was_recorded_and_switched() -> None:
    shown = PerformanceMetrics(total_requests=9)
    recorded = {"is_active": False, "is_available": False, "performance_metrics": shown, "probes": 4}
    store = make_store(make_profile("gpt4", **recorded))

    load_profiles([make_row("gpt4", model_version="gpt-6")], store, now=NOW)

    (gpt4,) = store.profiles()
    assert gpt4.model_version == "gpt-6"
    assert gpt4.model_dump(include=set(recorded)) == {**recorded, "performance_metrics": shown.model_dump()}


def test_what_a_row_leaves_out_stays() -> None:
    store = make_store(make_profile("gpt4", strengths="many"))

    load_profiles([{"model_name": "gpt4", "rate_limits": {"tokens_per_minute": 5}}], store, now=NOW)

    (gpt4,) = store.profiles()
    assert (gpt4.strengths, gpt4.rate_limits.requests_per_minute, gpt4.rate_limits.tokens_per_minute) == ("many", 10, 5)


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"api_endpoint": "ftp://example.org"}, "api_endpoint", "http"),
        ({"api_endpoint": "http://169.254.169.254/v1"}, "api_endpoint", "metadata"),
        ({"api_endpoint": "http://[fe80::1]/v1"}, "api_endpoint", "link-local"),
        ({"cost_per_input_token": 2.5}, "cost_per_input_token", "0.01 (US dollars per token)"),
        ({"cost_per_input_token": -1}, "cost_per_input_token", "at least 0"),
        ({"cost_per_output_token": float("nan")}, "cost_per_output_token", "finite"),
        ({"cost_per_reasoning_token": float("inf")}, "cost_per_reasoning_token", "finite"),
        ({"rate_limits": {"requests_per_minute": 0, "tokens_per_minute": 1}}, "rate_limits.requests_per_minute", "1"),
        ({"rate_limits": {"requests_per_hour": 0}}, "rate_limits.requests_per_minute", "missing"),
        ({"max_context_length": 10**30}, "max_context_length", "at most 1000000000000"),
        ({"max_output_tokens": 9000}, "max_output_tokens", "8000"),
        ({"specialties": ["cooking"]}, "specialties.0", "one of coding"),
        ({"specialties": []}, "specialties", "at least 1"),
        ({"dialect": "cobol"}, "dialect", "openai"),
        ({"prices_as_of": "yesterday"}, "prices_as_of", "YYYY-MM-DD"),
        ({"prices_as_of": "2026-02-30"}, "prices_as_of", "day"),
        ({"strengths": "\x1b[2J"}, "strengths", "control"),
        ({"strengths": "\udcff"}, "strengths", "Unicode"),
        ({"is_active": False}, "is_active", "enable"),
        ({"probes": 3}, "probes", "recorded"),
        ({"price": 3}, "price", "unknown; fields are model_name"),
    ],
)
def test_bad_fields_are_named_and_nothing_is_written(fields: dict[str, Any], field: str, problem: str) -> None:
    store = make_store(make_profile("gpt4"))
    before = store.profiles()

    with pytest.raises(InputError) as raised:
        load_profiles(
            [make_row("good"), {"model_name": "gpt4", "strengths": "x"}, make_row("bad", **fields)], store, now=NOW
        )

    assert raised.value.field == f"bad.{field}"
    assert problem in raised.value.problem
    assert store.profiles() == before


def test_a_name_must_be_one() -> None:
    with pytest.raises(InputError, match=r"GPT 4\.model_name: "):
        add_profiles([make_row("GPT 4")], MemoryStore(), now=NOW)


def test_adding_a_known_model_is_refused() -> None:
    store = make_store(make_profile("gpt4"))

    with pytest.raises(InputError, match="known already: gpt4"):
        add_profiles([make_row("new"), make_row("gpt4")], store, now=NOW)

    assert len(store.profiles()) == 1


def test_new_prices_have_a_new_date() -> None:
    store = make_store(make_profile("gpt4", prices_as_of="2024-12-01"))

    edit_profile("gpt4", {"strengths": "x"}, store, now=NOW, priced_on="2026-01-01")
    assert store.profiles()[0].prices_as_of == "2024-12-01"
    edit_profile("gpt4", {"cost_per_input_token": 5e-6}, store, now=NOW, priced_on="2026-01-01")
    assert store.profiles()[0].prices_as_of == "2026-01-01"
    fields = {"cost_per_input_token": 6e-6, "prices_as_of": "2026-02-01"}
    edit_profile("gpt4", fields, store, now=NOW, priced_on="2026-01-01")
    assert store.profiles()[0].prices_as_of == "2026-02-01"


def test_unknown_models_list_the_known_ones() -> None:
    store = make_store(make_profile("gpt4"), make_profile("qwen"))

    with pytest.raises(InputError, match="unknown: nope; known are gpt4, qwen"):
        edit_profile("nope", {"strengths": ""}, store, now=NOW)
    with pytest.raises(InputError, match="unknown: nope; known are gpt4, qwen"):
        switch_models(["gpt4", "nope"], store, is_active=False)
    assert all(profile.is_active for profile in store.profiles())


def test_a_race_is_planned_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store()
    write = store.write_profiles

    def be_late(*arguments: Any) -> bool:
        store.insert_profiles([make_profile("new")])
        return write(*arguments)

    monkeypatch.setattr(store, "write_profiles", be_late)
    with pytest.raises(InputError, match="known already: new"):
        add_profiles([make_row("new")], store, now=NOW)


def test_endless_races_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store()
    monkeypatch.setattr(store, "write_profiles", lambda *_: False)

    with pytest.raises(StoreUnavailableError):
        add_profiles([make_row("new")], store, now=NOW)


def test_a_plan_touches_nothing_else() -> None:
    gpt4 = make_profile("gpt4")

    plan = plan_profiles([{"model_name": "gpt4", "strengths": "new"}], {"gpt4": gpt4}, now=NOW)

    assert plan.changes_by_name == {"gpt4": {"strengths": "new"}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("profiles = [", "is no TOML"),
        ("", r"holds no \[\[profiles\]\] table"),
        ("profiles = [1]", r"holds no \[\[profiles\]\] table"),
        ("[[profile]]\nmodel_name='x'", "holds profile; only"),
        ("[[profiles]]\nprovider='x'", "without a model_name"),
        ("[[profiles]]\nmodel_name=3", "without a model_name"),
        ("[[profiles]]\nmodel_name='x'\n[[profiles]]\nmodel_name='x'", "holds x more than once"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)

    with pytest.raises(InputError, match=problem) as raised:
        read_profiles(path)

    assert str(path) in raised.value.problem


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_profiles(tmp_path / "nope.toml")


def test_a_day_may_be_a_date_of_tomls(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[[profiles]]\nmodel_name='x'\nprices_as_of=2026-01-01")

    assert read_profiles(path) == [{"model_name": "x", "prices_as_of": "2026-01-01"}]


def test_the_readmes_example_of_own_models_can_be_added_as_it_stands(tmp_path: Path) -> None:
    readme = (SHIPPED.parents[2] / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "own.toml"
    path.write_text(readme.partition("```toml\n")[2].partition("```")[0])
    store = MemoryStore()

    add_profiles(read_profiles(path), store, now=NOW)

    assert [(each.model_name, each.api_key_required) for each in store.profiles()] == [
        ("left", False),
        ("right", False),
    ]
    assert store.profiles()[0].rate_limits.max_concurrent_calls == 1
