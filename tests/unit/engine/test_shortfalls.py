"""Replies that the output limit or a filter ended: asked for again with more room, asked of others, or shown marked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestratex.domain.base import FinishReason, Purpose, ResponseStatus, Role, StopReason, ThreadStatus, derive_id
from orchestratex.domain.response import Completion, Response, Usage
from orchestratex.domain.thread import Thread
from orchestratex.errors import ContentRefusedError, ProviderRejectedError
from orchestratex.faultpoints import FaultPoint
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from tests.support import Reply, World, answer_by_rule, steady
from tests.unit.engine.test_crashes import AT_SUBMISSION, CrashAt, assert_sound, work_through
from tests.unit.engine.test_loop import assert_settled, is_task

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."
HALF = "The sky is blue because sunlight, when it enters the atm"
UNASKED = (Purpose.ASSESSMENT, ResponseStatus.SUPERSEDED)  # nobody waits for it: the thread may end before it
FIRST = World().solve(PROMPT, max_iterations=1).best_model_id or ""


def end(text: str, reason: FinishReason, *, generated: int, thought: int = 0) -> Completion:
    usage = Usage(input_tokens=90, output_tokens=generated, total_tokens=90 + generated, reasoning_tokens=thought)
    return Completion(text=text, finish_reason=reason, usage=usage, latency_ms=1.0)


def cut_off(request: CompletionRequest, text: str = HALF) -> Completion:
    return end(text, FinishReason.LENGTH, generated=request.max_tokens)


def think_only(request: CompletionRequest) -> Completion:
    return end("", FinishReason.LENGTH, generated=request.max_tokens, thought=request.max_tokens)


def filtered(request: CompletionRequest) -> Completion:
    return end("To build the", FinishReason.REFUSAL, generated=min(120, request.max_tokens))


def spoil(task: str, how: Callable[[CompletionRequest], str | Completion], *models: str, below: int = 10**9) -> Reply:
    """The rule, but what `models` (none: all) are asked as `task` with a limit below `below` is answered by `how`."""

    def reply(request: CompletionRequest) -> str | Completion:
        is_hit = is_task(request, task) and (not models or request.model_name in models) and request.max_tokens < below
        return how(request) if is_hit else answer_by_rule(request)

    return reply


def answers(world: World, thread: Thread) -> list[Response]:
    return [r for r in world.store.responses_of(thread.id) if r.role is Role.PRIMARY and r.purpose != "assessment"]


def events(world: World, thread: Thread) -> list[str]:
    return [event.event_type for event in world.store.logs_of(thread.id)]


def limit_output(world: World, tokens: int, *models: str) -> None:
    for profile in world.store.profiles():
        if not models or profile.model_name in models:
            world.store.update_profile(profile.model_name, {"max_output_tokens": tokens})


def final(world: World, thread: Thread) -> Response:
    assert thread.best_response_id is not None
    return world.store.get_response(thread.best_response_id)


@pytest.mark.parametrize("how", [cut_off, think_only])
def test_a_cut_off_answer_is_asked_for_again_with_more_room(how: Callable[[CompletionRequest], Completion]) -> None:
    world = World(spoil(markers.TASK_ANSWER, how, FIRST, below=2049))

    thread = world.solve(PROMPT, max_iterations=1)

    first, again = answers(world, thread)
    asked = [r for r in world.provider.requests if is_task(r, markers.TASK_ANSWER)]
    assert (first.status, again.status) == (ResponseStatus.FAILED, ResponseStatus.COMPLETED)
    assert (first.finish_reason, first.output_limit) == (FinishReason.LENGTH, 2048)
    assert (again.purpose, again.ordinal, again.model_name) == (Purpose.RE_ASK, 0, FIRST)
    assert [request.max_tokens for request in asked] == [2048, 4096 if how is cut_off else 8192]
    assert asked[1].temperature < asked[0].temperature
    assert asked[1].seed != asked[0].seed
    assert "Your last reply was" in asked[1].user
    assert "2048 tokens" in asked[1].user
    assert (thread.is_final_partial, thread.final_finish_reason) == (False, FinishReason.STOP)
    assert ("reply_cut_off" if how is cut_off else "reply_no_text") in events(world, thread)
    assert_settled(world, thread)


def test_an_answer_that_was_cut_off_after_its_assessment_is_not_whole() -> None:
    own = markers.tag(markers.ASSESSMENT_TAG, '{"confidence": 6, "self_assessment": "short"}')
    world = World(spoil(markers.TASK_ANSWER, lambda request: cut_off(request, f"{own}\n{HALF}"), FIRST, below=2049))

    thread = world.solve(PROMPT, max_iterations=1)

    first, again = answers(world, thread)
    assert (first.status, first.is_partial, again.purpose) == (ResponseStatus.FAILED, True, Purpose.RE_ASK)
    assert (thread.is_final_partial, thread.final_finish_reason) == (False, FinishReason.STOP)
    assert_settled(world, thread)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (cut_off, "the reply was cut off at the output limit of 1024 tokens"),
        (think_only, "output limit reached before any text: the limit was 1024 tokens, 1024 of them spent on thinking"),
        (filtered, "the reply was ended by the provider's filter before its end"),
    ],
)
def test_an_assessment_that_is_not_whole_says_why_and_changes_nothing_else(
    how: Callable[[CompletionRequest], Completion], words: str
) -> None:
    world = World(spoil(markers.TASK_ASSESS, how), steady(evaluation_max_tokens=1024))

    thread = world.solve(PROMPT, max_iterations=1)

    (assessment,) = [r for r in world.store.responses_of(thread.id) if r.purpose is Purpose.ASSESSMENT]
    assert (assessment.status, assessment.error_message) == (ResponseStatus.FAILED, words)
    assert assessment.cost_nanos > 0
    assert (thread.thread_status, thread.is_final_partial) == (ThreadStatus.COMPLETED, False)
    assert final(world, thread).confidence_score is None
    assert_settled(world, thread)


def test_thinking_that_ate_the_limit_is_said_so() -> None:
    world = World(spoil(markers.TASK_ANSWER, think_only))
    limit_output(world, 2048)

    thread = world.solve(PROMPT)

    words = "output limit reached before any text: the limit was 2048 tokens, 2048 of them spent on thinking"
    assert (thread.thread_status, thread.stop_reason) == (ThreadStatus.FAILED, StopReason.FAILED)
    assert words in (thread.failure_reason or "")
    assert {response.error_message for response in answers(world, thread)} == {words}
    assert len(world.provider.requests) == len(world.store.profiles())  # none was asked twice with the same limit
    assert_settled(world, thread)


def test_an_answer_at_the_models_limit_is_asked_of_one_that_may_write_more() -> None:
    world = World(spoil(markers.TASK_ANSWER, cut_off, below=4096))
    limit_output(world, 2048)
    limit_output(world, 16_384, "llama")

    thread = world.solve(PROMPT, max_iterations=1)

    first, whole = answers(world, thread)
    assert (first.model_name, first.stands_by, first.is_partial) == (FIRST, True, True)
    assert (whole.model_name, whole.output_limit) == ("llama", 4096)
    assert not thread.is_final_partial
    assert_settled(world, thread)


def test_where_nobody_has_room_the_cut_off_answer_stands_marked() -> None:
    world = World(spoil(markers.TASK_ANSWER, cut_off))
    limit_output(world, 2048)

    thread = world.solve(PROMPT, max_iterations=1)

    (answer,) = answers(world, thread)
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_response == answer.response_text == HALF
    assert (thread.is_final_partial, thread.final_finish_reason) == (True, FinishReason.LENGTH)
    assert (answer.status, answer.is_partial, answer.stands_by) == (ResponseStatus.COMPLETED, True, False)
    assert answer.error_message is None
    assert thread.scores[0].evaluators == 7
    assert {"reply_cut_off", "partial_response_taken"} <= set(events(world, thread))
    assert_settled(world, thread)


def test_longer_and_longer_asking_ends() -> None:
    world = World(spoil(markers.TASK_ANSWER, lambda request: cut_off(request, "x" * request.max_tokens)))

    thread = world.solve(PROMPT, max_iterations=1)

    asked = [(r.model_name, r.output_limit) for r in answers(world, thread)]
    assert len(asked) == len(set(asked)) <= 9  # three models, thrice at the most, never twice with one limit
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.is_final_partial
    assert len(thread.final_response or "") == max(limit or 0 for _, limit in asked)  # the longest that came
    assert_settled(world, thread)


def test_a_filtered_answer_is_asked_of_another_model_and_not_of_the_same() -> None:
    world = World(spoil(markers.TASK_ANSWER, filtered, FIRST))

    thread = world.solve(PROMPT, max_iterations=1)

    first, whole = answers(world, thread)
    assert (first.model_name, first.finish_reason, first.stands_by) == (FIRST, FinishReason.REFUSAL, True)
    assert whole.model_name != FIRST
    assert not thread.is_final_partial
    assert "reply_filtered" in events(world, thread)
    assert_settled(world, thread)


def test_an_answer_that_every_filter_ends_is_shown_marked() -> None:
    world = World(spoil(markers.TASK_ANSWER, filtered))

    thread = world.solve(PROMPT, max_iterations=1)

    assert len(answers(world, thread)) == 3
    assert (thread.final_response, thread.is_final_partial) == ("To build the", True)
    assert thread.final_finish_reason is FinishReason.REFUSAL
    assert_settled(world, thread)


def test_a_cut_off_answer_is_kept_when_all_others_refuse() -> None:
    def reply(request: CompletionRequest) -> str | Completion:
        if not is_task(request, markers.TASK_ANSWER):
            return answer_by_rule(request)
        if request.model_name == FIRST and request.max_tokens <= 2048:
            return cut_off(request)
        raise ContentRefusedError(request.model_name, "not this")

    world = World(reply)

    thread = world.solve(PROMPT, max_iterations=1)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert (thread.final_response, thread.is_final_partial, thread.best_model_id) == (HALF, True, FIRST)
    assert_settled(world, thread)


@pytest.mark.parametrize("limit", [0.0140, 0.0500, 0.1000])
def test_more_room_is_asked_for_only_where_money_allows(limit: float) -> None:
    world = World(spoil(markers.TASK_ANSWER, cut_off))

    thread = world.solve(PROMPT, cost_limit=limit, max_iterations=1, preferred_models=["qwen"])

    limits = [response.output_limit for response in answers(world, thread) if response.output_limit]
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert (thread.final_response, thread.is_final_partial) == (HALF, True)
    assert thread.total_cost <= limit
    assert len(limits) == len({(r.model_name, r.output_limit) for r in answers(world, thread) if r.output_limit})
    assert_settled(world, thread)


def test_a_thread_that_is_cancelled_while_more_is_asked_for_keeps_what_came() -> None:
    from orchestratex.advance import cancel

    worlds: list[World] = []

    def reply(request: CompletionRequest) -> str | Completion:
        if request.max_tokens > 2048:
            (thread_id,) = {message[1][0] for message in known}
            cancel(thread_id, worlds[0].services)
            raise ContentRefusedError(request.model_name, "too late")
        return cut_off(request)

    world = World(reply)
    worlds.append(world)
    thread = world.submit(PROMPT)
    known = list(world.queue.messages)
    world.run()
    ended = world.store.get_thread(thread.id)

    assert (ended.thread_status, ended.stop_reason) == (ThreadStatus.COMPLETED, StopReason.CANCELLED)
    assert (ended.final_response, ended.is_final_partial) == (HALF, True)


def test_a_cut_off_evaluation_that_is_whole_is_read_and_not_paid_again() -> None:
    def finish_late(request: CompletionRequest) -> Completion:
        return cut_off(request, answer_by_rule(request) + "\n\nNote: I would")

    world = World(spoil(markers.TASK_EVALUATE, finish_late))

    thread = world.solve(PROMPT, max_iterations=1)

    assert thread.scores[0].evaluators == 7
    assert len([r for r in world.provider.requests if is_task(r, markers.TASK_EVALUATE)]) == 7


def test_a_cut_off_evaluation_is_asked_for_again_with_more_room() -> None:
    def half(request: CompletionRequest) -> Completion:
        text = answer_by_rule(request)
        return cut_off(request, text[: len(text) // 2])

    world = World(spoil(markers.TASK_EVALUATE, half, "llama", below=1025))

    thread = world.solve(PROMPT, max_iterations=1)

    calls = [r for r in world.store.responses_of(thread.id) if r.model_name == "llama"]
    assert [(r.purpose, r.output_limit) for r in calls] == [(Purpose.EVALUATION, 1024), (Purpose.RE_ASK, 2048)]
    assert thread.scores[0].evaluators == 7
    assert_settled(world, thread)


@pytest.mark.parametrize(("how", "calls"), [(cut_off, 3), (think_only, 3), (filtered, 1)])
def test_an_evaluator_whose_replies_never_end_is_left_out(
    how: Callable[[CompletionRequest], Completion], calls: int
) -> None:
    world = World(spoil(markers.TASK_EVALUATE, how, "llama"))

    thread = world.solve(PROMPT, max_iterations=1)

    asked = [r for r in world.store.responses_of(thread.id) if r.model_name == "llama"]
    assert len(asked) == len({r.output_limit for r in asked}) == calls
    assert {r.status for r in asked} == {ResponseStatus.FAILED}
    assert thread.scores[0].evaluators == 6
    assert_settled(world, thread)


def test_a_cut_off_revision_is_asked_for_again_with_more_room() -> None:
    def half(request: CompletionRequest) -> Completion:
        return cut_off(request, answer_by_rule(request).split(f"</{markers.REVISED_TAG}")[0][:-20])

    world = World(spoil(markers.TASK_REFINE, half, below=2049))

    thread = world.solve(PROMPT, max_iterations=2)

    refined = [r for r in world.store.responses_of(thread.id) if r.role is Role.REFINER and r.purpose != "assessment"]
    assert [(r.purpose, r.output_limit) for r in refined] == [(Purpose.ANSWER, 2048), (Purpose.RE_ASK, 4096)]
    assert thread.current_iteration == 2
    assert not thread.is_final_partial
    assert_settled(world, thread)


def test_revisions_that_never_end_leave_the_best_answer_whole() -> None:
    world = World(spoil(markers.TASK_REFINE, cut_off))

    thread = world.solve(PROMPT, max_iterations=2)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_response
    assert HALF not in thread.final_response
    assert_settled(world, thread)


def test_a_re_ask_keeps_the_callers_context_and_says_what_was_wrong_in_a_field_of_its_own() -> None:
    world = World(spoil(markers.TASK_EVALUATE, lambda _: "quite good!", "llama"))

    thread = world.solve(PROMPT, max_iterations=1, context="For beginners.")

    first, again = (r for r in world.store.responses_of(thread.id) if r.model_name == "llama")
    requests = [r for r in world.provider.requests if r.model_name == "llama"]
    assert (first.context_provided, first.asked_again_for) == ("For beginners.", None)
    assert again.context_provided == "For beginners."
    assert (again.asked_again_for or "").startswith("could not be read: ")
    assert f"Your last reply {again.asked_again_for}." in requests[1].user
    assert (requests[0].temperature, requests[1].temperature) == (0.2, 0.0)
    assert requests[0].json_schema is None or requests[1].json_schema is None


def test_a_re_ask_of_an_older_version_is_still_understood() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    world.work(world.queue.messages.pop(0))
    (answer,) = world.store.pending_of(thread.id)
    old = answer.model_copy(
        update={
            "id": derive_id("response", thread.id, 1, answer.role, answer.model_name, Purpose.RE_ASK, 0),
            "purpose": Purpose.RE_ASK,
            "context_provided": "there is no answer in it",
        }
    )
    claimed = world.store.claim_response(answer.id, lease_s=20)
    assert claimed is not None
    world.store.complete_response(claimed, {"status": ResponseStatus.FAILED})
    world.store.insert_responses([old])

    world.run()

    asked = next(r for r in world.provider.requests if is_task(r, markers.TASK_ANSWER))
    assert "Your last reply could not be read: there is no answer in it." in asked.user
    assert world.store.get_thread(thread.id).thread_status is ThreadStatus.COMPLETED


def test_a_schema_that_the_server_refuses_is_left_out_and_costs_nobody_the_place() -> None:
    def refuse(request: CompletionRequest) -> str:
        if request.json_schema is not None:
            raise ProviderRejectedError(request.model_name, "HTTP 400: 'response_format.json_schema' is not supported")
        return answer_by_rule(request)

    world = World(spoil(markers.TASK_EVALUATE, refuse))

    thread = world.solve(PROMPT, max_iterations=1)

    assert thread.scores[0].evaluators == 7
    assert all(r.errors == 0 for r in world.store.responses_of(thread.id))
    assert_settled(world, thread)


PAID_ONCE = [point for point in FaultPoint if point not in AT_SUBMISSION and point is not FaultPoint.CALL_ANSWERED]


@pytest.mark.parametrize("how", [cut_off, filtered])
@pytest.mark.parametrize("point", PAID_ONCE)
def test_a_worker_that_dies_anywhere_in_asking_again_pays_nothing_twice(
    how: Callable[[CompletionRequest], Completion], point: FaultPoint
) -> None:
    reply = spoil(markers.TASK_ANSWER, how, FIRST, below=4096)
    expected = World(reply).solve(PROMPT, max_iterations=1)

    for nth in range(1, 4):
        world = World(reply, faults=CrashAt(point, nth))
        thread = work_through(world, world.submit(PROMPT, max_iterations=1))

        asked = [request.idempotency_key.partition(".")[0] for request in world.provider.requests]
        assert thread.final_response == expected.final_response
        assert not thread.is_final_partial
        responses = world.store.responses_of(thread.id)
        unasked = [r for r in responses if str(r.id) not in asked]
        assert len(asked) == len(set(asked)) == len(responses) - len(unasked)
        assert {(r.purpose, r.status) for r in unasked} <= {UNASKED}
        if point is not FaultPoint.CALL_SENT:  # marked as sent, and nobody can know that it did not leave
            assert sum(r.cost_nanos for r in unasked) == 0
        assert_sound(world, thread)


@pytest.mark.parametrize("point", PAID_ONCE)
def test_a_worker_that_dies_while_an_answer_in_pieces_is_taken_loses_none_of_it(point: FaultPoint) -> None:
    for nth in (1, 2):
        world = World(spoil(markers.TASK_ANSWER, cut_off), faults=CrashAt(point, nth))
        limit_output(world, 2048)
        thread = work_through(world, world.submit(PROMPT, max_iterations=1))

        assert (thread.final_response, thread.is_final_partial) == (HALF, True)
        assert [r.status for r in answers(world, thread)] == [ResponseStatus.COMPLETED]
        assert_sound(world, thread)


def test_a_reply_that_an_older_version_saved_is_judged_by_its_roles_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that an older version saved has no limit noted: the role's own counts."""
    world = World(spoil(markers.TASK_ANSWER, cut_off, FIRST, below=2049), steady())
    update = world.store.update_response

    def forget(response: Response, changes: dict[str, object], **options: object) -> Response | None:
        old = {name: value for name, value in changes.items() if name not in {"finish_reason", "output_limit"}}
        return update(response, old, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(world.store, "update_response", forget)

    thread = world.solve(PROMPT, max_iterations=1)

    assert [r.max_tokens for r in world.provider.requests if is_task(r, markers.TASK_ANSWER)] == [2048, 4096]
    assert not thread.is_final_partial


@pytest.mark.parametrize("how", [think_only, filtered, lambda _: "no tags, no points"])
def test_a_revision_that_nobody_can_bring_is_not_bought_of_every_model(
    how: Callable[[CompletionRequest], str | Completion],
) -> None:
    world = World(spoil(markers.TASK_REFINE, how))

    thread = world.solve(PROMPT, max_iterations=3)

    asked = {r.model_name for r in world.provider.requests if is_task(r, markers.TASK_REFINE)}
    assert len(asked) == 3
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_response == answers(world, thread)[0].response_text
    assert_settled(world, thread)
