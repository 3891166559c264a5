"""What the engine learns from rated first answers, whom it asks, and which rule ends a thread, as shipped."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from orchestratex.domain.base import CRITERIA, Role, SelectionPhase, StopReason
from orchestratex.domain.selection import Selection
from orchestratex.domain.thread import Thread
from orchestratex.errors import ProviderNotFoundError
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.settings import Settings
from orchestratex.steps.measure import measure
from tests.support import Reply, World, answer_by_rule

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."


def make_world(reply: Reply | None = None, **fields: object) -> World:
    return World(reply, Settings.model_validate(fields))


def first_selection(world: World, thread: Thread) -> Selection:
    found = world.store.selections_of(thread.id)
    return next(each for each in found if each.selection_phase is SelectionPhase.INITIAL)


def evaluators(world: World, thread: Thread, iteration: int = 1) -> set[str]:
    return {each.model_name for each in world.store.panel_of(thread.id, iteration=iteration)}


def judge(request: CompletionRequest, score: float, *severities: str) -> str:
    """An evaluator's reply with a criticism of each severity."""
    return json.dumps(
        {
            "checks": [],
            "criticisms": [
                {"point": f"point {n}", "severity": each, "evidence": ""} for n, each in enumerate(severities)
            ],
            "has_plain_error": False,
            "positive_aspects": "clear",
            "suggested_improvements": "",
            "alternative_approaches": "",
            "criteria": dict.fromkeys(CRITERIA, score),
            "confidence": 8,
        }
    )


def is_evaluation(request: CompletionRequest) -> bool:
    return request.system.startswith(markers.TASK_EVALUATE)


def test_four_cheap_evaluators_of_four_families_sit_on_the_default_panel() -> None:
    world = make_world()

    thread = world.solve(PROMPT, max_iterations=1, preferred_models=["claude"])

    assert evaluators(world, thread) == {"gpt4-turbo", "llama", "mistral", "grok"}
    assert (thread.scores[0].evaluators, thread.scores[0].asked) == (4, 4)


@pytest.mark.parametrize("author", ["qwen", "gpt4", "gpt4-turbo"])
def test_no_model_and_none_of_its_family_evaluates_its_answer(author: str) -> None:
    world = make_world(panel_size=6)
    family = {p.model_name: p.provider for p in world.store.profiles()}

    thread = world.solve(PROMPT, max_iterations=1, preferred_models=[author])

    panel = evaluators(world, thread)
    assert len(panel) == 6
    assert author not in panel
    assert family[author] not in {family[name] for name in panel}


def test_a_panel_of_three_or_any_that_is_named() -> None:
    world = make_world(panel_size=3)

    small = world.solve(PROMPT, max_iterations=1, preferred_models=["claude"])
    named = ["gpt4", "gpt4-turbo", "grok", "claude", "llama"]
    large = world.solve(PROMPT, max_iterations=1, preferred_models=["claude"], evaluators=named)

    assert len(evaluators(world, small)) == 3
    assert evaluators(world, large) == {"gpt4", "gpt4-turbo", "grok", "llama"}


def test_a_small_panel_survives_a_failing_evaluator() -> None:
    def reply(request: CompletionRequest) -> str:
        if is_evaluation(request) and request.model_name == "llama":
            raise ProviderNotFoundError("llama", "HTTP 404")
        return "quite good" if is_evaluation(request) and request.model_name == "mistral" else answer_by_rule(request)

    thread = make_world(reply).solve(PROMPT, max_iterations=1, preferred_models=["claude"])

    (score,) = thread.scores
    assert thread.stop_reason is not StopReason.FAILED
    assert score.score is not None
    assert (score.evaluators, score.asked) == (2, 4)


def test_models_are_chosen_by_what_their_first_answers_were_worth() -> None:
    """All models claim to be equally fit, and one of them answers better than it evaluates, refines or claims."""

    def reply(request: CompletionRequest) -> str:
        if is_evaluation(request):
            return judge(request, 9 if "by grok" in request.user else 6)
        return f"An answer by {request.model_name}." if request.system.startswith(markers.TASK_ANSWER) else "…"

    world = make_world(reply, assessments="off")
    for profile in world.store.profiles():
        world.store.update_profile(profile.model_name, {"specialties": ["coding"]})
    chosen = []
    for n in range(60):
        chosen.append(world.solve(f"{PROMPT} Variant {n}.", max_iterations=1).best_model_id)
        measure(world.services)

    assert len(set(chosen)) == 8
    assert chosen[-20:].count("grok") > 10


def test_refinements_and_evaluations_leave_no_trace_in_the_history() -> None:
    world = make_world()

    thread = world.solve(PROMPT, max_iterations=3)

    answer = next(r for r in world.store.responses_of(thread.id, iteration=1) if r.role is Role.PRIMARY)
    assert len(thread.scores) > 1
    assert answer.domain is not None
    measure(world.services)
    shown = {name: stats.first_answers for name, stats in world.store.model_stats().items() if stats.first_answers}
    (scores,) = shown.pop(answer.model_name).values()
    assert not shown
    assert scores.count == 1
    assert scores.mean == pytest.approx(thread.scores[0].score)


def test_the_draw_for_little_tried_models_is_recorded_and_made_for_first_answers_alone() -> None:
    world = make_world()

    thread = world.solve(PROMPT, max_iterations=3)

    first = first_selection(world, thread)
    later = [s for s in world.store.selections_of(thread.id) if s.selection_phase is SelectionPhase.REFINEMENT]
    drawn = [c for c in first.candidates_considered if c.exploration_bonus]
    assert later
    assert drawn
    assert all("drawn for being little tried" in c.selection_reasoning for c in drawn)
    assert not any(c.exploration_bonus for each in later for c in each.candidates_considered)
    assert all((c.expected_cost or 0) > 0 for c in first.candidates_considered)


def test_without_exploration_the_best_known_model_answers() -> None:
    world = make_world(exploration=0)

    first = first_selection(world, world.solve(PROMPT, max_iterations=1))

    assert not any(c.exploration_bonus for c in first.candidates_considered)
    assert "drawn" not in " ".join(c.selection_reasoning for c in first.candidates_considered)


def test_the_expected_cost_is_near_what_threads_cost() -> None:
    world = make_world()

    threads = [world.solve(f"{PROMPT} Variant {n}.") for n in range(4)]

    expected = [
        next(c.expected_cost or 0.0 for c in s.candidates_considered if c.model_name == s.selected_model)
        for s in (first_selection(world, thread) for thread in threads)
    ]
    assert sum(thread.total_cost for thread in threads) / 3 < sum(expected) < 3 * sum(t.total_cost for t in threads)


def rate_by_round(*rounds: tuple[float, tuple[str, ...]], lone: tuple[str, ...] = ()) -> Reply:
    """Evaluators give each revision its score and severities; only `lone` ones of the first see them, where given."""

    versions = itertools.count(1)

    def reply(request: CompletionRequest) -> str:
        if not is_evaluation(request):
            text = answer_by_rule(request)
            if request.system.startswith(markers.TASK_REFINE):
                count = request.user.count("(revised)") + 1
                mark = "(revised)" * count + f" {next(versions)} "  # each revision is another text
                return re.sub(r"(<revised[^>]*>)", lambda m: m.group(1) + mark, text, flags=re.I)
            return text
        score, severities = rounds[min(request.user.count("(revised)"), len(rounds) - 1)]
        is_deaf = bool(lone) and request.model_name not in lone
        return judge(request, score, *(() if is_deaf else severities))

    return reply


@pytest.mark.parametrize(
    ("reply", "reason", "iterations"),
    [
        (rate_by_round((9.5, ("critical",))), StopReason.QUALITY_THRESHOLD, 1),
        (rate_by_round((6, ())), StopReason.NOTHING_SEVERE, 1),
        (rate_by_round((6, ("critical",)), lone=("llama",)), StopReason.NOTHING_SEVERE, 1),
        (rate_by_round((6, ("critical",)), lone=("llama", "mistral")), StopReason.NO_IMPROVEMENT, 3),
        (rate_by_round((6, ("major",))), StopReason.NO_IMPROVEMENT, 3),
        (rate_by_round((5, ("major",)), (6, ("major",)), (7, ("major",))), StopReason.MAX_ITERATIONS, 3),
        (rate_by_round((5, ("major",)), (7, ()), (9.5, ())), StopReason.NOTHING_SEVERE, 2),
    ],
)
def test_each_rule_ends_threads_of_the_default_three_iterations(
    reply: Reply, reason: StopReason, iterations: int
) -> None:
    thread = make_world(reply).solve(PROMPT, quality_threshold=9, preferred_models=["claude"])

    assert (thread.stop_reason, len(thread.scores)) == (reason, iterations)
    assert thread.max_iterations_reached is (iterations == 3)
