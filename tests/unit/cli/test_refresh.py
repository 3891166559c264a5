"""models refresh, and what the list of models warns of."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from orchestratex.catalogues import refresh as catalogues
from orchestratex.domain.profile import Profile
from orchestratex.steps.periodic import probe_in_turn
from tests.support import World

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

RETIRED = {
    "model_version": "gpt-4-turbo-2024-04-09",
    "prices": [],
    "cost_per_input_token": 1e-5,
    "cost_per_output_token": 3e-5,
}


@pytest.fixture(autouse=True)
def _on_the_day(world: World) -> None:
    """The day for which the catalogues are pinned."""
    world.clock.pass_time((datetime(2026, 11, 27, tzinfo=UTC) - world.clock()).total_seconds())


def find(world: World, name: str) -> Profile:
    return next(profile for profile in world.store.profiles() if profile.model_name == name)


def test_the_shipped_eight_are_up_to_date(run: Run, world: World) -> None:
    before = world.store.profiles()

    plain, as_json = run("models", "refresh"), run("models", "refresh", "--json")

    assert (plain.code, as_json.code, plain.err) == (0, 0, "")
    assert plain.out.count(" stays\n") == 8
    assert "gemini (gemini-4-argon) stays" in plain.out
    assert "from 2026-12-01: $4 in, $20 out" in plain.out
    disputed = {each["model_name"] for each in json.loads(as_json.out) if each["is_disputed"]}
    assert disputed == {"gemini", "grok", "mistral"}
    assert world.store.profiles() == before


def test_a_retired_model_is_warned_of_and_replaced_when_that_is_applied(run: Run, world: World) -> None:
    world.store.update_profile("gpt4-turbo", RETIRED)

    warned, shown = run("models"), run("models", "refresh")
    assert find(world, "gpt4-turbo").model_version == RETIRED["model_version"]
    applied, after = run("models", "refresh", "--apply"), run("models")

    assert "gpt4-turbo: gpt-4-turbo-2024-04-09 was retired on 2026-10-23" in warned.err
    assert "gpt-6.1-terra takes its place in the slot gpt4-turbo" in shown.out
    assert "--apply" in shown.err
    assert (applied.code, after.err) == (0, "")
    turbo = find(world, "gpt4-turbo")
    assert (turbo.model_version, turbo.cost_per_output_token, len(turbo.prices)) == ("gpt-6.1-terra", 5e-6, 1)


def test_a_person_decides_whom_to_believe(run: Run, world: World) -> None:
    ran = run("models", "refresh", "mistral", "--trust", "genai-prices", "--apply")

    assert ran.code == 0
    mistral = find(world, "mistral")
    assert (mistral.cost_per_input_token, mistral.cost_per_output_token) == (7e-7, 2.1e-6)
    assert json.loads(run("models", "refresh", "mistral", "--json").out)[0]["is_disputed"] is False


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nobody",), "unknown: nobody"),
        (("mistral", "--trust", "hearsay"), "must be one of genai-prices, model-prices"),
        (("--trust", "genai-prices"), "wants the models' names"),
        (("qwen", "--trust", "genai-prices"), "genai-prices does not know what qwen3.8-max of alibaba costs"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, world: World, arguments: tuple[str, ...], problem: str) -> None:
    before = world.store.profiles()

    ran = run("models", "refresh", *arguments, "--apply")

    assert ran.code == 2
    assert problem in ran.err
    assert world.store.profiles() == before


def test_without_the_catalogues_only_our_own_table_is_told(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogues, "is_installed", lambda name: False)
    world.store.update_profile("gpt4-turbo", RETIRED)

    ran = run("models", "refresh", "--apply")

    assert ran.code == 0
    assert "pip install 'orchestratex[catalogues]'" in ran.err
    assert find(world, "gpt4-turbo").model_version == "gpt-6.1-terra"
    assert find(world, "claude").prices


def test_the_days_price_is_shown_before_it_is_written_and_written_by_the_beat(run: Run, world: World) -> None:
    def shown() -> float:
        listed = json.loads(run("models", "--json").out)
        return float(next(each["usd_per_million_output_tokens"] for each in listed if each["model_name"] == "gemini"))

    assert (shown(), find(world, "gemini").cost_per_output_token) == (10, 1e-5)
    world.clock.pass_time(timedelta(days=5).total_seconds())
    assert (shown(), find(world, "gemini").cost_per_output_token) == (20, 1e-5)

    probe_in_turn(world.services)

    gemini = find(world, "gemini")
    assert (gemini.cost_per_input_token, gemini.cost_per_output_token) == (4e-6, 2e-5)
    assert gemini.cost_per_cached_input_token == 2e-7
