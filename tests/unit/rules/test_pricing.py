from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratex.domain.base import CostSource
from orchestratex.domain.prices import Span
from orchestratex.domain.response import Completion, Usage
from orchestratex.rules.pricing import (
    completion_cost,
    estimate_tokens,
    estimate_usage,
    price,
    prompt_tokens,
    worst_case,
)
from tests.make import NOW, make_profile

MOMENT = Span(NOW, NOW)
FREE = make_profile(cost_per_input_token=0, cost_per_output_token=0)
PRICED = make_profile(cost_per_input_token=2.5e-6, cost_per_output_token=1e-5)
PRICES = st.decimals(min_value=0, max_value="0.001", places=12, allow_nan=False).map(float)
TOKENS = st.integers(min_value=0, max_value=2_000_000)


@pytest.mark.parametrize(
    ("input_price", "output_price", "tokens", "nanos"),
    [
        (2.5e-6, 1e-5, (1, 1), 12_500),
        (2.5e-6, 1e-5, (0, 0), 0),
        (1e-9, 0, (1, 0), 1),
        (1e-10, 0, (1, 0), 1),
        (1e-10, 0, (11, 0), 2),
        (1e-10, 1e-10, (5, 5), 1),
        (7.5e-8, 3e-7, (3, 7), 2325),
        (1e-6, 3e-6, (10**9, 0), 10**12),
    ],
)
def test_prices_are_exact_and_rounded_up_once(
    input_price: float, output_price: float, tokens: tuple[int, int], nanos: int
) -> None:
    profile = make_profile(cost_per_input_token=input_price, cost_per_output_token=output_price)

    assert price(profile, Usage(input_tokens=tokens[0], output_tokens=tokens[1]), at=NOW) == nanos


@given(PRICES, PRICES, TOKENS, TOKENS)
def test_a_price_is_less_than_a_nano_dollar_above_the_true_one(
    given_price: float, made_price: float, given_tokens: int, made_tokens: int
) -> None:
    profile = make_profile(cost_per_input_token=given_price, cost_per_output_token=made_price)

    nanos = price(profile, Usage(input_tokens=given_tokens, output_tokens=made_tokens), at=NOW)

    true = given_tokens * Fraction(Decimal(str(given_price))) + made_tokens * Fraction(Decimal(str(made_price)))
    assert 0 <= nanos - true * 10**9 < 1


@given(PRICES, PRICES, st.data())
def test_no_usage_within_its_bounds_costs_more_than_the_worst_case(
    given_price: float, made_price: float, data: st.DataObject
) -> None:
    profile = make_profile(cost_per_input_token=given_price, cost_per_output_token=made_price)
    input_tokens, max_tokens = data.draw(TOKENS), data.draw(TOKENS)
    used = Usage(
        input_tokens=data.draw(st.integers(0, input_tokens)), output_tokens=data.draw(st.integers(0, max_tokens))
    )

    cost, source, _ = completion_cost(profile, Completion(text="", usage=used), prompt="", at=NOW)

    assert cost <= worst_case(profile, input_tokens=input_tokens, max_tokens=max_tokens, span=MOMENT)
    assert source is CostSource.COMPUTED


USED = Usage(input_tokens=100, output_tokens=10, total_tokens=110)


@pytest.mark.parametrize(
    ("completion", "cost", "source"),
    [
        (Completion(text="t", usage=USED), 350_000, CostSource.COMPUTED),
        (Completion(text="t", usage=USED, cost_usd=0.5), 500_000_000, CostSource.PROVIDER),
        (Completion(text="t", usage=USED, cost_usd=0), 350_000, CostSource.COMPUTED),
        (Completion(text="t", cost_usd=0.5), 500_000_000, CostSource.PROVIDER),
    ],
)
def test_the_best_known_amount_wins(completion: Completion, cost: int, source: CostSource) -> None:
    assert completion_cost(PRICED, completion, prompt="p", at=NOW)[:2] == (cost, source)


@pytest.mark.parametrize("cost_usd", [None, 0])
def test_without_usage_the_cost_is_estimated_from_the_texts(cost_usd: float | None) -> None:
    completion = Completion(text="Rayleigh scattering", cost_usd=cost_usd)

    cost, source, usage = completion_cost(PRICED, completion, prompt="Why is the sky blue?", at=NOW)

    assert source is CostSource.ESTIMATED
    assert usage == estimate_usage("Why is the sky blue?", "Rayleigh scattering")
    assert cost == price(PRICED, usage, at=NOW)


def test_free_models_cost_nothing() -> None:
    assert completion_cost(FREE, Completion(text="t", usage=USED), prompt="p", at=NOW)[0] == 0
    assert completion_cost(FREE, Completion(text="t"), prompt="p", at=NOW)[0] == 0
    assert worst_case(FREE, input_tokens=10**6, max_tokens=10**6, span=MOMENT) == 0


@given(st.text(max_size=400))
def test_an_estimate_is_not_below_a_token_for_four_characters(text: str) -> None:
    assert estimate_tokens(text) >= max(1, len(text) / 4 - 1 if text.strip() else 0)


@pytest.mark.parametrize(
    ("text", "tokens"),  # as counted by cl100k, a common byte-pair encoding
    [
        ("", 0),
        ("Hello, world!", 4),
        ("The quick brown fox jumps over the lazy dog.", 10),
        ("def f(x):\n    return x + 1\n", 12),
        ("1\n2\n3\n", 6),
        ("a\nb\nc\n", 6),
        ("1234567890", 4),
        ("你好，世界", 7),
        ("  a  b  c", 6),
        ("\t\t\tx", 2),
        ("{}[]()<>;:", 8),
    ],
)
def test_an_estimate_is_not_below_a_real_count(text: str, tokens: int) -> None:
    assert estimate_tokens(text) >= tokens


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_longer_text_is_not_estimated_lower(one: str, two: str) -> None:
    assert estimate_tokens(one + "\n" + two) >= max(estimate_tokens(one), estimate_tokens(two))


def test_a_prompt_costs_more_than_its_text() -> None:
    assert prompt_tokens("hello") > estimate_tokens("hello")


def test_an_estimated_usage_adds_up() -> None:
    usage = estimate_usage("prompt", "reply")

    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


@pytest.mark.parametrize(
    ("prices", "usage", "nanos"),
    [
        ({}, (100, 10, 40, 5), 100 * 1000 + 10 * 2000),
        ({"cost_per_cached_input_token": 1e-7}, (100, 10, 40, 5), 60 * 1000 + 40 * 100 + 10 * 2000),
        ({"cost_per_cached_input_token": 0}, (100, 10, 100, 0), 10 * 2000),
        ({"cost_per_reasoning_token": 5e-6}, (100, 10, 0, 5), 100 * 1000 + 5 * 2000 + 5 * 5000),
        ({"cost_per_cached_input_token": 1e-7, "cost_per_reasoning_token": 0}, (10, 10, 99, 99), 10 * 100),
        ({"cost_per_cached_input_token": 1e-10}, (1, 0, 1, 0), 1),
    ],
)
def test_cached_and_reasoning_tokens_have_their_own_prices(
    prices: dict[str, float], usage: tuple[int, int, int, int], nanos: int
) -> None:
    given_tokens, made, cached, reasoning = usage
    used = Usage(input_tokens=given_tokens, output_tokens=made, cached_tokens=cached, reasoning_tokens=reasoning)

    assert price(make_profile("gpt4", **prices), used, at=NOW) == nanos


@given(st.tuples(PRICES, PRICES, st.none() | PRICES, st.none() | PRICES), st.data())
def test_no_kind_of_token_costs_more_than_the_worst_case(
    prices: tuple[float, float, float | None, float | None], data: st.DataObject
) -> None:
    names = (
        "cost_per_input_token",
        "cost_per_output_token",
        "cost_per_cached_input_token",
        "cost_per_reasoning_token",
    )
    profile = make_profile("gpt4", **dict(zip(names, prices, strict=True)))
    input_tokens, max_tokens = data.draw(TOKENS), data.draw(TOKENS)
    used = Usage(
        input_tokens=data.draw(st.integers(0, input_tokens)),
        output_tokens=data.draw(st.integers(0, max_tokens)),
        cached_tokens=data.draw(TOKENS),
        reasoning_tokens=data.draw(TOKENS),
    )

    cost, _, _ = completion_cost(profile, Completion(text="", usage=used), prompt="", at=NOW)

    assert 0 <= cost <= worst_case(profile, input_tokens=input_tokens, max_tokens=max_tokens, span=MOMENT)


def test_a_schema_counts_as_input() -> None:
    schema = {"type": "object", "properties": {"why": {"type": "string"}}}

    assert prompt_tokens("p", json_schema=schema) > prompt_tokens("p") + 1000
    assert estimate_usage("p", "r", json_schema=schema).input_tokens == prompt_tokens("p", json_schema=schema)
