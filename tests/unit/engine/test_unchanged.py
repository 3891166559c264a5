"""A revision that changes nothing is no improvement: nobody is paid to judge it again."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from orchestratex.domain.base import Purpose, ResponseStatus, Role, StopReason, ThreadStatus
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from tests.support import Reply, World, answer_by_rule
from tests.unit.engine.test_loop import assert_settled, is_task

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."


def revise(request: CompletionRequest, change: Callable[[str], str]) -> str:
    """A refinement that answers every point, and whose text is what `change` makes of the answer to improve."""
    answer = markers.find_block(markers.ANSWER, request.user) or ""
    reply = answer_by_rule(request)
    span = markers.find_span(markers.REVISED_TAG, reply, markers.find_nonce(request.user))
    assert span is not None
    return f"{reply[: span[0]]}\n{change(answer)}\n{reply[span[1] :]}"


def revised(change: Callable[[str], str]) -> Reply:
    return lambda request: revise(request, change) if is_task(request, markers.TASK_REFINE) else answer_by_rule(request)


UNSEEN: dict[str, Callable[[str], str]] = {
    "word for word": lambda text: text,
    "blanks around it": lambda text: f"\n\n  \n{text}\n\n",
    "blanks at the ends of lines": lambda text: text.replace("\n", "  \n"),
    "line ends of another system": lambda text: text.replace("\n", "\r\n"),
    "more empty lines": lambda text: text.replace("\n\n", "\n\n\n\n"),
    "signs of no width": lambda text: text.replace(" ", " \u200b"),
    "thought about first": lambda text: f"<think>It is fine as it is.</think>\n{text}",
}


@pytest.mark.parametrize("change", UNSEEN.values(), ids=UNSEEN.keys())
def test_a_revision_that_repeats_its_answer_ends_the_thread_unjudged(change: Callable[[str], str]) -> None:
    world = World(revised(change))

    thread = world.solve(PROMPT, max_iterations=5)

    responses = world.store.responses_of(thread.id)
    first, revision = (next(r for r in responses if r.role is role) for role in (Role.PRIMARY, Role.REFINER))
    assert (thread.thread_status, thread.stop_reason) == (ThreadStatus.COMPLETED, StopReason.NO_IMPROVEMENT)
    assert [r.iteration_number for r in responses if r.role is Role.EVALUATOR] == [1] * 7
    assert thread.best_response_id == first.id
    assert (revision.status, revision.is_selected_best) == (ResponseStatus.COMPLETED, False)
    assert (thread.current_iteration, [score.iteration for score in thread.scores]) == (2, [1])
    assert "revision_unchanged" in [event.event_type for event in world.store.logs_of(thread.id)]
    assert_settled(world, thread)


SEEN: dict[str, Callable[[str], str]] = {
    "another word": lambda text: f"{text} Indeed.",
    "indentation": lambda text: re.sub(r"(?m)^(?=\S)", "    ", text, count=2),
    "upper case": str.upper,
}


@pytest.mark.parametrize("change", SEEN.values(), ids=SEEN.keys())
def test_a_revision_that_changes_anything_is_judged(change: Callable[[str], str]) -> None:
    world = World(revised(change))

    thread = world.solve(PROMPT, max_iterations=2)

    assert [score.iteration for score in thread.scores] == [1, 2]


def test_a_revision_that_goes_back_to_an_earlier_answer_is_not_judged_again() -> None:
    first: list[str] = []

    def change(answer: str) -> str:
        if not first:
            first.append(answer)
            return f"{answer}\n\nOne more line."
        return first[0]

    world = World(revised(change))

    thread = world.solve(PROMPT, max_iterations=5)

    refined = [r for r in world.store.responses_of(thread.id) if r.response_text and r.parent_response_id]
    answers = [r for r in refined if r.role is Role.REFINER and r.purpose is Purpose.ANSWER]
    assert [r.iteration_number for r in answers] == [2, 3]
    assert [score.iteration for score in thread.scores] == [1, 2]
    assert thread.stop_reason is StopReason.NO_IMPROVEMENT
