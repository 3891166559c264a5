from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratex.domain.thread import ThreadOptions
from orchestratex.rules.panel import affordable_subset, choose_evaluators
from tests.make import make_profile

NAMES = ("claude", "gpt4", "llama", "qwen")
PROFILES = [make_profile(name) for name in NAMES]


@pytest.mark.parametrize(
    ("options", "earlier", "chosen"),
    [
        ({}, (), ["claude", "llama", "qwen"]),
        ({"excluded_models": ["qwen"]}, (), ["claude", "llama"]),
        ({"evaluators": ["qwen", "gpt4"]}, (), ["qwen"]),
        ({"evaluators": ["gpt4"]}, (), []),
        ({"evaluators": ["nobody"]}, (), []),
        ({}, ("claude",), ["llama", "qwen"]),
        ({}, ("claude", "llama"), ["claude", "llama", "qwen"]),  # one stranger is no panel
        ({"evaluators": ["qwen"], "excluded_models": ["qwen"]}, (), []),
    ],
)
def test_who_evaluates(options: dict[str, Any], earlier: tuple[str, ...], chosen: list[str]) -> None:
    made = ThreadOptions.model_validate(options)

    panel = choose_evaluators(PROFILES, made, author="gpt4", earlier_authors=earlier)

    assert [profile.model_name for profile in panel] == chosen


def test_a_model_that_is_away_does_not_evaluate() -> None:
    profiles = [make_profile("claude", is_available=False), make_profile("qwen")]

    assert [p.model_name for p in choose_evaluators(profiles, ThreadOptions(), author="gpt4")] == ["qwen"]


@pytest.mark.parametrize(
    ("amounts", "available", "chosen"),
    [
        ({"a": 5, "b": 3, "c": 4}, None, ["a", "b", "c"]),
        ({"a": 5, "b": 3, "c": 4}, 12, ["a", "b", "c"]),
        ({"a": 5, "b": 3, "c": 4}, 11, ["b", "c"]),
        ({"a": 5, "b": 3, "c": 4}, 6, ["b"]),
        ({"a": 5, "b": 3, "c": 4}, 2, []),
        ({"a": 5, "b": 0}, 0, ["b"]),
        ({"b": 3, "a": 3}, 3, ["a"]),
        ({}, 5, []),
        ({"a": 1}, -1, []),
    ],
)
def test_what_the_budget_allows(amounts: dict[str, int], available: int | None, chosen: list[str]) -> None:
    assert affordable_subset(amounts, available) == chosen


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 100)), st.integers(0, 400))
def test_the_largest_part_that_fits_is_taken(amounts: dict[str, int], available: int) -> None:
    chosen = affordable_subset(amounts, available)

    spent = sum(amounts[name] for name in chosen)
    left = [amount for name, amount in amounts.items() if name not in chosen]
    assert spent <= available
    assert not left or spent + min(left) > available
    assert [name for name in amounts if name in chosen] == chosen
