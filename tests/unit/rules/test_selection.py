from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestratex.domain.base import Domain, Specialty, Strategy
from orchestratex.domain.profile import PerformanceMetrics, Profile, RateLimits
from orchestratex.domain.selection import Candidate
from orchestratex.rules.selection import (
    STRATEGIES,
    WEIGHTS,
    NoCandidateError,
    Ranking,
    align_specialty,
    judge_history,
    match_domain,
    rank,
    refinement_bonus,
    score_availability,
    score_cost,
    selection_outcome,
)

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def make_profile(name: str, **fields: Any) -> Profile:
    values: dict[str, Any] = {
        "model_name": name,
        "provider": "openai",
        "model_version": "1",
        "specialties": [Specialty.CODING],
        "supported_languages": ["en"],
        "max_context_length": 8000,
        "strengths": "",
        "weaknesses": "",
        "best_use_cases": [],
        "api_endpoint": "https://example.org",
        "cost_per_input_token": 1e-6,
        "cost_per_output_token": 1e-6,
        "rate_limits": RateLimits(requests_per_minute=10, tokens_per_minute=1000),
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Profile(**{**values, **fields})


def rank_for(profiles: list[Profile], **options: Any) -> Ranking:
    values: dict[str, Any] = {
        "domain": Domain.CODING,
        "language": "en",
        "strategy": Strategy.HYBRID,
        "expected_tokens": (100, 100),
    }
    return rank(profiles, **{**values, **options})


def make_metrics(**fields: Any) -> PerformanceMetrics:
    return PerformanceMetrics(**{"total_requests": 1000, "success_rate": 1.0, **fields})


CHEAP = make_profile("cheap", specialties=[], cost_per_input_token=1e-7, cost_per_output_token=1e-7)
CODER = make_profile("coder", cost_per_input_token=1e-5, cost_per_output_token=1e-5)
PROVEN = make_profile("proven", specialties=[], performance_metrics=make_metrics(average_quality_rating=9.5))
TRIO = [CHEAP, CODER, PROVEN]


@pytest.mark.parametrize(
    ("strategy", "selected"),
    [(Strategy.DOMAIN_MATCH, "coder"), (Strategy.PERFORMANCE, "proven"), (Strategy.COST, "cheap")],
)
def test_each_strategy_has_its_favourite(strategy: Strategy, selected: str) -> None:
    assert rank_for(TRIO, strategy=strategy).selected == selected


def test_there_is_a_rule_for_every_strategy_and_its_weights_sum_to_one() -> None:
    assert set(STRATEGIES) == set(Strategy)
    assert all(sum(weights.values()) == pytest.approx(1) for weights in WEIGHTS.values())


def test_ties_go_to_the_first_name_whatever_the_order() -> None:
    profiles = [make_profile("b"), make_profile("a"), make_profile("c")]

    ranking = rank_for(profiles)

    assert (ranking.selected, ranking.runner_up, ranking.margin) == ("a", "b", 0)
    assert rank_for(profiles[::-1]) == ranking


def test_a_single_candidate_has_no_runner_up() -> None:
    ranking = rank_for([CODER])

    assert (ranking.runner_up, ranking.margin) == (None, None)


def test_preferred_goes_before_better_and_says_so() -> None:
    ranking = rank_for(TRIO, strategy=Strategy.COST, preferred=["coder"])

    assert ranking.selected == "coder"
    assert "preferred: coder goes before cheap" in ranking.override_reasons
    assert ranking.margin == 0


def test_preference_that_changes_nothing_is_not_an_override() -> None:
    assert rank_for(TRIO, strategy=Strategy.COST, preferred=["cheap"]).override_reasons == ""


def test_preferred_but_unreachable_falls_back_to_the_others() -> None:
    ranking = rank_for(TRIO, preferred=["coder"], unavailable={"coder": "failed in this thread"})

    assert ranking.selected != "coder"
    assert "preferred but not available: coder" in ranking.override_reasons
    assert "replaced: coder (failed in this thread)" in ranking.override_reasons
    assert "coder" not in {c.model_name for c in ranking.candidates}


def test_excluded_is_never_a_candidate_even_if_preferred() -> None:
    ranking = rank_for(TRIO, preferred=["cheap"], excluded=["cheap"])

    assert "cheap" not in {c.model_name for c in ranking.candidates}
    assert "excluded: cheap" in ranking.override_reasons


def test_nobody_left_names_each_reason() -> None:
    profiles = [CHEAP, CODER, make_profile("asleep", is_active=False)]

    with pytest.raises(NoCandidateError, match=r"asleep \(not active\), cheap \(excluded\), coder \(timed out\)"):
        rank_for(profiles, excluded=["cheap"], unavailable={"coder": "timed out"})


def test_a_failed_probe_puts_a_model_last_but_not_out() -> None:
    down = CODER.model_copy(update={"is_available": False})

    assert rank_for([CHEAP, down], strategy=Strategy.DOMAIN_MATCH).selected == "cheap"
    assert "last resort" in rank_for([down]).override_reasons


def test_bonus_moves_the_choice_and_the_score_stays_in_range() -> None:
    ranking = rank_for(TRIO, bonus={"cheap": 20.0, "coder": -20.0})

    scores = {c.model_name: c.final_score for c in ranking.candidates}
    assert ranking.selected == "cheap"
    assert (scores["cheap"], scores["coder"]) == (10, 1)


def test_reasoning_is_each_candidates_own() -> None:
    ranking = rank_for(TRIO, domain_quality={"coder": (8.2, 40)})

    reasons = {c.model_name: c.selection_reasoning for c in ranking.candidates}
    assert len(set(reasons.values())) == 3
    assert "40 answers in this domain averaged 8.2" in reasons["coder"]
    assert ranking.factors


def test_more_evidence_and_a_clearer_lead_mean_more_confidence() -> None:
    metrics = make_metrics(average_quality_rating=7)
    a, b = (make_profile(name, performance_metrics=metrics) for name in "ab")

    unsure = rank_for([make_profile("a"), make_profile("b")])
    seen = rank_for([a, b])
    clear = rank_for([a, b], bonus={"a": 1.5})

    assert 1 <= unsure.confidence < seen.confidence < clear.confidence <= 10


@pytest.mark.parametrize(
    ("specialties", "domain", "expected"),
    [
        (["coding", "math"], Domain.CODING, 9.5),
        (["coding", "math"], Domain.MATH, 8.9),
        (["coding", "math"], Domain.CREATIVE, 4.0),
        (["analysis", "reasoning"], Domain.FACTUAL, 9.2),
        (["analysis"], Domain.FACTUAL, 6.75),
        (["analysis"], Domain.SENTIMENT, 9.5),
        (["coding"], Domain.GENERAL, (9.5 + 5 * 4.0) / 6),
        ([], Domain.GENERAL, 4.0),
    ],
)
def test_specialty_follows_its_place_in_the_list(specialties: list[str], domain: Domain, expected: float) -> None:
    assert align_specialty(make_profile("a", specialties=specialties), domain) == pytest.approx(expected)


def test_domain_match_moves_from_the_profile_to_what_was_seen() -> None:
    claimed = match_domain(CODER, Domain.CODING, "en")

    few = match_domain(CODER, Domain.CODING, "en", (3.0, 2))
    many = match_domain(CODER, Domain.CODING, "en", (3.0, 1000))

    assert claimed > few > many
    assert many == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize(
    ("listed", "language", "costs"),
    [
        (["en"], "fr", True),
        (["en", "fr"], "fr-CA", False),
        (["python"], "fr", False),
        (["en"], "und", False),
        ([], "fr", False),
        (["en"], None, False),
    ],
)
def test_a_language_that_is_not_listed_costs_points(listed: list[str], language: str | None, costs: bool) -> None:
    profile = make_profile("a", supported_languages=listed)

    assert (match_domain(profile, Domain.CODING, language) < match_domain(profile, Domain.CODING, None)) is costs


def test_history_needs_many_calls_to_leave_its_prior() -> None:
    def judge(requests: int) -> float:
        metrics = make_metrics(average_quality_rating=9.5, total_requests=requests)
        return judge_history(make_profile("a", performance_metrics=metrics))

    assert judge_history(make_profile("a")) < judge(2) < judge(50) < judge(5000) <= 9.5


@pytest.mark.parametrize(
    ("cost", "cheapest", "expected"),
    [(1.0, 1.0, 10), (10.0, 1.0, 5.5), (100.0, 1.0, 1), (1e6, 1.0, 1), (0.0, 1.0, 10), (0.0, 0.0, 10)],
)
def test_cost_efficiency_is_logarithmic(cost: float, cheapest: float, expected: float) -> None:
    assert score_cost(cost, cheapest) == pytest.approx(expected)


def test_load_and_downtime_lower_availability() -> None:
    shaky = make_profile("a", performance_metrics=make_metrics(uptime_percentage=50), probes=500)

    assert score_availability(CODER) > score_availability(CODER, load=1.0) > 1
    assert score_availability(shaky) < score_availability(CODER)
    assert score_availability(CODER.model_copy(update={"is_available": False})) == 1


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({}, {"a": 0.75}),
        ({"a": [True, False]}, {"a": 0.0}),
        ({"b": [False]}, {"a": 0.75, "b": -1.0}),
        ({"b": [True, True]}, {"a": 0.75, "b": 0.5}),
    ],
)
def test_refiners_gain_by_authorship_and_record(outcomes: dict[str, list[bool]], expected: dict[str, float]) -> None:
    assert refinement_bonus("a", outcomes) == expected


def make_candidate(name: str, quality: float) -> Candidate:
    return Candidate(
        model_name=name,
        domain_match_score=quality,
        historical_performance=quality,
        cost_efficiency=5,
        availability_score=5,
        specialty_alignment=5,
        final_score=5,
        selection_reasoning="",
    )


@pytest.mark.parametrize(
    ("actual", "threshold", "success", "accuracy"),
    [(8.0, None, True, 1.0), (6.0, None, True, 7 / 9), (5.9, None, False, 1 - 2.1 / 9), (5.9, 5.0, True, 1 - 2.1 / 9)],
)
def test_hindsight_compares_with_the_best_alternative(
    actual: float, threshold: float | None, success: bool, accuracy: float
) -> None:
    candidates = [make_candidate("a", 8), make_candidate("b", 7)]

    hindsight = selection_outcome(candidates, "a", actual, quality_threshold=threshold)

    assert hindsight.selection_success is success
    assert hindsight.selection_accuracy_score == pytest.approx(accuracy)


def test_hindsight_without_a_score_is_unknown() -> None:
    hindsight = selection_outcome([make_candidate("a", 8)], "a", None)

    assert (hindsight.selection_success, hindsight.selection_accuracy_score) == (None, None)
