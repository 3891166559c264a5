from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from orchestratex.domain.base import Step, StopReason, ThreadStatus
from orchestratex.domain.thread import IterationScore, ThreadOptions
from orchestratex.rules.flow import best_score, next_step, refinement_outcomes, status_for
from tests.make import make_thread


def score(iteration: int, value: float | None, **fields: Any) -> IterationScore:
    values = {"response_id": ObjectId(), "model_name": "gpt4", "severe": 1, **fields}
    return IterationScore.model_validate({"iteration": iteration, "score": value, **values})


LIMITS = ThreadOptions(max_iterations=5, quality_threshold=9)


@pytest.mark.parametrize(
    ("scores", "stop_reason"),
    [
        ([], StopReason.FAILED),
        ([score(1, None)], StopReason.FAILED),
        ([score(1, 9)], StopReason.QUALITY_THRESHOLD),
        ([score(1, 9.5, severe=0)], StopReason.QUALITY_THRESHOLD),
        ([score(1, 9.5), score(2, 3)], StopReason.QUALITY_THRESHOLD),
        ([score(1, 8.99)], None),
        ([score(1, 5, severe=0)], StopReason.NOTHING_SEVERE),
        ([score(1, 6), score(2, 5, severe=0)], None),  # the better one still has a severe flaw
        ([score(n, 5 + n / 10, improved=True) for n in range(1, 6)], StopReason.MAX_ITERATIONS),
        ([score(n, 5) for n in range(1, 6)], StopReason.NO_IMPROVEMENT),  # of two true reasons the one that says more
        ([score(n, 5, improved=n > 3) for n in range(1, 6)], StopReason.MAX_ITERATIONS),
        ([score(1, 5), score(2, 5)], None),
        ([score(1, 5), score(2, 5), score(3, 5)], StopReason.NO_IMPROVEMENT),
        ([score(1, 5), score(2, 6, improved=True), score(3, 5)], None),
        ([score(1, 5), score(2, 6, improved=True), score(3, 5), score(4, None)], StopReason.NO_IMPROVEMENT),
        ([score(1, None), score(2, 6)], None),
    ],
)
def test_where_a_weighed_thread_goes(scores: list[IterationScore], stop_reason: StopReason | None) -> None:
    decision = next_step(LIMITS, scores)

    assert decision.stop_reason is stop_reason
    assert decision.step is (Step.SELECT if stop_reason is None else Step.FINISH)
    assert decision.reason


@pytest.mark.parametrize(
    ("scores", "stop_reason"),
    [
        ([score(1, 5), score(2, 5), score(3, 5)], StopReason.NO_IMPROVEMENT),
        ([score(1, 5), score(2, 6, improved=True), score(3, 5)], StopReason.MAX_ITERATIONS),
        ([score(1, 5), score(2, 5), score(3, 6, improved=True)], StopReason.MAX_ITERATIONS),
        ([score(1, 5), score(2, 5), score(3, 6, improved=True, severe=0)], StopReason.NOTHING_SEVERE),
        ([score(1, 5), score(2, 5), score(3, 9.5, severe=0)], StopReason.QUALITY_THRESHOLD),
        ([score(1, None), score(2, None), score(3, None)], StopReason.FAILED),
    ],
)
def test_each_rule_can_end_a_thread_of_three_iterations(scores: list[IterationScore], stop_reason: StopReason) -> None:
    options = ThreadOptions(max_iterations=3, quality_threshold=9)

    assert next_step(options, scores).stop_reason is stop_reason


def test_without_a_threshold_quality_does_not_stop() -> None:
    decision = next_step(ThreadOptions(), [score(1, 10)])

    assert decision.step is Step.SELECT


def test_one_iteration_is_enough_where_one_is_allowed() -> None:
    decision = next_step(ThreadOptions(max_iterations=1), [score(1, 5)])

    assert decision.stop_reason is StopReason.MAX_ITERATIONS


@pytest.mark.parametrize(
    ("values", "best"),
    [([5, 7, 6], 2), ([7, 7, 7], 1), ([None, 3], 2), ([3, None], 1), ([None, None], 1), ([1, 1.0001], 2)],
)
def test_the_best_iteration_is_the_highest_and_earliest(values: list[float | None], best: int) -> None:
    found = best_score([score(number, value) for number, value in enumerate(values, start=1)])

    assert found is not None
    assert found.iteration == best


def test_nothing_is_best_of_nothing() -> None:
    assert best_score([]) is None


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("iteration", [1, 2])
def test_every_step_has_a_status_that_is_not_an_end(step: Step, iteration: int) -> None:
    assert status_for(step, iteration) not in {ThreadStatus.COMPLETED, ThreadStatus.FAILED}


@pytest.mark.parametrize(
    ("step", "iteration", "status"),
    [
        (Step.ANALYSE, 1, "initializing"),
        (Step.SELECT, 1, "model_selection"),
        (Step.SELECT, 2, "refining"),
        (Step.RESPOND, 1, "responding"),
        (Step.EVALUATE, 1, "evaluating"),
        (Step.WEIGH, 1, "criticism"),
        (Step.REFINE, 2, "refining"),
    ],
)
def test_what_the_user_sees(step: Step, iteration: int, status: str) -> None:
    assert status_for(step, iteration) == status


def test_refiners_are_remembered_by_what_they_improved() -> None:
    thread = make_thread(
        scores=[score(1, 5), score(2, 6, improved=True), score(3, 5), score(4, 7, model_name="claude", improved=True)]
    )

    assert refinement_outcomes(thread) == {"gpt4": [True, False], "claude": [True]}


@pytest.mark.parametrize(("evaluators", "words"), [(1, "its only evaluator names no severe"), (2, "no two evaluators")])
def test_who_names_nothing_severe_is_told(evaluators: int, words: str) -> None:
    lone = score(1, 5, severe=0).model_copy(update={"evaluators": evaluators})

    assert next_step(ThreadOptions(), [lone]).reason.startswith(words)
