from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestratex.domain.base import Domain, Specialty, Strategy
from orchestratex.domain.profile import PerformanceMetrics, Profile, RateLimits
from orchestratex.domain.selection import Candidate
from orchestratex.rules.candidates import (
    align_specialty,
    claims,
    judge_history,
    match_domain,
    score_availability,
    score_cost,
)
from orchestratex.rules.evidence import Expectation, History
from orchestratex.rules.selection import (
    STRATEGIES,
    WEIGHTS,
    Facts,
    NoCandidateError,
    Question,
    Ranking,
    rank,
    refinement_bonus,
    selection_outcome,
)
from orchestratex.store.migrations import shipped_profiles

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
    """Ask for a coding answer; what is not said of cost is as for a call of a hundred tokens each way."""
    costs = {p.model_name: 100 * (p.cost_per_input_token + p.cost_per_output_token) for p in profiles}
    asked: dict[str, Any] = {"domain": Domain.CODING, "language": "en", "exploration": float("seed" in options)}
    question = Question(**asked | {k: options.pop(k) for k in ("domain", "strategy", "seed") if k in options})
    facts = Facts(**{"costs": costs} | {k: options.pop(k) for k in ("history", "bonus", "load") if k in options})
    return rank(profiles, question, facts, **options)


def make_metrics(**fields: Any) -> PerformanceMetrics:
    return PerformanceMetrics(**{"total_requests": 1000, "success_rate": 1.0, **fields})


CHEAP = make_profile("cheap", specialties=[], cost_per_input_token=1e-7, cost_per_output_token=1e-7)
CODER = make_profile("coder", cost_per_input_token=1e-5, cost_per_output_token=1e-5)
PROVEN = make_profile("proven", specialties=[])
TRIO = [CHEAP, CODER, PROVEN]
RECORD: History = {("proven", Domain.FACTUAL): (100, 880.0), ("coder", Domain.FACTUAL): (100, 500.0)}


@pytest.mark.parametrize(
    ("strategy", "selected"),
    [(Strategy.DOMAIN_MATCH, "coder"), (Strategy.PERFORMANCE, "proven"), (Strategy.COST, "cheap")],
)
def test_each_strategy_has_its_favourite(strategy: Strategy, selected: str) -> None:
    assert rank_for(TRIO, strategy=strategy, history=RECORD).selected == selected


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

    with pytest.raises(NoCandidateError, match="coder: timed out; excluded: cheap; not active: asleep"):
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
    history = {("coder", Domain.CODING): (40, 328.0), ("coder", Domain.MATH): (2, 10.0)}

    ranking = rank_for(TRIO, history=history)

    reasons = {c.model_name: c.selection_reasoning for c in ranking.candidates}
    assert len(set(reasons.values())) == 3
    assert "from 40 rated first answers in this domain, 2 in others" in reasons["coder"]
    assert "by its profile: no first answer of it was rated yet" in reasons["cheap"]
    assert ranking.factors


def test_more_evidence_and_a_clearer_lead_mean_more_confidence() -> None:
    pair = [make_profile("a"), make_profile("b")]
    history = {("a", Domain.CODING): (30, 210.0), ("b", Domain.CODING): (30, 210.0)}

    unsure = rank_for(pair)
    seen = rank_for(pair, history=history)
    clear = rank_for(pair, history=history, bonus={"a": 1.5})

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
    def match(answers: int) -> float:
        ranking = rank_for([CODER], history={("coder", Domain.CODING): (answers, 3.0 * answers)})
        return ranking.candidates[0].domain_match_score

    claimed, few, many = match(0), match(2), match(1000)

    assert claimed == match_domain(CODER, Domain.CODING, "en")
    assert claimed > few > many
    assert many == pytest.approx(3.0, abs=0.1)


def test_what_is_known_of_a_model_is_its_domain_match() -> None:
    assert match_domain(CODER, Domain.CODING, "en", Expectation(score=12.0, spread=1)) == 10
    assert match_domain(CODER, Domain.CODING, "fr", Expectation(score=7.0, spread=1)) == 5


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


def test_history_needs_rated_answers_to_leave_its_prior_and_calls_count_for_none() -> None:
    busy = make_profile("a", performance_metrics=make_metrics(average_quality_rating=9.5, total_requests=5000))

    def judge(answers: int) -> float:
        return judge_history(make_profile("a"), 9.5, answers)

    assert judge_history(make_profile("a")) == judge(0) < judge(2) < judge(50) < judge(5000) <= 9.5
    assert judge_history(busy) == pytest.approx(judge_history(make_profile("a")), abs=0.2)  # it comes back more surely


@pytest.mark.parametrize(
    ("cost", "cheapest", "expected"),
    [(1.0, 1.0, 10), (10**0.5, 1.0, 5.5), (10.0, 1.0, 1), (1e6, 1.0, 1), (0.0, 1.0, 10), (0.0, 0.0, 10)],
)
def test_cost_efficiency_is_logarithmic(cost: float, cheapest: float, expected: float) -> None:
    assert score_cost(cost, cheapest) == pytest.approx(expected)


def test_load_and_downtime_lower_availability() -> None:
    shaky = make_profile("a", performance_metrics=make_metrics(uptime_percentage=50), probes=500)

    assert score_availability(CODER) > score_availability(CODER, load=1.0) > 1
    assert score_availability(shaky) < score_availability(CODER)
    assert score_availability(CODER.model_copy(update={"is_available": False})) == 1


def test_few_answers_of_others_do_not_make_a_model_better_than_it_showed() -> None:
    """A mean of one lucky answer weighs less than one of many good ones."""
    pair = [make_profile("lucky"), make_profile("steady")]
    history = {("lucky", Domain.CODING): (1, 9.0), ("steady", Domain.CODING): (50, 425.0)}

    assert rank_for(pair, history=history).selected == "steady"


def test_what_a_model_showed_elsewhere_counts_here_too() -> None:
    pair = [make_profile("a", specialties=list(Specialty)), make_profile("b", specialties=list(Specialty))]
    history = {("a", Domain.MATH): (40, 240.0), ("b", Domain.MATH): (40, 320.0)}

    assert rank_for(pair, history=history, strategy=Strategy.DOMAIN_MATCH).selected == "b"


def test_an_easy_domain_does_not_make_a_model_good() -> None:
    """Both score two points more in creative, where only one of them is asked."""
    pair = [make_profile("a", specialties=list(Specialty)), make_profile("b", specialties=list(Specialty))]
    history = {
        ("a", Domain.MATH): (20, 120.0),
        ("b", Domain.MATH): (20, 124.0),
        ("a", Domain.CREATIVE): (60, 480.0),
        ("b", Domain.CREATIVE): (2, 16.4),
    }

    assert rank_for(pair, history=history, strategy=Strategy.DOMAIN_MATCH).selected == "b"


@pytest.mark.parametrize("domain", Domain)
def test_every_model_is_tried_in_the_domains_that_it_claims(domain: Domain) -> None:
    """Of models that turn out alike, and of one that is better, all are rated after a while."""
    profiles = shipped_profiles(NOW)
    worth = {p.model_name: 8.5 if p.model_name == "llama" else 7.0 for p in profiles}
    history: dict[tuple[str, Domain], tuple[int, float]] = {}
    for number in range(60):
        model = rank_for(profiles, domain=domain, history=history, seed=f"prompt {number}").selected
        count, total = history.get((model, domain), (0, 0.0))
        history[model, domain] = count + 1, total + worth[model]

    assert {p.model_name for p in profiles if claims(p, domain)} <= {model for model, _ in history}


def test_threads_that_start_together_try_different_models() -> None:
    profiles = shipped_profiles(NOW)

    chosen = {rank_for(profiles, domain=Domain.GENERAL, seed=f"prompt {number}").selected for number in range(60)}

    assert chosen == {profile.model_name for profile in profiles}


def test_the_bonus_for_the_little_tried_is_recorded_and_can_be_drawn_again() -> None:
    profiles = shipped_profiles(NOW)

    ranking = rank_for(profiles, seed="why is the sky blue?")

    assert rank_for(profiles, seed="why is the sky blue?") == ranking
    bonus = {c.model_name: c.exploration_bonus for c in ranking.candidates}
    plain = {c.model_name: c.final_score for c in rank_for(profiles).candidates}
    assert any(bonus.values())
    assert min(bonus.values()) == 0
    for candidate in ranking.candidates:
        drawn = candidate.exploration_bonus
        assert candidate.final_score == pytest.approx(min(10, plain[candidate.model_name] + drawn))
        assert (f"{drawn:+.2f} drawn for being little tried" in candidate.selection_reasoning) is (drawn > 0)


def test_the_bonus_fades_with_rated_answers() -> None:
    def mean_bonus(answers: int) -> float:
        history = {("coder", Domain.CODING): (answers, 8.0 * answers)}
        drawn = [rank_for([CODER], history=history, seed=f"prompt {n}").candidates[0] for n in range(200)]
        return sum(c.exploration_bonus for c in drawn) / len(drawn)

    unseen, few, many = mean_bonus(0), mean_bonus(5), mean_bonus(500)

    assert unseen > 2 * few > 8 * many > 0


def test_the_same_prompt_tries_others_when_something_was_learnt() -> None:
    profiles = shipped_profiles(NOW)

    def choose(answers: int) -> str:
        return rank_for(profiles, seed="again", history={("gpt4", Domain.CODING): (answers, 7.0 * answers)}).selected

    assert len({choose(answers) for answers in range(30)}) > 1


def test_cost_efficiency_is_that_of_the_whole_thread() -> None:
    dear = make_profile("dear", cost_per_input_token=1e-5, cost_per_output_token=1e-5)
    question = Question(domain=Domain.CODING, language="en", strategy=Strategy.COST)

    ranking = rank([CHEAP, dear], question, Facts(costs={"cheap": 0.10, "dear": 0.11}))

    known = {c.model_name: c for c in ranking.candidates}
    assert (known["cheap"].cost_efficiency, known["cheap"].expected_cost) == (10, 0.10)
    assert known["dear"].cost_efficiency == pytest.approx(9.63, abs=0.01)
    assert known["dear"].expected_cost == 0.11


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
