"""Replies and prompts that no document could hold: kept cut or refused once, and another model is tried."""

from __future__ import annotations

import pytest

from orchestratex.domain.base import FinishReason, ResponseStatus, Role, ThreadStatus
from orchestratex.domain.response import Completion
from orchestratex.domain.thread import Thread
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.rules.keeping import MOST_ANSWER_BYTES
from tests.support import World, answer_by_rule
from tests.unit.engine.test_loop import assert_settled, is_task
from tests.unit.engine.test_shortfalls import FIRST, answers, events, spoil

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."


def huge(request: CompletionRequest) -> Completion:
    return Completion(text="x" * 7_900_000, model_version=request.model_version)


def assert_no_word_of_the_database(world: World, thread: Thread) -> None:
    told = [str(thread.failure_reason), *(str(r.error_message) for r in world.store.responses_of(thread.id))]
    told += [event.message for event in world.store.logs_of(thread.id)]
    assert not [text for text in told if "BSON" in text or "MongoDB" in text]


def test_a_huge_answer_is_kept_cut_and_another_model_is_asked() -> None:
    world = World(spoil(markers.TASK_ANSWER, huge, FIRST))

    thread = world.solve(PROMPT, max_iterations=1)

    first, whole = answers(world, thread)
    assert first.completion is not None
    assert len(first.completion.text) == MOST_ANSWER_BYTES
    assert first.completion.bytes_left_out == 7_900_000 - MOST_ANSWER_BYTES
    assert (first.status, first.crashes, first.attempt) == (ResponseStatus.FAILED, 0, 1)
    assert (whole.status, thread.best_model_id) == (ResponseStatus.COMPLETED, whole.model_name)
    assert not thread.is_final_partial
    assert "reply_too_long" in events(world, thread)
    assert_no_word_of_the_database(world, thread)
    assert_settled(world, thread)


def test_where_all_answers_are_huge_one_is_shown_cut_and_marked() -> None:
    world = World(spoil(markers.TASK_ANSWER, huge))

    thread = world.solve(PROMPT, max_iterations=1)

    assert len(answers(world, thread)) == 3
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert (len(thread.final_response or ""), thread.is_final_partial) == (MOST_ANSWER_BYTES, True)
    assert_no_word_of_the_database(world, thread)
    assert_settled(world, thread)


def test_the_largest_prompt_and_context_beside_a_huge_answer() -> None:
    world = World(spoil(markers.TASK_ANSWER, huge, FIRST))
    for profile in world.store.profiles():
        world.store.update_profile(profile.model_name, {"max_context_length": 10_000_000})

    thread = world.solve("😀" * 199_000, context="😀" * 199_000, max_iterations=1, preferred_models=[FIRST])

    assert answers(world, thread)[0].model_name == FIRST
    assert (thread.thread_status, thread.is_final_partial) == (ThreadStatus.COMPLETED, False)
    assert max(response.crashes for response in world.store.responses_of(thread.id)) == 0
    assert_no_word_of_the_database(world, thread)
    assert_settled(world, thread)


def test_a_huge_evaluation_is_left_out_and_not_paid_twice() -> None:
    world = World(spoil(markers.TASK_EVALUATE, huge, "llama"))

    thread = world.solve(PROMPT, max_iterations=1)

    (llama,) = [r for r in world.store.responses_of(thread.id) if r.model_name == "llama"]
    assert (llama.status, llama.attempt) == (ResponseStatus.FAILED, 1)
    assert thread.scores[0].evaluators == 6
    assert_settled(world, thread)


@pytest.mark.parametrize("most_bytes", [3_000, 6_000, 9_000, 12_000])
def test_a_store_that_takes_less_ends_no_thread_in_a_quarantine(most_bytes: int) -> None:
    """Whatever is too large, and wherever: the prompt, the saved text, the answer beside it, an evaluation."""

    def reply(request: CompletionRequest) -> str:
        return answer_by_rule(request) + "\n" * 500 + "x" * (4_000 if is_task(request, markers.TASK_ANSWER) else 0)

    world = World(reply)
    world.store.most_bytes = most_bytes

    thread = world.solve(PROMPT, max_iterations=1)

    responses = world.store.responses_of(thread.id)
    asked = [request.idempotency_key for request in world.provider.requests]
    assert thread.is_ended
    assert len(asked) == len(set(asked))
    assert max((r.crashes for r in responses), default=0) == 0
    assert max((r.attempt for r in responses), default=1) == 1
    assert_settled(world, thread)


def test_what_a_provider_calls_itself_is_kept_short() -> None:
    world = World(
        lambda request: Completion(
            text=answer_by_rule(request),
            finish_reason=FinishReason.STOP,
            model_version="m" * 9_000_000,
            request_id="r" * 9_000_000,
        )
    )

    thread = world.solve(PROMPT, max_iterations=1)

    answer = next(r for r in world.store.responses_of(thread.id) if r.role is Role.PRIMARY)
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert answer.completion is not None
    assert len(answer.completion.model_version or "") == len(answer.completion.request_id or "") == 300
