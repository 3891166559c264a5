"""Five scores for a model that may answer, from its profile and from what is known of its answers.

All scores are 1 (worst) to 10 (best). Where evidence is thin, a score stays near what the profile claims.
"""

from __future__ import annotations

import math
from typing import Final

from orchestratex.domain.base import Domain, Record, Score, Specialty
from orchestratex.domain.profile import Profile
from orchestratex.rules.evidence import Expectation
from orchestratex.rules.language import fold_language

PRIOR_QUALITY: Final = 6.5  # what a model is expected to score before anyone has seen it answer
PRIOR_SUCCESS: Final = 0.97  # share of calls that come back
PRIOR_REQUESTS: Final = 20  # how many calls the prior of success weighs as much as
PRIOR_ANSWERS: Final = 5  # how many rated first answers the prior of quality weighs as much as
FIRST_SPECIALTY: Final = 9.5
SPECIALTY_STEP: Final = 0.6  # each later place in the list
NOT_A_SPECIALTY: Final = 4.0
FOREIGN_LANGUAGE_POINTS: Final = 2.0  # lost where the profile does not list the prompt's language
DEAREST_RATIO: Final = 10.0  # a model whose threads are so many times dearer than the cheapest's has cost efficiency 1
FIRST_LOOK: Final = 1.0  # points of doubt more where nobody has rated a model in a domain that it claims

_SPECIALTIES_BY_DOMAIN: Final = {
    Domain.CODING: (Specialty.CODING,),
    Domain.CREATIVE: (Specialty.CREATIVE,),
    Domain.MATH: (Specialty.MATH,),
    Domain.TRANSLATION: (Specialty.TRANSLATION,),
    Domain.FACTUAL: (Specialty.ANALYSIS, Specialty.REASONING),
    Domain.SENTIMENT: (Specialty.ANALYSIS,),
    Domain.GENERAL: tuple(Specialty),
}


class Scores(Record):
    """What a strategy weighs."""

    domain_match_score: Score
    historical_performance: Score
    cost_efficiency: Score
    availability_score: Score
    specialty_alignment: Score


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
    return clip(sum(points) / len(points))


def claims(profile: Profile, domain: Domain) -> bool:
    """Whether a specialty of the model bears on the domain."""
    return any(specialty in profile.specialties for specialty in _SPECIALTIES_BY_DOMAIN[domain])


def claim_quality(profile: Profile, domain: Domain) -> float:
    """Return the score that the profile lets expect: half way between the common prior and the specialty's place."""
    return (PRIOR_QUALITY + align_specialty(profile, domain)) / 2


def match_domain(profile: Profile, domain: Domain, language: str | None, known: Expectation | None = None) -> float:
    """Return the score expected of the model in this domain and language.

    `known` is what its rated answers let expect, None: as its profile says. 2 points less where the profile lists
    natural languages without this one.
    """
    expected = claim_quality(profile, domain) if known is None else known.score
    return clip(expected if _speaks(profile, language) else expected - FOREIGN_LANGUAGE_POINTS)


def judge_history(profile: Profile, mean: float | None = None, answers: int = 0) -> float:
    """Return 1 + (rating - 1) * success rate, both shrunk to their priors.

    The rating is the mean score of so many rated first answers, in all domains, shrunk as by 5 average ones; the
    success rate is shrunk as by 20 average calls.
    """
    rating = _shrink(mean, answers, PRIOR_QUALITY, PRIOR_ANSWERS)
    return clip(1 + (rating - 1) * _success(profile))


def score_cost(cost: float, cheapest: float) -> float:
    """Return 10 for the cheapest or free, 1 for ten times the cheapest, by the logarithm of the ratio."""
    if cost <= 0 or cheapest <= 0:
        return 10.0
    return clip(10 - 9 * math.log(cost / cheapest) / math.log(DEAREST_RATIO))


def score_availability(profile: Profile, load: float = 0.0) -> float:
    """Return 1 + 9 * success rate * uptime * (1 - load / 2); 1 when the last probe failed.

    Success rate and uptime are shrunk to their prior; `load` is the share 0-1 of the rate limit that is in use.
    """
    if not profile.is_available:
        return 1.0
    uptime = profile.performance_metrics.uptime_percentage
    up = _shrink(None if uptime is None else uptime / 100, profile.probes, PRIOR_SUCCESS, PRIOR_REQUESTS)
    return clip(1 + 9 * _success(profile) * up * (1 - min(max(load, 0.0), 1.0) / 2))


def doubt_quality(profile: Profile, domain: Domain, known: Expectation) -> float:
    """Return how much better than expected the model may well be in the domain, in points.

    A point more where it claims the domain and nobody has rated it there: a claim is worth a look.
    """
    is_unseen = known.answers == 0 and claims(profile, domain)
    return known.spread + (FIRST_LOOK if is_unseen else 0.0)


def clip(value: float) -> float:
    """The nearest score."""
    return min(max(value, 1.0), 10.0)


def _speaks(profile: Profile, language: str | None) -> bool:
    """Whether the profile lists the language; lists without any two-letter code say nothing about languages."""
    listed = {fold_language(entry) for entry in profile.supported_languages}
    known = {entry for entry in listed if len(entry) == 2 and entry.isalpha() and entry not in {"go", "js", "ts"}}
    return not known or language is None or language == "und" or fold_language(language) in known


def _success(profile: Profile) -> float:
    metrics = profile.performance_metrics
    return _shrink(metrics.success_rate, metrics.total_requests, PRIOR_SUCCESS, PRIOR_REQUESTS)


def _shrink(mean: float | None, count: int, prior: float, weight: int) -> float:
    """Return (n0 prior + n mean) / (n0 + n), with n0 = weight."""
    if mean is None:
        return prior
    return (weight * prior + count * mean) / (weight + count)
