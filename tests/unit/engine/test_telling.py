"""What stands as the results of tasks: an operator sees model, score, cost and failure where the task is."""

from __future__ import annotations

import re

import pytest
from bson import ObjectId

from orchestratex.advance import advance, advance_answer, advance_evaluation, fan_out
from orchestratex.domain.base import Step
from orchestratex.domain.response import Completion
from orchestratex.errors import (
    OrchestratexError,
    ProviderAuthenticationError,
    ProviderConnectionError,
    ProviderOverloadedError,
)
from orchestratex.providers.base import CompletionRequest
from orchestratex.queue import FAN_OUT, TASKS
from tests.support import Reply, World, answer_by_rule

MONEY = r"\$\d+\.\d{6}"


def run_all(world: World) -> list[tuple[str, str]]:
    """Be the workers, and note each task's name and result."""
    results: list[tuple[str, str]] = []
    while world.queue.messages:
        name, ids = world.queue.messages.pop(0)
        results.append((name.removeprefix("orchestratex."), run_one(world, name, ids)))
    return results


def run_one(world: World, name: str, ids: tuple[ObjectId, ...]) -> str:
    if name == TASKS[Step.EVALUATE]:
        return advance_evaluation(ids[0], ids[1], world.services)
    if name == FAN_OUT:
        return fan_out(ids[0], world.services)
    if name in {TASKS[Step.RESPOND], TASKS[Step.REFINE]}:
        is_open, told = advance_answer(Step(name.removeprefix("orchestratex.")), ids[0], world.services)
        if is_open:
            world.queue.messages.append((FAN_OUT, (ids[0],)))
        return told
    return advance(ids[0], world.services)


def failing(error: OrchestratexError, *, on: str, times: int = 1000) -> Reply:
    """Answers by rule, but calls whose prompt or model is `on` fail so often first."""
    left = times

    def reply(request: CompletionRequest) -> str | Completion:
        nonlocal left
        is_meant = request.model_name == on or (on == "evaluators" and "evaluat" in (request.system or "").lower())
        if is_meant and left > 0:
            left -= 1
            raise error
        return answer_by_rule(request)

    return reply


def test_results_name_model_score_and_cost() -> None:
    world = World()
    thread = world.submit("Write a haiku about the sea.", max_iterations=2)

    results = run_all(world)
    ended = world.store.get_thread(thread.id)

    answers = [told for name, told in results if name in {"respond", "refine"}]
    assert answers
    assert all(re.match(rf"\S+ (answered|refined the answer) for {MONEY}$", told) for told in answers)
    evaluations = [told for name, told in results if name == "evaluate" and "gives" in told]
    assert len(evaluations) == len(world.store.evaluations_of(thread.id))
    assert all(re.match(rf"\S+ gives \d+\.\d\d for {MONEY}", told) for told in evaluations)
    (end,) = [told for _, told in results if "finish" in told]
    assert f"completed ({ended.stop_reason}), {ended.final_quality_score:.2f} by {ended.best_model_id}" in end
    assert f"${ended.total_cost:.6f} in all" in end


@pytest.mark.parametrize(
    ("error", "words", "then"),
    [
        (
            ProviderAuthenticationError("gpt4", "HTTP 401 invalid x-api-key"),
            "401 invalid x-api-key",
            "out of the panel",
        ),
        (ProviderConnectionError("gpt4", "refused at http://127.0.0.1:1"), "refused at http://", "sent again in"),
        (ProviderOverloadedError("gpt4", "HTTP 503"), "HTTP 503", "sent again in"),
    ],
)
def test_a_failed_call_stands_as_failed_with_its_reason(error: OrchestratexError, words: str, then: str) -> None:
    world = World(failing(error, on="gpt4"))
    world.submit("Écris un haïku sur la mer.", max_iterations=1)  # another model answers, gpt4 evaluates

    results = run_all(world)

    failed = [told for _, told in results if told.startswith("failed: gpt4: ")]
    assert any(words in told and then in told for told in failed)


def test_an_evaluator_that_fails_is_left_out_in_words() -> None:
    world = World(failing(ProviderAuthenticationError("gemini", "HTTP 403"), on="gemini"))
    world.submit("Why is the sky blue?", max_iterations=1)

    results = run_all(world)

    (told,) = [told for _, told in results if told.startswith("failed: gemini: HTTP 403")]
    assert "left out of the panel" in told or "another model is asked" in told


def test_a_reply_that_cannot_be_read_stands_as_failed() -> None:
    def mumble(request: CompletionRequest) -> str | Completion:
        said = answer_by_rule(request)
        return "mumble" if "overall" in said or "criteria" in said else said

    world = World(mumble)
    world.submit("Why is the sky blue?", max_iterations=1)

    results = run_all(world)

    assert any(re.match(rf"failed: \S+: .*{MONEY}; left out of the panel", told) for _, told in results)


def test_long_reasons_are_cut() -> None:
    world = World(failing(ProviderAuthenticationError("gpt4", "x" * 5000), on="gpt4"))
    world.submit("Why is the sky blue?", max_iterations=1)

    results = run_all(world)

    assert max(len(told) for _, told in results) < 1024  # Celery's own cut would take the end away
