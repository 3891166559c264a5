from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratex.domain.base import CRITERIA, Domain
from orchestratex.domain.evaluation import Criteria, Evaluation
from orchestratex.rules.scoring import (
    addresses_criticism,
    aggregate,
    improvement_noise,
    improvement_score,
    maintains_strengths,
    overall_score,
    panel_confidence,
    scoring_weights,
    weigh_refinement,
)
from tests.make import make_criteria, make_criticism, make_evaluation


def panel(*scores: float, models: Sequence[str] = ("claude", "gpt4", "qwen", "llama")) -> list[Evaluation]:
    return [
        make_evaluation(overall_score=score, evaluator_model=model)
        for score, model in zip(scores, models, strict=False)
    ]


@pytest.mark.parametrize("domain", Domain)
def test_weights_name_every_criterion_and_sum_to_one(domain: Domain) -> None:
    weights = scoring_weights(domain)

    assert tuple(weights) == CRITERIA
    assert math.fsum(weights.values()) == pytest.approx(1, abs=1e-12)
    assert min(weights.values()) > 0


@given(st.lists(st.floats(1, 10), min_size=8, max_size=8), st.sampled_from(Domain))
def test_a_weighted_average_lies_between_its_parts(values: list[float], domain: Domain) -> None:
    criteria = Criteria.model_validate(dict(zip(CRITERIA, values, strict=True)))

    score = overall_score(criteria, scoring_weights(domain))

    assert max(1.0, min(values) - 1e-9) <= score <= min(10.0, max(values) + 1e-9)


def test_a_weighted_average_is_one() -> None:
    criteria = make_criteria(1, accuracy=10)

    assert overall_score(criteria, {"accuracy": 3, "clarity": 1}) == pytest.approx(7.75)


def test_a_panel_of_nobody_has_no_score() -> None:
    assert aggregate([]) is None


def test_one_evaluator_has_no_error() -> None:
    found = aggregate(panel(7))

    assert found is not None
    assert (found.score, found.standard_error, found.evaluators) == (7, None, 1)


def test_a_panel_thinks_the_mean() -> None:
    evaluations = [
        make_evaluation(overall_score=6, criticisms=[make_criticism(severity="critical"), make_criticism()]),
        make_evaluation(overall_score=8, criticisms=[make_criticism(severity="major")]),
    ]

    found = aggregate(evaluations)

    assert found is not None
    assert found.standard_error == pytest.approx(1)
    assert (found.score, found.evaluators, found.severe) == (7, 2, 3)


def test_a_calibrated_score_counts_before_the_raw_one() -> None:
    found = aggregate([make_evaluation(overall_score=9, calibrated_score=5)])

    assert found is not None
    assert found.score == 5


@pytest.mark.parametrize(
    ("before", "after", "noise"),
    [
        ((5, 7), (6, 8), 0),  # each rose by one: severity is taken out
        ((5, 7), (5, 9), 1),
        ((5,), (9,), 0),
        ((), (), 0),
        ((5, 7), (), 1),
        ((5, 7), (6,), 1),  # one in common: the panels' own errors
    ],
)
def test_the_noise_of_an_improvement(before: Sequence[float], after: Sequence[float], noise: float) -> None:
    assert improvement_noise(panel(*before), panel(*after)) == pytest.approx(noise)


def test_the_noise_of_two_different_panels_adds_in_quadrature() -> None:
    noise = improvement_noise(panel(5, 7), panel(4, 6, models=("qwen", "llama")))

    assert noise == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(("old", "new", "score"), [(5, 5, 5.5), (5, 6, 6.5), (10, 1, 1), (1, 10, 10), (6, 5, 4.5)])
def test_an_improvement_is_told_from_one_to_ten(old: float, new: float, score: float) -> None:
    assert improvement_score(old, new) == score


@pytest.mark.parametrize(
    ("raised", "left", "is_addressed"),
    [(["a", "b"], ["B"], True), (["a", "b", "c"], ["a", "b"], False), ([], [], True), (["a"], ["a"], False)],
)
def test_criticism_is_addressed_when_half_of_it_is_gone(raised: list[str], left: list[str], is_addressed: bool) -> None:
    before = [make_evaluation(criticisms=[make_criticism(point) for point in raised])]
    after = [make_evaluation(criticisms=[make_criticism(point) for point in left])]

    assert addresses_criticism(before, after) is is_addressed


@pytest.mark.parametrize(("accuracy", "is_kept"), [(6, True), (5.9, False), (9, True)])
def test_strengths_are_kept_while_no_criterion_falls_by_more_than_one(accuracy: float, is_kept: bool) -> None:
    after = [make_evaluation(evaluation_criteria=make_criteria(7, accuracy=accuracy))]

    assert maintains_strengths([make_evaluation()], after) is is_kept


def test_a_refinement_is_weighed_with_both_sides() -> None:
    assert weigh_refinement(panel(5), []) is None
    assert weigh_refinement([], panel(5)) is None
    assert weigh_refinement(panel(5), panel(6)) == {
        "improvement_score": 6.5,
        "addresses_criticism": True,
        "maintains_strengths": True,
    }


@pytest.mark.parametrize(
    ("evaluators", "asked", "error", "confidence"),
    [(3, 3, 0.0, 10), (3, 3, 1.0, 5.5), (1, 1, None, 4.6), (1, 3, None, 2.2), (2, 4, 0.5, 4.0), (5, 4, 0.0, 10)],
)
def test_confidence_falls_with_what_is_missing_and_with_disagreement(
    evaluators: int, asked: int, error: float | None, confidence: float
) -> None:
    found = panel_confidence(evaluators=evaluators, asked=asked, standard_error=error)

    assert found == pytest.approx(confidence)


@pytest.mark.parametrize("domain", Domain)
@pytest.mark.parametrize("value", [1, 3, 7, 8.5, 10])
def test_a_weighted_average_of_one_value_is_that_value(domain: Domain, value: float) -> None:
    assert overall_score(make_criteria(value), scoring_weights(domain)) == value


def test_a_mean_has_no_digits_that_only_binary_fractions_bring() -> None:
    scores = (9.999999999999998, 10.0, 9.999999999999998)

    found = aggregate([make_evaluation(overall_score=score) for score in scores])

    assert found is not None
    assert found.score == 10.0
    assert improvement_score(8.1, 8.4) == 5.8
