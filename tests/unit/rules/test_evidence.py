from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratex.domain.base import Domain
from orchestratex.rules.evidence import CELL_SPREAD, MODEL_SPREAD, Evidence, draw

MODELS = ("claude", "gpt4", "qwen")
CELLS = st.tuples(st.sampled_from(MODELS), st.sampled_from(list(Domain)))
SUMS = st.tuples(st.integers(0, 200), st.floats(1, 10)).map(lambda pair: (pair[0], pair[0] * pair[1]))


def claim(model: str, domain: Domain) -> float:
    return 8.0 if model == "gpt4" else 7.0


def test_without_answers_the_claim_is_expected_and_all_is_doubted() -> None:
    expected = Evidence({}, claim).expect("gpt4", Domain.MATH)

    assert (expected.score, expected.answers, expected.total) == (8.0, 0, 0)
    assert expected.spread == pytest.approx((MODEL_SPREAD**2 + CELL_SPREAD**2) ** 0.5)
    assert Evidence({}, claim).mean("gpt4") is None


def test_many_answers_are_believed_and_few_are_not() -> None:
    def expect(answers: int) -> float:
        return Evidence({("gpt4", Domain.MATH): (answers, 5.0 * answers)}, claim).expect("gpt4", Domain.MATH).score

    assert 8 > expect(1) > expect(5) > expect(500)
    assert expect(500) == pytest.approx(5, abs=0.05)


def test_the_mean_leaves_out_what_a_domain_gives_to_all() -> None:
    history = {(model, Domain.CREATIVE): (50, 450.0) for model in MODELS} | {
        (model, Domain.MATH): (50, 350.0 if model == "qwen" else 300.0) for model in MODELS
    }
    evidence = Evidence(history, lambda model, domain: 7.0)

    alone = Evidence({("claude", Domain.CREATIVE): (50, 450.0)}, lambda model, domain: 7.0)
    assert (evidence.mean("qwen") or 0) > (evidence.mean("claude") or 0)
    assert (alone.mean("claude") or 0) < 9


@given(st.dictionaries(CELLS, SUMS))
def test_counts_are_kept_and_doubt_never_grows_with_answers(
    history: dict[tuple[str, Domain], tuple[int, float]],
) -> None:
    evidence = Evidence(history, claim)
    nothing = Evidence({}, claim)

    for model in MODELS:
        assert evidence.count(model) == sum(count for (name, _), (count, _) in history.items() if name == model)
        for domain in Domain:
            found = evidence.expect(model, domain)
            assert found.total == evidence.count(model)
            assert 0 < found.spread <= nothing.expect(model, domain).spread
            assert -5 < found.score < 15


def test_draws_are_even_among_models_and_known_by_their_seed() -> None:
    drawn = {model: [draw(f"prompt {number}", model) for number in range(2000)] for model in MODELS}

    for model, values in drawn.items():
        assert draw("prompt 0", model) == values[0]
        assert min(values) == 0
        assert statistics.fmean(value > 0 for value in values) == pytest.approx(0.5, abs=0.05)
        assert statistics.fmean(values) == pytest.approx(0.4, abs=0.05)  # half of a normal's mean distance
    assert len({tuple(values) for values in drawn.values()}) == 3
