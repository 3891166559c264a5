from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratex.domain.thread import ThreadOptions
from orchestratex.rules.panel import affordable_subset, choose_evaluators, wanted_evaluators
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


FAMILIES = [
    make_profile(name, provider=provider, cost_per_input_token=price, cost_per_output_token=price)
    for name, provider, price in (
        ("a-large", "a", 9e-6),
        ("a-small", "a", 1e-6),
        ("b-large", "b", 8e-6),
        ("b-small", "b", 2e-6),
        ("c-large", "c", 7e-6),
        ("d-large", "d", 6e-6),
        ("e-free", "e", 0),
    )
]


@pytest.mark.parametrize(
    ("author", "size", "chosen"),
    [
        ("c-large", 3, ["a-small", "b-small", "e-free"]),  # the cheapest of the cheapest families
        ("c-large", 4, ["a-small", "b-small", "d-large", "e-free"]),  # not a-large nor b-large: families go first
        ("c-large", 5, ["a-small", "b-large", "b-small", "d-large", "e-free"]),  # then the cheapest of what is left
        ("a-large", 4, ["b-small", "c-large", "d-large", "e-free"]),  # nobody of the author's family
        ("a-large", 6, ["a-small", "b-large", "b-small", "c-large", "d-large", "e-free"]),  # but where all are wanted
        ("e-free", 1, ["a-small"]),
        ("c-large", 9, ["a-large", "a-small", "b-large", "b-small", "d-large", "e-free"]),
    ],
)
def test_the_default_panel_is_cheap_and_of_different_families(author: str, size: int, chosen: list[str]) -> None:
    panel = choose_evaluators(FAMILIES, ThreadOptions(), author=author, size=size)

    assert [profile.model_name for profile in panel] == chosen
    assert wanted_evaluators(FAMILIES, ThreadOptions(), author=author, size=size) == len(chosen)


@pytest.mark.parametrize("author", [profile.model_name for profile in FAMILIES])
@pytest.mark.parametrize("size", range(1, 8))
def test_nobody_evaluates_itself_whatever_the_size(author: str, size: int) -> None:
    panel = choose_evaluators(FAMILIES, ThreadOptions(), author=author, size=size)

    assert author not in {profile.model_name for profile in panel}
    assert len(panel) == min(size, 6)


def test_a_named_panel_is_taken_whole_whatever_the_size() -> None:
    options = ThreadOptions(evaluators=["a-large", "a-small", "b-large"])

    panel = choose_evaluators(FAMILIES, options, author="a-small", size=1)

    assert [profile.model_name for profile in panel] == ["a-large", "b-large"]
    assert wanted_evaluators(FAMILIES, options, author="a-small", size=1) == 2


def test_a_missing_model_leaves_its_seat_to_the_next() -> None:
    away = [p.model_copy(update={"is_available": p.model_name != "e-free"}) for p in FAMILIES]

    panel = choose_evaluators(away, ThreadOptions(), author="c-large", size=3)

    assert [profile.model_name for profile in panel] == ["a-small", "b-small", "d-large"]
    assert wanted_evaluators(away, ThreadOptions(), author="c-large", size=3) == 3


def test_writers_of_earlier_versions_are_not_seated_while_two_others_are_there() -> None:
    few = [p for p in FAMILIES if p.model_name in {"a-small", "b-small", "c-large", "e-free"}]

    panel = choose_evaluators(few, ThreadOptions(), author="c-large", earlier_authors={"e-free"}, size=3)

    assert [profile.model_name for profile in panel] == ["a-small", "b-small"]


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
