"""The loop over the shipped fakes: what a thread goes through, and what every road out of it records."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from orchestratex.domain.base import (
    Purpose,
    ResponseStatus,
    Role,
    SelectionPhase,
    Step,
    StopReason,
    ThreadStatus,
)
from orchestratex.domain.thread import Thread
from orchestratex.errors import (
    ContentRefusedError,
    InputError,
    ProviderOverloadedError,
    ProviderTimeoutError,
    RequestTooLargeError,
)
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.steps.reconcile import reconcile
from tests.support import World, answer_by_rule, steady

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."


def is_task(request: CompletionRequest, task: str) -> bool:
    return request.system.startswith(task)


def assert_settled(world: World, thread: Thread) -> None:
    """Nothing is held, and all sums of money are the same."""
    session = world.store.get_session(thread.session_id)
    responses = world.store.responses_of(thread.id)
    assert (session.held_nanos, session.reservations) == (0, {})
    assert session.total_cost_nanos == sum(response.cost_nanos for response in responses)
    assert thread.total_cost_nanos == session.total_cost_nanos


def test_a_thread_goes_from_prompt_to_the_best_response() -> None:
    world = World()

    thread = world.solve(PROMPT)

    best = world.store.get_response(thread.best_response_id)  # type: ignore[arg-type]
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_response == best.response_text
    assert best.is_selected_best
    assert [r.id for r in world.store.responses_of(thread.id) if r.is_selected_best] == [best.id]
    assert thread.final_quality_score == max(score.score or 0 for score in thread.scores)
    assert_settled(world, thread)


def test_the_author_never_evaluates_itself_and_evaluators_never_see_its_name() -> None:
    world = World()

    thread = world.solve(PROMPT, max_iterations=4)

    author_of = {r.id: r.model_name for r in world.store.responses_of(thread.id) if r.role is not Role.EVALUATOR}
    evaluations = world.store.evaluations_of(thread.id)
    assert evaluations
    for evaluation in evaluations:
        author = author_of[evaluation.evaluated_response_id]
        assert evaluation.evaluator_model != author
        assert author not in evaluation.evaluation_prompt_used.lower()
        assert evaluation.evaluation_prompt_used == world.store.get_response(evaluation.id).prompt_sent


def test_a_refinement_answers_every_criticism_and_is_weighed() -> None:
    world = World()

    thread = world.solve(PROMPT)

    (document,) = world.store.criticisms_of(thread.id)
    assert document.iteration_number == 2
    assert document.specific_improvements
    assert document.improvement_score is not None
    assert document.addresses_criticism is not None
    assert document.maintains_strengths is not None


def test_every_selection_learns_how_it_turned_out() -> None:
    world = World()

    thread = world.solve(PROMPT)

    selections = world.store.selections_of(thread.id)
    assert [s.selection_phase for s in selections] == [
        SelectionPhase.INITIAL,
        SelectionPhase.REFINEMENT,
        SelectionPhase.FINAL,
    ]
    assert all(s.selection_success is not None and s.actual_performance for s in selections)


@pytest.mark.parametrize("seed", range(12))
def test_messages_doubled_and_out_of_order_change_nothing(seed: int) -> None:
    expected = World().solve(PROMPT)
    world, rng = World(), random.Random(seed)
    thread = world.submit(PROMPT)

    for _ in range(10_000):
        if not world.queue.messages:
            break
        message = world.queue.messages[rng.randrange(len(world.queue.messages))]
        if rng.random() < 0.6:  # else it stays for a second delivery
            world.queue.messages.remove(message)
        world.work(message)
    result = world.store.get_thread(thread.id)

    responses = world.store.responses_of(thread.id)
    keys = Counter(response.key for response in responses)
    assert result.thread_status is ThreadStatus.COMPLETED
    assert result.final_response == expected.final_response
    assert max(keys.values()) == 1
    assert len(world.provider.requests) == sum(response.attempt for response in responses)
    assert_settled(world, result)


@pytest.mark.parametrize("seed", range(6))
def test_lost_messages_are_sent_again_by_reconcile(seed: int) -> None:
    world, rng = World(), random.Random(seed)
    thread = world.submit(PROMPT)

    for _ in range(2000):
        if world.store.get_thread(thread.id).is_ended:
            break
        if not world.queue.messages:
            world.clock.pass_time(11)
            reconcile(world.services)
            continue
        message = world.queue.messages.pop(0)
        if rng.random() < 0.5:  # the other half is lost
            world.work(message)
    result = world.store.get_thread(thread.id)

    assert result.thread_status is ThreadStatus.COMPLETED
    assert len(world.provider.requests) == len(world.store.responses_of(thread.id))
    assert_settled(world, result)


def test_the_quality_threshold_ends_the_thread_after_the_first_panel() -> None:
    thread = World().solve(PROMPT, quality_threshold=5)

    assert thread.stop_reason is StopReason.QUALITY_THRESHOLD
    assert thread.current_iteration == 1


def test_max_iterations_of_one_never_refines() -> None:
    world = World()

    thread = world.solve(PROMPT, max_iterations=1)

    assert thread.stop_reason is StopReason.MAX_ITERATIONS
    assert thread.max_iterations_reached
    assert not any(is_task(request, markers.TASK_REFINE) for request in world.provider.requests)


def test_a_limit_too_small_for_the_first_call_fails_the_thread_and_spends_nothing() -> None:
    world = World()

    thread = world.solve(PROMPT, cost_limit=0.0001)

    assert thread.thread_status is ThreadStatus.FAILED
    assert thread.stop_reason is StopReason.COST_LIMIT
    assert "worst case" in (thread.failure_reason or "")
    assert world.provider.requests == []


@pytest.mark.parametrize("limit", [0.012, 0.02, 0.04, 0.08, 0.16])
def test_the_limit_is_never_overspent_and_the_best_response_comes_back(limit: float) -> None:
    world = World()

    thread = world.solve(PROMPT, cost_limit=limit, max_iterations=10)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_response
    assert thread.total_cost <= limit
    assert_settled(world, thread)


def test_an_unreadable_evaluation_is_asked_for_once_more_then_left_out_of_the_mean() -> None:
    def reply(request: CompletionRequest) -> str:
        is_broken = request.model_name == "llama" and is_task(request, markers.TASK_EVALUATE)
        return "I would say: quite good!" if is_broken else answer_by_rule(request)

    world = World(reply)

    thread = world.solve(PROMPT, max_iterations=1)

    llama = [r for r in world.store.responses_of(thread.id) if r.model_name == "llama"]
    evaluations = world.store.evaluations_of(thread.id)
    assert [(r.purpose, r.status) for r in llama] == [
        (Purpose.EVALUATION, ResponseStatus.FAILED),
        (Purpose.RE_ASK, ResponseStatus.FAILED),
    ]
    assert all("malformed" in (r.error_message or "") and r.cost_nanos > 0 for r in llama)
    assert len(evaluations) == thread.scores[0].evaluators == 6
    assert thread.scores[0].score == pytest.approx(sum(e.overall_score for e in evaluations) / 6)


def test_an_unreadable_evaluation_is_repaired_by_the_re_ask() -> None:
    def reply(request: CompletionRequest) -> str:
        is_first = request.model_name == "llama" and "could not be read" not in request.user
        is_broken = is_first and is_task(request, markers.TASK_EVALUATE)
        return '{"criteria": {}}' if is_broken else answer_by_rule(request)

    world = World(reply)

    thread = world.solve(PROMPT, max_iterations=1)

    assert "llama" in {evaluation.evaluator_model for evaluation in world.store.evaluations_of(thread.id)}
    assert thread.scores[0].evaluators == 7


def test_a_worker_that_ends_begins_no_second_call() -> None:
    world = World(
        lambda request: "no evaluation" if is_task(request, markers.TASK_EVALUATE) else answer_by_rule(request)
    )
    thread = world.submit(PROMPT, max_iterations=1)
    world.services.ending.set()
    world.run()
    asked = len(world.provider.requests)
    world.services.ending.clear()  # another worker
    world.clock.pass_time(60)
    reconcile(world.services)
    world.run()

    models = [r.model_name for r in world.store.responses_of(thread.id) if r.role is Role.EVALUATOR]
    assert asked == 2 + len(set(models))  # the answer, its assessment, and each evaluator once
    assert len(world.provider.requests) == 2 + len(models)
    assert len(models) == 2 * len(set(models))
    assert world.store.get_thread(thread.id).is_ended


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (lambda model: ContentRefusedError(model, "no"), "error_occurred"),
        (lambda model: RequestTooLargeError(model, "HTTP 429: Limit 300, Requested 3627"), "error_occurred"),
        (lambda model: ProviderOverloadedError(model, "busy"), "call_retried"),
    ],
)
def test_a_model_that_cannot_answer_is_replaced(error: Callable[[str], Exception], event: str) -> None:
    first = World().solve(PROMPT, max_iterations=1).best_model_id

    def reply(request: CompletionRequest) -> str:
        if request.model_name == first and is_task(request, markers.TASK_ANSWER):
            raise error(request.model_name)
        return answer_by_rule(request)

    world = World(reply, steady(call_attempts=2))
    thread = world.submit(PROMPT, max_iterations=1)
    for _ in range(20):  # waiting calls are ready when their back-off has passed
        world.run()
        world.clock.pass_time(31)
        reconcile(world.services)
    result = world.store.get_thread(thread.id)

    selections = world.store.selections_of(thread.id)
    assert result.thread_status is ThreadStatus.COMPLETED
    assert result.best_model_id != first
    assert result.failed_models == [first]
    assert first in selections[1].override_reasons  # type: ignore[operator]
    assert event in {entry.event_type for entry in world.store.logs_of(thread.id)}
    assert_settled(world, result)


def test_a_timed_out_call_is_charged_at_its_worst_case() -> None:
    def reply(request: CompletionRequest) -> str:
        if request.model_name == "claude" and is_task(request, markers.TASK_EVALUATE):
            raise ProviderTimeoutError("claude", "no answer within 120 s")
        return answer_by_rule(request)

    world = World(reply, steady(call_attempts=1))

    thread = world.solve(PROMPT, max_iterations=1, preferred_models=["gpt4"])

    (claude,) = [r for r in world.store.responses_of(thread.id) if r.model_name == "claude"]
    assert claude.status is ResponseStatus.FAILED
    assert claude.cost == claude.worst_case
    assert claude.cost_source == "estimated"
    assert_settled(world, thread)


def test_all_models_failing_fails_the_thread_with_the_reason() -> None:
    def refuse(request: CompletionRequest) -> str:
        raise ContentRefusedError(request.model_name, "not this")

    world = World(refuse)

    thread = world.solve(PROMPT)

    assert thread.thread_status is ThreadStatus.FAILED
    assert thread.stop_reason is StopReason.FAILED
    assert "no model is left" in (thread.failure_reason or "")
    assert thread.completed_at is not None
    assert thread.final_response is None


def test_no_evaluation_at_all_still_returns_the_answer_with_no_score() -> None:
    def reply(request: CompletionRequest) -> str:
        if is_task(request, markers.TASK_EVALUATE):
            raise ContentRefusedError(request.model_name, "I do not judge")
        return answer_by_rule(request)

    thread = World(reply).solve(PROMPT)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.stop_reason is StopReason.FAILED
    assert thread.final_response
    assert thread.final_quality_score is None


def test_a_step_that_raises_is_retried_and_then_ends_its_thread_with_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explode(*_: object) -> None:
        raise ArithmeticError("a fault of ours")

    monkeypatch.setattr("orchestratex.steps.weigh.aggregate", explode)
    world = World()
    thread = world.submit(PROMPT)

    for _ in range(20):
        world.run()
        world.clock.pass_time(60)
        reconcile(world.services)
    result = world.store.get_thread(thread.id)

    logs = world.store.logs_of(thread.id)
    assert result.thread_status is ThreadStatus.COMPLETED
    assert result.stop_reason is StopReason.FAILED
    assert result.final_response
    assert sum("ArithmeticError" in (event.error_stack or "") for event in logs) == 4


def test_a_worker_that_died_in_a_call_is_charged_and_its_call_made_again() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    world.work(world.queue.messages.pop(0))
    (pending,) = world.store.pending_of(thread.id)
    claimed = world.store.claim_response(pending.id, lease_s=20)
    assert claimed is not None
    world.store.reserve(thread.session_id, {claimed.money_key: 1000})
    world.store.update_response(claimed, {"sent_at": world.clock(), "reserved_nanos": 1000})

    world.clock.pass_time(21)
    reconcile(world.services)
    world.run()
    result = world.store.get_thread(thread.id)

    response = world.store.get_response(pending.id)
    assert result.thread_status is ThreadStatus.COMPLETED
    assert response.crashes == 1
    assert response.attempt == 2
    assert response.attempt_costs["1"].nanos == 1000
    assert response.cost_source == "estimated"
    assert_settled(world, result)


def test_a_late_answer_replaces_the_estimate_that_was_charged_for_it() -> None:
    worlds: list[World] = []

    def reply(request: CompletionRequest) -> str:
        is_late = request.model_name == "grok" and request.idempotency_key.endswith(".1")
        if is_late and is_task(request, markers.TASK_EVALUATE):
            worlds[0].clock.pass_time(21)  # the lease runs out while the model thinks
            reconcile(worlds[0].services)
        return answer_by_rule(request)

    world = World(reply)
    worlds.append(world)

    thread = world.solve(PROMPT, max_iterations=1)

    (grok,) = [r for r in world.store.responses_of(thread.id) if r.model_name == "grok"]
    assert grok.attempt_costs["1"].source == "computed"
    assert grok.attempt_costs["1"].nanos == grok.attempt_costs["2"].nanos
    assert world.store.get_session(thread.session_id).estimates == {}
    assert_settled(world, world.store.get_thread(thread.id))


def test_stragglers_are_left_behind_after_the_panels_deadline() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    while len(world.store.evaluations_of(thread.id)) < 3:
        world.work(world.queue.messages.pop(0))
    world.queue.messages.clear()

    world.clock.pass_time(181)
    reconcile(world.services)
    world.queue.messages = [message for message in world.queue.messages if "evaluate" not in message[0]]
    world.run()
    result = world.store.get_thread(thread.id)

    statuses = Counter(r.status for r in world.store.responses_of(thread.id) if r.role is Role.EVALUATOR)
    assert result.thread_status is ThreadStatus.COMPLETED
    assert statuses == {ResponseStatus.COMPLETED: 3, ResponseStatus.SUPERSEDED: 4}
    reconcile(world.services)
    assert_settled(world, result)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"prompt": "  "}, "prompt"),
        ({"preferred_models": ["gpt9"]}, "preferred_models"),
        ({"preferred_models": ["qwen"], "excluded_models": ["qwen"]}, "preferred_models"),
        (
            {"excluded_models": ["gpt4", "gpt4-turbo", "grok", "qwen", "claude", "llama", "mistral", "gemini"]},
            "excluded",
        ),
        ({"excluded_models": ["gpt4", "gpt4-turbo", "grok", "qwen", "claude", "llama", "mistral"]}, "no evaluator"),
    ],
)
def test_bad_input_names_its_field_and_writes_nothing(options: dict[str, object], field: str) -> None:
    world = World()
    prompt = str(options.pop("prompt", PROMPT))

    with pytest.raises(InputError) as caught:
        world.submit(prompt, **options)

    assert field in str(caught.value)
    assert world.queue.messages == []
    assert world.store.overdue_threads(resend_s=-1, doubles=False, limit=10) == []


def test_preferred_and_excluded_models_are_obeyed_and_recorded() -> None:
    world = World()

    thread = world.solve(PROMPT, preferred_models=["gpt4-turbo"], excluded_models=["qwen", "llama"])

    used = {response.model_name for response in world.store.responses_of(thread.id)}
    selection = world.store.selections_of(thread.id)[0]
    assert selection.selected_model == "gpt4-turbo"
    assert "preferred" in selection.override_reasons
    assert not used & {"qwen", "llama"}


def test_the_user_sees_progress_by_status() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=2)
    seen = [world.store.get_thread(thread.id).thread_status]

    while world.queue.messages:
        world.work(world.queue.messages.pop(0))
        status = world.store.get_thread(thread.id).thread_status
        if status is not seen[-1]:
            seen.append(status)

    assert seen[0] is ThreadStatus.INITIALIZING
    assert seen[-1] is ThreadStatus.COMPLETED
    assert {ThreadStatus.RESPONDING, ThreadStatus.EVALUATING, ThreadStatus.REFINING} <= set(seen)
    assert world.store.get_thread(thread.id).due_step is None
    assert Step.WEIGH not in {message[0] for message in world.queue.messages}
