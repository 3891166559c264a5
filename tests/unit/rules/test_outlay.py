from __future__ import annotations

from datetime import timedelta

import pytest

from orchestratex.domain.prices import Period, PriceSchedule, Tier
from orchestratex.rules.outlay import expect_evaluation_cost, expect_thread_cost
from tests.make import NOW, make_profile

FREE = make_profile("free", cost_per_input_token=0, cost_per_output_token=0)
CHEAP = make_profile("cheap", cost_per_input_token=1e-6, cost_per_output_token=1e-6)
DEAR = make_profile("dear", cost_per_input_token=1e-5, cost_per_output_token=3e-5)


def expect(author: str = "free", panel: int = 0, iterations: int = 1, tokens: int = 100) -> float:
    authors = {"free": FREE, "cheap": CHEAP, "dear": DEAR}
    return expect_thread_cost(authors[author], [CHEAP] * panel, prompt_tokens=tokens, max_iterations=iterations, at=NOW)


def test_a_thread_costs_its_answer_its_revisions_and_its_panels() -> None:
    assert expect() == 0
    assert expect("cheap") == pytest.approx(700e-6)
    assert expect(panel=4) == pytest.approx(4 * expect_evaluation_cost(CHEAP, prompt_tokens=100))
    assert expect("cheap", panel=4) == pytest.approx(expect("cheap") + expect(panel=4))


def test_more_rounds_more_evaluators_dearer_authors_and_longer_prompts_cost_more() -> None:
    assert expect("cheap", 4, 1) < expect("cheap", 4, 3) < expect("cheap", 4, 10)
    assert expect("cheap", 3, 3) < expect("cheap", 7, 3)
    assert expect("cheap", 4, 3) < expect("dear", 4, 3)
    assert expect("cheap", 4, 3) < expect("cheap", 4, 3, tokens=10_000)


def test_a_panel_makes_authors_more_alike() -> None:
    alone = expect("dear") / expect("cheap")
    whole = expect("dear", 7, 3) / expect("cheap", 7, 3)

    assert whole < alone


def test_long_prompts_and_later_days_are_expected_at_their_own_prices() -> None:
    schedule = PriceSchedule(
        source="a list",
        periods=[
            Period(input=1, output=1, tiers=[Tier(above=10_000, input=3, output=1)]),
            Period(since=NOW + timedelta(days=1), input=2, output=2),
        ],
    )
    author = make_profile("tiered", prices=[schedule], cost_per_input_token=1e-6, cost_per_output_token=1e-6)

    def expect_answer(tokens: int, days: int = 0) -> float:
        moment = NOW + timedelta(days=days)
        return expect_thread_cost(author, [], prompt_tokens=tokens, max_iterations=1, at=moment)

    assert expect_answer(10_000) == pytest.approx(10_600e-6)
    assert expect_answer(10_001) == pytest.approx(3 * 10_001e-6 + 600e-6)
    assert expect_answer(10_000, days=1) == pytest.approx(2 * 10_600e-6)
