"""Why a thread failed, or has no score: the models' own words, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestratex.domain.base import StopReason, ThreadStatus
from orchestratex.domain.response import Completion
from orchestratex.errors import (
    ConflictError,
    ProviderAuthenticationError,
    ProviderConnectionError,
    ProviderNotFoundError,
)
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules.causes import join_causes
from orchestratex.rules.flow import describe_best_panel
from orchestratex.steps.probe import probe
from orchestratex.steps.reconcile import reconcile
from tests.support import World, answer_by_rule, steady

PROMPT = "Why is the sky blue?"
Reply = Callable[[CompletionRequest], str | Completion]


def fail(request: CompletionRequest) -> str:
    name = request.model_name
    if name == "claude":
        raise ProviderAuthenticationError(name, "HTTP 401: invalid x-api-key")
    raise ProviderNotFoundError(name, "HTTP 404: no such model")


def only(*names: str) -> Reply:
    return lambda request: answer_by_rule(request) if request.model_name in names else fail(request)


def test_models_that_failed_by_the_same_are_named_together() -> None:
    told = join_causes({"b": "b: refused", "a": "a: refused", "c": "no key"})

    assert told == "a, b: refused; c: no key"


def test_a_failed_thread_names_each_cause_once() -> None:
    thread = World(fail).solve(PROMPT, excluded_models=["grok"])

    assert thread.thread_status is ThreadStatus.FAILED
    reason = thread.failure_reason or ""
    assert reason.startswith("no model is left: ")
    assert reason.count("claude: HTTP 401: invalid x-api-key") == 1
    assert "gemini, gpt4, gpt4-turbo, llama, mistral, qwen: HTTP 404: no such model" in reason
    assert "excluded: grok" in reason
    assert reason.count("HTTP 404") == 1


def test_a_model_that_is_left_alone_is_told_with_what_it_failed_by() -> None:
    world = World(answer_by_rule)
    profiles = [profile.model_name for profile in world.store.profiles()]

    def refuse(profile: object) -> bool:
        raise ProviderConnectionError(profile.model_name, "connection refused at 127.0.0.1:9")  # type: ignore[attr-defined]

    world.provider.probe = refuse  # type: ignore[method-assign]
    probe(world.services)
    for name in profiles:
        for _ in range(5):
            world.services.breaker.record(name, ok=False)
    world.services.cache.forget()
    thread = world.submit(PROMPT)
    world.run()
    (call,) = [each for each in world.store.responses_of(thread.id) if each.is_pending]

    assert call.waits_for is not None
    assert "its calls keep failing: connection refused at 127.0.0.1:9" in call.waits_for


def test_an_answer_without_a_score_says_what_each_evaluator_failed_by() -> None:
    thread = World(only("gpt4")).solve(PROMPT, preferred_models=["gpt4"])

    note = describe_best_panel(thread) or ""
    assert (thread.thread_status, thread.stop_reason) == (ThreadStatus.COMPLETED, StopReason.FAILED)
    assert "claude: HTTP 401: invalid x-api-key" in note
    assert note.endswith("no score")


def test_an_answer_that_nobody_could_be_asked_about_says_why() -> None:
    world = World()
    for profile in world.store.profiles():
        if profile.model_name != "gpt4":
            why = {"is_available": False, "out_of_reach": f"{profile.model_name}: connection refused at 127.0.0.1:9"}
            world.store.update_profile(profile.model_name, why)
    world.services.cache.forget()

    thread = world.solve(PROMPT)

    note = describe_best_panel(thread) or ""
    assert "could be read" not in note
    assert "nobody could be asked: claude, gemini, gpt4-turbo, grok, llama, mistral, qwen: connection refused" in note


def test_evaluations_that_did_not_come_in_time_say_what_they_waited_for() -> None:
    def answer_or_refuse(request: CompletionRequest) -> str | Completion:
        if request.model_name == "gpt4":
            return answer_by_rule(request)
        raise ProviderConnectionError(request.model_name, "connection refused at 127.0.0.1:9")

    world = World(answer_or_refuse)
    thread = world.submit(PROMPT, preferred_models=["gpt4"], max_iterations=1)
    for _ in range(40):
        world.run()
        world.clock.pass_time(15)
        reconcile(world.services)
    note = describe_best_panel(world.store.get_thread(thread.id)) or ""

    assert "connection refused at 127.0.0.1:9" in note


def test_the_only_evaluator_is_not_chosen_to_answer() -> None:
    world = World(settings=steady())

    for name in ("claude", "gpt4"):
        thread = world.solve(PROMPT, evaluators=[name], max_iterations=1)

        assert thread.best_model_id != name
        assert [score.evaluators for score in thread.scores] == [1]


def test_where_the_only_evaluator_alone_is_preferred_that_is_refused() -> None:
    with pytest.raises(ConflictError, match="evaluators: gpt4 is to answer, as it is preferred"):
        World().submit(PROMPT, evaluators=["gpt4"], preferred_models=["gpt4"])


def test_a_second_preferred_model_answers_where_the_first_is_the_only_evaluator() -> None:
    thread = World().solve(PROMPT, evaluators=["gpt4"], preferred_models=["gpt4", "claude"], max_iterations=1)

    assert thread.best_model_id == "claude"


def test_an_evaluator_that_is_excluded_is_refused() -> None:
    world = World()

    with pytest.raises(ConflictError, match="evaluators: claude cannot be an evaluator and excluded at once"):
        world.submit(PROMPT, evaluators=["gpt4", "claude"], excluded_models=["claude"])


def test_what_the_sandbox_played_is_marked_to_the_thread() -> None:
    def play(request: CompletionRequest) -> Completion:
        return Completion(text=answer_by_rule(request), latency_ms=1, is_simulated=request.model_name == "claude")

    world = World(play)
    thread = world.solve(PROMPT, max_iterations=1)
    plain = World().solve(PROMPT, max_iterations=1)
    marked = {each.model_name for each in world.store.responses_of(thread.id) if each.is_simulated}

    assert marked == {"claude"}
    assert thread.is_simulated
    assert not plain.is_simulated
