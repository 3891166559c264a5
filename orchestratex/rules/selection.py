"""Which model answers: five scores a candidate, a strategy that weighs them, and a bonus for the little tried.

All scores are 1 (worst) to 10 (best). The bonus makes every active model be tried in the domains that it claims: it is
drawn by seed from what is not known about the model, and fades with each of its rated answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from orchestratex.domain.base import Domain, ModelName, Record, Score, Strategy
from orchestratex.domain.profile import Profile
from orchestratex.domain.selection import Candidate
from orchestratex.rules.candidates import (
    Scores,
    align_specialty,
    claim_quality,
    clip,
    doubt_quality,
    judge_history,
    match_domain,
    score_availability,
    score_cost,
)
from orchestratex.rules.evidence import Evidence, Expectation, History, draw
from orchestratex.rules.reasons import explain_absence, explain_candidate, explain_overrides, name_factors

ALGORITHM_VERSION: Final = "2"

UNAVAILABLE_SHARE: Final = 0.1  # of the points beyond 1 that a model keeps whose last probe failed
AUTHOR_BONUS: Final = 0.75  # it knows its own text
SUCCESS_BONUS: Final = 0.25
FAILURE_BONUS: Final = -1.0
CLEAR_MARGIN: Final = 2.0  # a lead beyond which more lead adds no confidence
KNOWN_ANSWERS: Final = 10  # rated answers from which on a model is known half
HINDSIGHT_TOLERANCE: Final = 1.0  # evaluators' noise: a point below expectation is not yet a bad choice
ACCEPTABLE: Final = 5.5  # the middle of the scale: the bar where there was no alternative


class NoCandidateError(ValueError):
    """Raised when no active model is left that may answer; the message says why each is out."""


class Ranking(Record):
    """The choice with its candidates, best first."""

    candidates: list[Candidate]
    selected: ModelName
    runner_up: ModelName | None  # None: only one candidate
    margin: float | None  # in final_score, 0 where a preference went before a better score; None: only one candidate
    confidence: Score
    factors: list[str]
    override_reasons: str


class Hindsight(Record):
    """How good a selection was, told from the score that its response got."""

    selection_success: bool | None
    selection_accuracy_score: float | None


class Question(Record):
    """What the candidates are wanted for."""

    domain: Domain
    language: str | None = None
    strategy: Strategy = Strategy.HYBRID
    seed: str = ""  # of the bonus for the little tried
    exploration: float = 0.0  # scales that bonus; 0: there is none


@dataclass(frozen=True)
class Facts:
    """What is known of the models beside their profiles; who is not named in it has nothing of it."""

    costs: Mapping[str, float] = field(default_factory=dict)  # US$ for a whole thread, expected, by who answers it
    history: History = field(default_factory=dict)  # rated first answers
    load: Mapping[str, float] = field(default_factory=dict)  # share of its rate limit that is in use
    bonus: Mapping[str, float] = field(default_factory=dict)  # points earned in the thread


class _Assessed(NamedTuple):
    profile: Profile
    raw: float  # final_score before it is clipped
    candidate: Candidate


WEIGHTS: Final[Mapping[Strategy, Mapping[str, float]]] = {
    Strategy.DOMAIN_MATCH: {
        "domain_match_score": 0.65,
        "specialty_alignment": 0.15,
        "historical_performance": 0.10,
        "availability_score": 0.10,
    },
    Strategy.PERFORMANCE: {
        "historical_performance": 0.60,
        "domain_match_score": 0.25,
        "availability_score": 0.15,
    },
    Strategy.COST: {
        "cost_efficiency": 0.60,
        "domain_match_score": 0.20,
        "historical_performance": 0.10,
        "availability_score": 0.10,
    },
    Strategy.HYBRID: {  # a claim (specialty) is in the domain match already, until answers say more
        "domain_match_score": 0.60,
        "historical_performance": 0.15,
        "cost_efficiency": 0.10,
        "availability_score": 0.10,
        "specialty_alignment": 0.05,
    },
}
_QUALITY: Final = ("domain_match_score", "historical_performance")  # what the bonus for the little tried is about


def _weigh(weights: Mapping[str, float]) -> Callable[[Scores], float]:
    return lambda scores: sum(weight * float(getattr(scores, name)) for name, weight in weights.items())


STRATEGIES: Final[Mapping[Strategy, Callable[[Scores], float]]] = {
    strategy: _weigh(weights) for strategy, weights in WEIGHTS.items()
}


def rank(
    profiles: Sequence[Profile],
    question: Question,
    facts: Facts,
    *,
    preferred: Collection[str] = (),
    excluded: Collection[str] = (),
    unavailable: Mapping[str, str] | None = None,
) -> Ranking:
    """Choose among the active models that are neither excluded nor in `unavailable` (model to reason).

    `final_score` is the strategy's weighted mean plus what the model earned in the thread plus the bonus for the little
    tried, clipped to 1-10; of the points beyond 1 a model keeps a tenth while its last probe failed, and it is chosen
    only where no other candidate is left. Preferred models go before all others as long as one of them is available.
    Ties go to the name that sorts first. Raises NoCandidateError when nobody is left.
    """
    replaced = unavailable or {}
    left = [p for p in profiles if p.is_active and p.model_name not in excluded and p.model_name not in replaced]
    if not left:
        raise NoCandidateError(explain_absence(profiles, excluded, replaced))
    assessed = _assess_all(profiles, left, question, facts)
    liked = [each for each in assessed if each.profile.model_name in preferred and each.profile.is_available]
    first = (liked or assessed)[0]
    others = [each for each in liked if each is not first] or [each for each in assessed if each is not first]
    second = others[0] if others else None
    margin = max(first.candidate.final_score - second.candidate.final_score, 0.0) if second else None
    candidates = [each.candidate for each in assessed]
    return Ranking(
        candidates=candidates,
        selected=first.profile.model_name,
        runner_up=second.profile.model_name if second else None,
        margin=margin,
        confidence=_trust(margin, [each.candidate for each in (first, second) if each is not None]),
        factors=name_factors(first.candidate, candidates, WEIGHTS[question.strategy]),
        override_reasons=explain_overrides(
            first.profile,
            best=candidates[0].model_name,
            preferred=preferred,
            excluded=excluded,
            replaced=replaced,
        ),
    )


def refinement_bonus(author: str, outcomes: Mapping[str, list[bool]]) -> dict[str, float]:
    """Return what a model gains as a refiner: its author 0.75, each earlier refinement +0.25 if it helped, else -1."""
    earned = {
        model: sum(SUCCESS_BONUS if improved else FAILURE_BONUS for improved in results)
        for model, results in outcomes.items()
    }
    return {**earned, author: earned.get(author, 0.0) + AUTHOR_BONUS}


def expect_quality(candidate: Candidate) -> float:
    """Return the score that the selection expected of the candidate's answer.

    Not `final_score`, which also rewards what is cheap, free, reachable or little tried.
    """
    return candidate.domain_match_score


def selection_outcome(
    candidates: Sequence[Candidate], selected: str, actual: float | None, *, quality_threshold: float | None = None
) -> Hindsight:
    """Judge a selection by the score that the selected model's response got; None where nothing was weighed.

    accuracy = 1 - |actual - expected| / 9. It was a success when the response reached the user's threshold, or came
    within a point of what the best other candidate was expected to give (5.5 where there was no other).
    """
    chosen = next((c for c in candidates if c.model_name == selected), None)
    if actual is None or chosen is None:
        return Hindsight(selection_success=None, selection_accuracy_score=None)
    others = [expect_quality(c) for c in candidates if c.model_name != selected]
    bar = max(others) - HINDSIGHT_TOLERANCE if others else ACCEPTABLE
    reached = quality_threshold is not None and actual >= quality_threshold
    error = abs(actual - expect_quality(chosen)) / 9
    return Hindsight(selection_success=reached or actual >= bar, selection_accuracy_score=min(max(1 - error, 0.0), 1.0))


def _assess_all(
    profiles: Sequence[Profile], left: Sequence[Profile], question: Question, facts: Facts
) -> list[_Assessed]:
    """All candidates, the best first; `profiles` are those whose history counts, candidates or not."""
    by_name = {profile.model_name: profile for profile in profiles}
    known = {key: cell for key, cell in facts.history.items() if key[0] in by_name}
    evidence = Evidence(known, lambda model, domain: claim_quality(by_name[model], domain))
    assessed = [_assess(profile, left, question, facts, evidence) for profile in left]
    return sorted(assessed, key=lambda each: (not each.profile.is_available, -each.raw, each.profile.model_name))


def _assess(
    profile: Profile, left: Sequence[Profile], question: Question, facts: Facts, evidence: Evidence
) -> _Assessed:
    name, domain = profile.model_name, question.domain
    expected = evidence.expect(name, domain)
    scores = Scores(
        domain_match_score=match_domain(profile, domain, question.language, expected),
        historical_performance=judge_history(profile, evidence.mean(name), expected.total),
        cost_efficiency=score_cost(facts.costs.get(name, 0.0), _find_cheapest(left, facts)),
        availability_score=score_availability(profile, facts.load.get(name, 0.0)),
        specialty_alignment=align_specialty(profile, domain),
    )
    earned, exploring = facts.bonus.get(name, 0.0), _explore(profile, question, expected, evidence)
    raw = STRATEGIES[question.strategy](scores) + earned + exploring
    if not profile.is_available:
        raw = 1 + (raw - 1) * UNAVAILABLE_SHARE
    candidate = Candidate(
        model_name=name,
        **scores.model_dump(),
        final_score=clip(raw),
        selection_reasoning=explain_candidate(
            profile, scores, WEIGHTS[question.strategy], question, expected, earned=earned, exploring=exploring
        ),
        rated_answers=expected.answers,
        exploration_bonus=exploring,
        expected_cost=facts.costs.get(name),
    )
    return _Assessed(profile, raw, candidate)


def _explore(profile: Profile, question: Question, expected: Expectation, evidence: Evidence) -> float:
    """The bonus for a little tried model, in points of the final score.

    With every rated answer in the domain the draw is another one, so that the same prompt asked again tries others.
    """
    if not question.exploration:
        return 0.0
    weight = sum(WEIGHTS[question.strategy].get(name, 0.0) for name in _QUALITY)
    share = draw(f"{question.seed}\n{evidence.count(domain=question.domain)}", profile.model_name)
    return question.exploration * weight * share * doubt_quality(profile, question.domain, expected)


def _find_cheapest(left: Sequence[Profile], facts: Facts) -> float:
    costs = (facts.costs.get(profile.model_name, 0.0) for profile in left)
    return min((cost for cost in costs if cost > 0), default=0.0)


def _trust(margin: float | None, first_two: Sequence[Candidate]) -> float:
    """Six tenths from the lead (full from 2 points on), four tenths from the rated answers of both in the domain."""
    lead = 1.0 if margin is None else min(margin / CLEAR_MARGIN, 1.0)
    answers = min(each.rated_answers for each in first_two)
    return clip(1 + 9 * (0.6 * lead + 0.4 * answers / (answers + KNOWN_ANSWERS)))
