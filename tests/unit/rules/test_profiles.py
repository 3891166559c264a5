from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

import orchestratex
from orchestratex.domain.base import Domain, Strategy
from orchestratex.domain.profile import Profile
from orchestratex.rules.selection import Facts, Question, rank

NOW = datetime(2025, 1, 1, tzinfo=UTC)
FILE = Path(orchestratex.__file__).parent / "store" / "profiles.toml"


def read_shipped() -> list[Profile]:
    rows = tomllib.loads(FILE.read_text(encoding="utf-8"))["profiles"]
    return [Profile(**row, created_at=NOW, updated_at=NOW) for row in rows]


def test_ships_the_eight_models_of_the_schema() -> None:
    names = {profile.model_name for profile in read_shipped()}

    assert names == {"gpt4", "gpt4-turbo", "grok", "qwen", "claude", "llama", "mistral", "gemini"}


def test_spells_only_fields_that_profiles_have() -> None:
    for row in tomllib.loads(FILE.read_text(encoding="utf-8"))["profiles"]:
        assert set(row) <= set(Profile.model_fields)


@pytest.mark.parametrize("profile", read_shipped(), ids=lambda profile: profile.model_name)
def test_shipped_values_are_plausible(profile: Profile) -> None:
    assert 1e-7 < profile.cost_per_input_token <= profile.cost_per_output_token < 1e-4
    assert profile.max_output_tokens < profile.max_context_length
    assert len(set(profile.specialties)) == len(profile.specialties) > 0
    assert profile.api_endpoint.startswith("https://")
    assert "en" in profile.supported_languages
    assert profile.strengths
    assert profile.weaknesses
    assert profile.best_use_cases


@pytest.mark.parametrize("domain", list(Domain))
@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_domain_and_strategy_chooses_among_the_shipped(domain: Domain, strategy: Strategy) -> None:
    ranking = rank(read_shipped(), Question(domain=domain, language="en", strategy=strategy), Facts())

    assert len(ranking.candidates) == 8
    assert ranking.selected == ranking.candidates[0].model_name
    assert ranking.runner_up == ranking.candidates[1].model_name
