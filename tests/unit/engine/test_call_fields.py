"""What the record of a call says, by how the call ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestratex.advance import cancel
from orchestratex.domain.base import FinishReason, Purpose, ResponseStatus, Role, Step
from orchestratex.domain.response import Completion, Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import (
    ContentRefusedError,
    ProviderConnectionError,
    ProviderError,
    ProviderOverloadedError,
    ProviderTimeoutError,
)
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.settings import Settings
from orchestratex.steps.reconcile import reconcile
from tests.support import Reply, World, answer_by_rule
from tests.unit.engine.test_halting import Busy, Slow, settle, work_until
from tests.unit.engine.test_loop import is_task

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."
CONTEXT = "It is for a course on algorithms."
HALF = "The sky is blue because sunlight, when it enters the atm"
LATENCY_S = 3


def fault(request: CompletionRequest, call: int) -> str | Completion:
    """Every kind of end that a call has, one after the other."""
    kinds: list[Callable[[], str | Completion]] = [
        lambda: answer_by_rule(request),
        lambda: Completion(text=HALF, finish_reason=FinishReason.LENGTH, latency_ms=1.0),
        lambda: _raise(ProviderOverloadedError(request.model_name, "HTTP 503")),
        lambda: "nothing that can be read",
        lambda: _raise(ProviderTimeoutError(request.model_name, "no answer")),
        lambda: _raise(ContentRefusedError(request.model_name, "I do not answer")),
        lambda: Completion(text="To build", finish_reason=FinishReason.REFUSAL, latency_ms=1.0),
        lambda: _raise(ProviderConnectionError(request.model_name, "reset")),
    ]
    return kinds[call % len(kinds)]()


def _raise(error: Exception) -> str:
    raise error


def faulty(world: list[World], *, stride: int) -> Reply:
    """A reply of every kind, which takes its time."""
    calls = iter(range(0, 10**6, stride))

    def reply(request: CompletionRequest) -> str | Completion:
        world[0].clock.pass_time(LATENCY_S)
        return fault(request, next(calls))

    return reply


def run_faulty(stride: int, *, cancel_after: int | None = None) -> tuple[World, Thread]:
    worlds: list[World] = []
    worlds.append(World(faulty(worlds, stride=stride)))
    world = worlds[0]
    thread = world.submit(PROMPT, context=CONTEXT, max_iterations=3)
    for count in range(600):
        if count == cancel_after:
            cancel(thread.id, world.services)
        if world.store.get_thread(thread.id).is_ended:
            break
        if world.queue.messages:
            world.work(world.queue.messages.pop(0))
        else:
            world.clock.pass_time(11)
            reconcile(world.services)
    settle(world, rounds=3)
    return world, world.store.get_thread(thread.id)


def broken_rules(response: Response) -> list[str]:
    """What a call's record says that it must not say."""
    is_failed, is_done = response.status is ResponseStatus.FAILED, response.status is ResponseStatus.COMPLETED
    was_sent = response.prompt_sent is not None
    checks = {
        "text of completed calls alone": (response.response_text is not None) == is_done,
        "error of failed calls alone": (response.error_message is not None) == is_failed,
        "what was sent took time": not was_sent or response.response_time is not None,
        "what was sent lasted": not was_sent or response.processing_duration is not None,
        "the call is part of its duration": not was_sent
        or (response.processing_duration or 0) >= (response.response_time or 0),
        "the caller's context": response.context_provided == CONTEXT,
        "what was asked again for stands apart": (response.asked_again_for is not None)
        == (response.purpose is Purpose.RE_ASK),
    }
    return [name for name, holds in checks.items() if not holds]


@pytest.mark.parametrize("stride", [1, 3, 5, 7])
@pytest.mark.parametrize("cancel_after", [None, 2, 5, 9, 14])
def test_every_call_says_what_its_end_allows(stride: int, cancel_after: int | None) -> None:
    world, thread = run_faulty(stride, cancel_after=cancel_after)

    assert thread.is_ended
    responses = world.store.responses_of(thread.id)
    found = {(r.model_name, r.role, r.purpose, r.status): broken_rules(r) for r in responses}
    assert {key: rules for key, rules in found.items() if rules} == {}


def test_a_call_that_failed_took_the_time_until_its_failure() -> None:
    worlds: list[World] = []

    def reply(request: CompletionRequest) -> str:
        if request.model_name == "llama" and is_task(request, markers.TASK_EVALUATE):
            worlds[0].clock.pass_time(LATENCY_S)
            raise ContentRefusedError(request.model_name, "I do not judge")
        return answer_by_rule(request)

    worlds.append(World(reply))
    thread = worlds[0].solve(PROMPT, max_iterations=1)

    (failed,) = (r for r in worlds[0].store.responses_of(thread.id) if r.status is ResponseStatus.FAILED)
    assert failed.response_time == pytest.approx(LATENCY_S * 1000, abs=50)
    assert (failed.processing_duration or 0) >= (failed.response_time or 0)


def test_a_call_that_waits_for_another_attempt_has_not_failed() -> None:
    failures = iter([ProviderOverloadedError("x", "HTTP 503")])

    def reply(request: CompletionRequest) -> str:
        for error in failures:
            raise error
        return answer_by_rule(request)

    world = World(reply)
    thread = work_until(world, world.submit(PROMPT, max_iterations=1), Step.RESPOND)
    world.work(world.queue.messages.pop(0))

    (waiting,) = world.store.responses_of(thread.id)
    assert (waiting.status, waiting.error_message) == (ResponseStatus.PENDING, None)
    assert "503" in (waiting.retried_for or "")
    cancel(thread.id, world.services)
    (left,) = world.store.responses_of(thread.id)
    assert (left.status, left.error_message) == (ResponseStatus.SUPERSEDED, None)
    assert left.response_time is not None
    assert (left.processing_duration or 0) >= (left.response_time or 0)


def test_a_call_left_behind_under_way_lasted_until_it_ended() -> None:
    slow = Slow()
    world = World(slow)
    thread = work_until(world, world.submit(PROMPT), Step.RESPOND)
    busy = Busy(world, world.queue.messages.pop(0))
    busy.start()
    assert slow.has_begun.wait(20)

    cancel(thread.id, world.services)
    (left,) = world.store.responses_of(thread.id)
    world.clock.pass_time(LATENCY_S)
    slow.may_go_on.set()
    assert busy.is_free
    settle(world, rounds=2)

    (ended,) = world.store.responses_of(thread.id)
    assert left.processing_duration is not None
    assert ended.status is ResponseStatus.SUPERSEDED
    assert (ended.processing_duration or 0) >= left.processing_duration + LATENCY_S * 1000
    assert ended.response_text is None
    assert ended.completion is not None


def test_a_text_that_is_not_whole_stands_in_its_completion_until_it_is_taken() -> None:
    cut_off = Completion(text=HALF, finish_reason=FinishReason.LENGTH, latency_ms=1.0)
    world = World(lambda request: cut_off if is_task(request, markers.TASK_ANSWER) else answer_by_rule(request))

    thread = world.solve(PROMPT, max_iterations=1)

    answers = [r for r in world.store.responses_of(thread.id) if r.role is Role.PRIMARY and r.purpose != "assessment"]
    taken = [r for r in answers if r.status is ResponseStatus.COMPLETED]
    assert [(r.response_text, r.error_message) for r in taken] == [(HALF, None)]
    assert len(answers) > 1
    assert {r.response_text for r in answers if r.status is ResponseStatus.FAILED} == {None}
    assert all(r.completion and r.completion.text == HALF for r in answers)


def test_processing_criticism_is_merging_it_and_building_the_prompt() -> None:
    worlds: list[World] = []
    failures = iter([ProviderOverloadedError("x", "HTTP 503")])

    def reply(request: CompletionRequest) -> str:
        if is_task(request, markers.TASK_REFINE):
            for error in failures:
                raise error
        return answer_by_rule(request)

    worlds.append(World(reply, Settings(assessments="off")))
    world = worlds[0]
    thread = work_until(world, world.submit(PROMPT, max_iterations=2), Step.REFINE)
    world.clock.pass_time(60)  # in the queue
    settle(world)

    (document,) = world.store.criticisms_of(thread.id)
    assert 0 < document.criticism_processing_time < 2000


@pytest.mark.parametrize("make_error", [ProviderTimeoutError, ProviderOverloadedError])
def test_a_call_that_fails_after_its_thread_was_cancelled_is_charged_and_not_sent_again(
    make_error: type[ProviderError],
) -> None:
    cancelled: list[Callable[[], object]] = []

    def reply(request: CompletionRequest) -> str:
        cancelled.pop()()
        raise make_error(request.model_name, "it failed")

    world = World(reply)
    thread = world.submit(PROMPT)
    cancelled.append(lambda: cancel(thread.id, world.services))
    settle(world, rounds=3)

    (call,) = world.store.responses_of(thread.id)
    ended = world.store.get_thread(thread.id)
    session = world.store.get_session(thread.session_id)
    assert call.status is ResponseStatus.SUPERSEDED
    assert call.cost is not None
    assert (call.cost > 0) is make_error.may_be_charged
    assert ended.total_cost == call.cost == session.total_cost
    assert session.reservations == {}
