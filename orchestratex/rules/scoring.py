"""How scores are weighted and put together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from orchestratex.domain.base import CRITERIA, SEVERE, Domain, Record
from orchestratex.domain.evaluation import Criteria, Evaluation
from orchestratex.rules.severity import count_severe

# Shares of the eight criteria by domain, in the order of CRITERIA; each row sums to 1.
_SHARES: dict[Domain, tuple[float, ...]] = {
    Domain.CODING: (0.30, 0.15, 0.10, 0.15, 0.02, 0.15, 0.03, 0.10),
    Domain.CREATIVE: (0.05, 0.20, 0.15, 0.15, 0.30, 0.05, 0.05, 0.05),
    Domain.FACTUAL: (0.40, 0.15, 0.10, 0.15, 0.02, 0.05, 0.05, 0.08),
    Domain.MATH: (0.45, 0.10, 0.10, 0.15, 0.02, 0.08, 0.02, 0.08),
    Domain.TRANSLATION: (0.40, 0.10, 0.20, 0.15, 0.03, 0.02, 0.02, 0.08),
    Domain.SENTIMENT: (0.40, 0.20, 0.10, 0.10, 0.02, 0.05, 0.03, 0.10),
    Domain.GENERAL: (0.25, 0.20, 0.15, 0.15, 0.08, 0.07, 0.05, 0.05),
}


_DIGITS = 12
UNKNOWN_ERROR = 1.5  # points: by so much single evaluators usually miss their panel's mean


class Aggregate(Record):
    """What a panel thought together."""

    score: float
    standard_error: float | None  # of the mean over evaluators; None with one evaluator
    evaluators: int
    severe: int  # severe criticisms on which two evaluators agree


def panel_confidence(*, evaluators: int, asked: int, standard_error: float | None) -> float:
    """How far a panel's score can be trusted, 1-10: 1 + 9 s / (1 + e).

    s is the share of the evaluators asked whose evaluations came, e the standard error of their mean in points. A
    single evaluator does not show how far evaluators differ: `UNKNOWN_ERROR` stands for it.
    """
    error = UNKNOWN_ERROR if standard_error is None else standard_error
    return 1 + 9 * min(1.0, evaluators / max(1, asked)) / (1 + error)


def round_score(score: float | None) -> float | None:
    """A score as it is shown, with two decimals; None where there is none."""
    return None if score is None else round(score, 2)


def scoring_weights(domain: Domain) -> dict[str, float]:
    """The share of each criterion in a domain; they sum to 1."""
    return dict(zip(CRITERIA, _SHARES[domain], strict=True))


def overall_score(criteria: Criteria, weights: Mapping[str, float]) -> float:
    """The weighted average of the criteria, 1-10."""
    total = math.fsum(weights.values())
    score = math.fsum(getattr(criteria, name) * weight for name, weight in weights.items()) / total
    return min(10.0, max(1.0, _tidy(score)))


def aggregate(evaluations: Sequence[Evaluation]) -> Aggregate | None:
    """The plain mean over evaluators; None over nothing. Failed evaluators are absent, never counted as 0."""
    if not evaluations:
        return None
    scores = [_score(evaluation) for evaluation in evaluations]
    mean = math.fsum(scores) / len(scores)
    return Aggregate(
        score=_tidy(mean),
        standard_error=_standard_error(scores, mean),
        evaluators=len(scores),
        severe=count_severe(evaluations),
    )


def improvement_noise(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> float:
    """The standard error of the difference between two panels' means, in points.

    Evaluators who scored both are compared with themselves, which takes their severity out; with fewer than two of
    them the two panels' own errors are added in quadrature. 0 where nothing is known about the spread.
    """
    earlier = {evaluation.evaluator_model: _score(evaluation) for evaluation in before}
    pairs = [_score(e) - earlier[e.evaluator_model] for e in after if e.evaluator_model in earlier]
    if len(pairs) >= 2:
        return _standard_error(pairs, math.fsum(pairs) / len(pairs)) or 0.0
    errors = [found.standard_error or 0.0 for found in (aggregate(before), aggregate(after)) if found]
    return math.hypot(*errors) if errors else 0.0


def improvement_score(old: float, new: float) -> float:
    """How much better a revision is than what it revised: 5.5 is equal, clipped to 1-10."""
    return min(10.0, max(1.0, _tidy(5.5 + new - old)))


def addresses_criticism(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> bool:
    """Whether at least half of the severe criticisms are no longer raised."""
    raised = _severe_points(before)
    return len(raised - _severe_points(after)) * 2 >= len(raised)


def maintains_strengths(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> bool:
    """Whether no criterion's mean over the panel fell by more than 1."""
    return all(_criterion_mean(after, name) >= _criterion_mean(before, name) - 1 for name in CRITERIA)


def weigh_refinement(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> dict[str, float | bool] | None:
    """The fields of a criticism response that the next weigh fills; None while one side has no evaluation."""
    old, new = aggregate(before), aggregate(after)
    if old is None or new is None:
        return None
    return {
        "improvement_score": improvement_score(old.score, new.score),
        "addresses_criticism": addresses_criticism(before, after),
        "maintains_strengths": maintains_strengths(before, after),
    }


def _tidy(score: float) -> float:
    """Without what binary fractions leave behind: ten times 10 weighed is 10, not 9.999999999999998."""
    return round(score, _DIGITS)


def _score(evaluation: Evaluation) -> float:
    return evaluation.overall_score if evaluation.calibrated_score is None else evaluation.calibrated_score


def _standard_error(values: Sequence[float], mean: float) -> float | None:
    if len(values) < 2:
        return None
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def _severe_points(evaluations: Sequence[Evaluation]) -> set[str]:
    return {
        " ".join(criticism.point.casefold().split())
        for evaluation in evaluations
        for criticism in evaluation.criticisms
        if criticism.severity in SEVERE
    }


def _criterion_mean(evaluations: Sequence[Evaluation], name: str) -> float:
    return math.fsum(getattr(e.evaluation_criteria, name) for e in evaluations) / len(evaluations)
