"""Which model answers: five scores for each candidate, a strategy that weighs them, and the reasons in words.

All scores are 1 (worst) to 10 (best). Where evidence is thin, a score stays near what the profile claims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from orchestratex.domain.base import Domain, ModelName, Record, Score, Specialty, Strategy
from orchestratex.domain.profile import Profile
from orchestratex.domain.selection import Candidate
from orchestratex.rules.language import fold_language

ALGORITHM_VERSION: Final = "1"

PRIOR_QUALITY: Final = 6.5  # what a model is expected to score before anyone has seen it answer
PRIOR_SUCCESS: Final = 0.97  # share of calls that come back
PRIOR_REQUESTS: Final = 20  # how many calls the priors weigh as much as
PRIOR_ANSWERS: Final = 10  # how many answers in a domain the profile's claims weigh as much as
FIRST_SPECIALTY: Final = 9.5
SPECIALTY_STEP: Final = 0.6  # each later place in the list
NOT_A_SPECIALTY: Final = 4.0
FOREIGN_LANGUAGE_POINTS: Final = 2.0  # lost where the profile does not list the prompt's language
DEAREST_RATIO: Final = 100.0  # a model this many times dearer than the cheapest has cost efficiency 1
UNAVAILABLE_SHARE: Final = 0.1  # of the points beyond 1 that a model keeps whose last probe failed
AUTHOR_BONUS: Final = 0.75  # it knows its own text
SUCCESS_BONUS: Final = 0.25
FAILURE_BONUS: Final = -1.0
CLEAR_MARGIN: Final = 2.0  # a lead beyond which more lead adds no confidence
HINDSIGHT_TOLERANCE: Final = 1.0  # evaluators' noise: a point below expectation is not yet a bad choice
ACCEPTABLE: Final = 5.5  # the middle of the scale: the bar where there was no alternative

_SPECIALTIES_BY_DOMAIN: Final = {
    Domain.CODING: (Specialty.CODING,),
    Domain.CREATIVE: (Specialty.CREATIVE,),
    Domain.MATH: (Specialty.MATH,),
    Domain.TRANSLATION: (Specialty.TRANSLATION,),
    Domain.FACTUAL: (Specialty.ANALYSIS, Specialty.REASONING),
    Domain.SENTIMENT: (Specialty.ANALYSIS,),
    Domain.GENERAL: tuple(Specialty),
}


class NoCandidateError(ValueError):
    """Raised when no active model is left that may answer; the message says why each is out."""


class Scores(Record):
    """What a strategy weighs."""

    domain_match_score: Score
    historical_performance: Score
    cost_efficiency: Score
    availability_score: Score
    specialty_alignment: Score


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


WEIGHTS: Final[Mapping[Strategy, Mapping[str, float]]] = {
    Strategy.DOMAIN_MATCH: {
        "domain_match_score": 0.55,
        "specialty_alignment": 0.25,
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
    Strategy.HYBRID: {
        "domain_match_score": 0.45,
        "historical_performance": 0.20,
        "specialty_alignment": 0.15,
        "cost_efficiency": 0.10,
        "availability_score": 0.10,
    },
}
_LABELS: Final = {
    "domain_match_score": "domain match",
    "historical_performance": "past performance",
    "cost_efficiency": "cost efficiency",
    "availability_score": "availability",
    "specialty_alignment": "specialty",
}


def _weigh(weights: Mapping[str, float]) -> Callable[[Scores], float]:
    return lambda scores: sum(weight * float(getattr(scores, name)) for name, weight in weights.items())


STRATEGIES: Final[Mapping[Strategy, Callable[[Scores], float]]] = {
    strategy: _weigh(weights) for strategy, weights in WEIGHTS.items()
}


def rank(
    profiles: Sequence[Profile],
    *,
    domain: Domain,
    language: str | None,
    strategy: Strategy,
    expected_tokens: tuple[int, int],
    preferred: Collection[str] = (),
    excluded: Collection[str] = (),
    unavailable: Mapping[str, str] | None = None,
    bonus: Mapping[str, float] | None = None,
    domain_quality: Mapping[str, tuple[float, int]] | None = None,
    load: Mapping[str, float] | None = None,
) -> Ranking:
    """Choose among the active models that are neither excluded nor in `unavailable` (model to reason).

    `expected_tokens` are input and output; `domain_quality` gives, by model, the mean score in this domain and of how
    many answers; `load` the share of its rate limit that is in use. `final_score` is the strategy's weighted mean plus
    the model's `bonus`, clipped to 1-10; of the points beyond 1 a model keeps a tenth while its last probe failed, and
    it is chosen only where no other candidate is left. Preferred models go before all others as long as one of them is
    available. Ties go to the name that sorts first. Raises NoCandidateError when nobody is left.
    """
    replaced = unavailable or {}
    left = [p for p in profiles if p.is_active and p.model_name not in excluded and p.model_name not in replaced]
    if not left:
        raise NoCandidateError(_explain_absence(profiles, excluded, replaced))
    cheapest = min((cost for cost in (_expect_cost(p, expected_tokens) for p in left) if cost > 0), default=0.0)
    assessed = []
    for profile in left:
        name = profile.model_name
        scores = Scores(
            domain_match_score=match_domain(profile, domain, language, (domain_quality or {}).get(name)),
            historical_performance=judge_history(profile),
            cost_efficiency=score_cost(_expect_cost(profile, expected_tokens), cheapest),
            availability_score=score_availability(profile, (load or {}).get(name, 0.0)),
            specialty_alignment=align_specialty(profile, domain),
        )
        extra = (bonus or {}).get(name, 0.0)
        raw = STRATEGIES[strategy](scores) + extra
        if not profile.is_available:
            raw = 1 + (raw - 1) * UNAVAILABLE_SHARE
        candidate = Candidate(
            model_name=name,
            **scores.model_dump(),
            final_score=_clip(raw),
            selection_reasoning=_reason(profile, scores, domain, strategy, extra, (domain_quality or {}).get(name)),
        )
        assessed.append((profile, raw, candidate))
    assessed.sort(key=lambda item: (not item[0].is_available, -item[1], item[0].model_name))
    return _choose(assessed, strategy=strategy, preferred=preferred, excluded=excluded, replaced=replaced)


def align_specialty(profile: Profile, domain: Domain) -> float:
    """Return how high the domain stands among the model's specialties, which are ordered best first.

    Coding, creative, math and translation count by name; factual is the mean of analysis and reasoning, sentiment
    analysis, general the mean of all. The first place gives 9.5, each later one 0.6 less, no place 4.
    """
    wanted = _SPECIALTIES_BY_DOMAIN[domain]
    places = {specialty: place for place, specialty in reversed(list(enumerate(profile.specialties)))}
    points = [
        max(FIRST_SPECIALTY - SPECIALTY_STEP * places[s], NOT_A_SPECIALTY) if s in places else NOT_A_SPECIALTY
        for s in wanted
    ]
    return _clip(sum(points) / len(points))


def match_domain(
    profile: Profile, domain: Domain, language: str | None, observed: tuple[float, int] | None = None
) -> float:
    """Return the score expected of the model in this domain and language.

    The prior lies half way between the common prior and the specialty's place, and 2 lower where the profile lists
    natural languages without this one. `observed` (mean, answers) moves it: (10 prior + n mean) / (10 + n).
    """
    prior = (PRIOR_QUALITY + align_specialty(profile, domain)) / 2
    if not _speaks(profile, language):
        prior -= FOREIGN_LANGUAGE_POINTS
    mean, answers = observed or (0.0, 0)
    return _clip((PRIOR_ANSWERS * prior + answers * mean) / (PRIOR_ANSWERS + answers))


def judge_history(profile: Profile) -> float:
    """Return 1 + (rating - 1) * success rate, both shrunk to their priors as by 20 average calls."""
    metrics = profile.performance_metrics
    rating = _shrink(metrics.average_quality_rating, metrics.total_requests, PRIOR_QUALITY)
    return _clip(1 + (rating - 1) * _success(profile))


def score_cost(cost: float, cheapest: float) -> float:
    """Return 10 for the cheapest or free, 1 for a hundred times the cheapest, by the logarithm of the ratio."""
    if cost <= 0 or cheapest <= 0:
        return 10.0
    return _clip(10 - 9 * math.log(cost / cheapest) / math.log(DEAREST_RATIO))


def score_availability(profile: Profile, load: float = 0.0) -> float:
    """Return 1 + 9 * success rate * uptime * (1 - load / 2); 1 when the last probe failed.

    Success rate and uptime are shrunk to their prior; `load` is the share 0-1 of the rate limit that is in use.
    """
    if not profile.is_available:
        return 1.0
    uptime = profile.performance_metrics.uptime_percentage
    up = _shrink(None if uptime is None else uptime / 100, profile.probes, PRIOR_SUCCESS)
    return _clip(1 + 9 * _success(profile) * up * (1 - min(max(load, 0.0), 1.0) / 2))


def refinement_bonus(author: str, outcomes: Mapping[str, list[bool]]) -> dict[str, float]:
    """Return what a model gains as a refiner: its author 0.75, each earlier refinement +0.25 if it helped, else -1."""
    earned = {
        model: sum(SUCCESS_BONUS if improved else FAILURE_BONUS for improved in results)
        for model, results in outcomes.items()
    }
    return {**earned, author: earned.get(author, 0.0) + AUTHOR_BONUS}


def expect_quality(candidate: Candidate) -> float:
    """Return the score that the selection expected of the candidate's answer: the mean of domain match and history.

    Not `final_score`, which also rewards what is cheap, free or reachable.
    """
    return (candidate.domain_match_score + candidate.historical_performance) / 2


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


def _choose(
    assessed: Sequence[tuple[Profile, float, Candidate]],
    *,
    strategy: Strategy,
    preferred: Collection[str],
    excluded: Collection[str],
    replaced: Mapping[str, str],
) -> Ranking:
    liked = [item for item in assessed if item[0].model_name in preferred and item[0].is_available]
    first = (liked or assessed)[0]
    others = [item for item in liked if item is not first] or [item for item in assessed if item is not first]
    second = others[0] if others else None
    margin = max(first[2].final_score - second[2].final_score, 0.0) if second else None
    candidates = [candidate for _, _, candidate in assessed]
    return Ranking(
        candidates=candidates,
        selected=first[0].model_name,
        runner_up=second[0].model_name if second else None,
        margin=margin,
        confidence=_trust(margin, first[0], second[0] if second else None),
        factors=_find_factors(first[2], candidates, strategy),
        override_reasons=_explain_overrides(
            first[0], assessed, preferred=preferred, excluded=excluded, replaced=replaced
        ),
    )


def _trust(margin: float | None, first: Profile, second: Profile | None) -> float:
    """Six tenths from the lead (full from 2 points on), four tenths from the calls that both models have made."""
    lead = 1.0 if margin is None else min(margin / CLEAR_MARGIN, 1.0)
    calls = min(p.performance_metrics.total_requests for p in (first, second) if p is not None)
    return _clip(1 + 9 * (0.6 * lead + 0.4 * calls / (calls + PRIOR_REQUESTS)))


def _find_factors(chosen: Candidate, candidates: Sequence[Candidate], strategy: Strategy) -> list[str]:
    """Name up to three scores, weighed by the strategy, by which the chosen one most exceeds the candidates' mean."""
    gains = []
    for name, weight in WEIGHTS[strategy].items():
        value = float(getattr(chosen, name))
        mean = sum(float(getattr(c, name)) for c in candidates) / len(candidates)
        gains.append((weight * (value - mean), name, value, mean))
    gains.sort(key=lambda gain: (-gain[0], gain[1]))
    ahead = [gain for gain in gains if gain[0] > 0][:3] or gains[:1]
    return [f"{_LABELS[name]} {value:.1f} (candidates' mean {mean:.1f})" for _, name, value, mean in ahead]


def _explain_overrides(
    chosen: Profile,
    assessed: Sequence[tuple[Profile, float, Candidate]],
    *,
    preferred: Collection[str],
    excluded: Collection[str],
    replaced: Mapping[str, str],
) -> str:
    best = assessed[0][0].model_name
    reasons = []
    if chosen.model_name != best:
        reasons.append(f"preferred: {chosen.model_name} goes before {best}, which scored higher")
    missing = sorted(name for name in set(preferred) if name != chosen.model_name)
    if missing and chosen.model_name not in preferred:
        reasons.append(f"preferred but not available: {', '.join(missing)}")
    if excluded:
        reasons.append(f"excluded: {', '.join(sorted(set(excluded)))}")
    if replaced:
        reasons.append("replaced: " + ", ".join(f"{name} ({why})" for name, why in sorted(replaced.items())))
    if not chosen.is_available:
        reasons.append(f"last resort: every candidate failed its last probe, so did {chosen.model_name}")
    return "; ".join(reasons)


def _explain_absence(profiles: Sequence[Profile], excluded: Collection[str], replaced: Mapping[str, str]) -> str:
    parts = []
    for profile in sorted(profiles, key=lambda p: p.model_name):
        name = profile.model_name
        why = "not active" if not profile.is_active else "excluded" if name in excluded else replaced.get(name, "")
        parts.append(f"{name} ({why})")
    return "no model is left to choose from: " + (", ".join(parts) or "there are no profiles")


def _reason(
    profile: Profile,
    scores: Scores,
    domain: Domain,
    strategy: Strategy,
    extra: float,
    observed: tuple[float, int] | None,
) -> str:
    """Say what speaks for and against the candidate under this strategy."""
    parts = [f"{_LABELS[name]} {getattr(scores, name):.1f}" for name in WEIGHTS[strategy]]
    text = f"{strategy.value} for {domain.value}: " + ", ".join(parts)
    if observed and observed[1]:
        text += f"; {observed[1]} answers in this domain averaged {observed[0]:.1f}"
    elif not profile.performance_metrics.total_requests:
        text += "; no traffic yet, judged by its profile"
    if extra:
        text += f"; {extra:+.2f} for its part in earlier iterations"
    if not profile.is_available:
        text += "; its last probe failed"
    return text


def _speaks(profile: Profile, language: str | None) -> bool:
    """Whether the profile lists the language; lists without any two-letter code say nothing about languages."""
    listed = {fold_language(entry) for entry in profile.supported_languages}
    known = {entry for entry in listed if len(entry) == 2 and entry.isalpha() and entry not in {"go", "js", "ts"}}
    return not known or language is None or language == "und" or fold_language(language) in known


def _expect_cost(profile: Profile, expected_tokens: tuple[int, int]) -> float:
    sent, received = expected_tokens
    return sent * profile.cost_per_input_token + received * profile.cost_per_output_token


def _success(profile: Profile) -> float:
    metrics = profile.performance_metrics
    return _shrink(metrics.success_rate, metrics.total_requests, PRIOR_SUCCESS)


def _shrink(mean: float | None, count: int, prior: float) -> float:
    """Return (n0 prior + n mean) / (n0 + n), with n0 = PRIOR_REQUESTS."""
    if mean is None:
        return prior
    return (PRIOR_REQUESTS * prior + count * mean) / (PRIOR_REQUESTS + count)


def _clip(value: float) -> float:
    return min(max(value, 1.0), 10.0)
