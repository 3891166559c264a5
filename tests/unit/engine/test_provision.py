"""Before an answer or a revision is paid there is money for somebody who judges it."""

from __future__ import annotations

import random

import pytest

from orchestratex.advance import cancel
from orchestratex.domain.base import ResponseStatus, Role, Step, StopReason, ThreadStatus
from orchestratex.domain.thread import Thread
from orchestratex.errors import ContentRefusedError
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.settings import Settings
from orchestratex.steps.provision import provision_key
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.submit import SessionRequest, ThreadRequest, open_session, submit
from tests.support import World, answer_by_rule
from tests.unit.engine.test_halting import work_until
from tests.unit.engine.test_loop import assert_settled, is_task

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."
NO_EXTRAS = Settings(assessments="off")


def unjudged(world: World, thread: Thread) -> list[int]:
    """Iterations whose answer was paid and has no evaluation."""
    judged = {evaluation.iteration_number for evaluation in world.store.evaluations_of(thread.id)}
    answers = [r for r in world.store.responses_of(thread.id) if r.role is not Role.EVALUATOR]
    paid = {r.iteration_number for r in answers if r.status is ResponseStatus.COMPLETED}
    return sorted(paid - judged)


@pytest.mark.parametrize("limit", [0.001, 0.004, 0.008, 0.011, 0.012, 0.014, 0.018, 0.022, 0.03, 0.04, 0.06, 0.1])
def test_no_answer_is_paid_that_nobody_can_judge(limit: float) -> None:
    world = World(settings=NO_EXTRAS)

    thread = world.solve(PROMPT, cost_limit=limit, max_iterations=4)

    assert thread.is_ended
    assert unjudged(world, thread) == []
    assert thread.total_cost <= limit
    assert_settled(world, thread)


def test_a_limit_without_room_for_a_judge_buys_no_answer_and_says_so() -> None:
    world = World()

    thread = world.solve(PROMPT, cost_limit=0.004)

    assert (thread.thread_status, thread.stop_reason) == (ThreadStatus.FAILED, StopReason.COST_LIMIT)
    assert "smallest panel" in (thread.failure_reason or "")
    assert world.provider.requests == []
    assert_settled(world, thread)


def test_a_cheaper_model_answers_where_the_chosen_one_leaves_nothing_for_a_judge() -> None:
    world = World(settings=NO_EXTRAS)

    thread = world.solve(PROMPT, cost_limit=0.0125, max_iterations=1, preferred_models=["claude"])

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.failed_models
    assert thread.scores[0].evaluators >= 1
    assert_settled(world, thread)


@pytest.mark.parametrize("seed", range(6))
def test_threads_of_one_session_do_not_take_each_others_panel(seed: int) -> None:
    world, rng = World(settings=NO_EXTRAS), random.Random(seed)
    session = open_session(SessionRequest(cost_limit=0.05), world.services)
    threads = submit(session.id, [ThreadRequest(prompt=PROMPT) for _ in range(6)], world.services)

    world.run(rng=rng)

    assert [unjudged(world, thread) for thread in threads] == [[]] * 6
    known = world.store.get_session(session.id)
    assert (known.held_nanos, known.reservations) == (0, {})
    assert known.total_cost <= 0.05


@pytest.mark.parametrize("limits", [{"daily_limit": 0.02}, {"user_daily_limit": 0.02}])
def test_a_days_limit_has_room_for_a_judge_too(limits: dict[str, float]) -> None:
    world = World(settings=Settings(assessments="off", **limits))  # type: ignore[arg-type]

    threads = [world.solve(PROMPT, max_iterations=2) for _ in range(3)]

    assert [unjudged(world, thread) for thread in threads] == [[], [], []]
    assert world.store.accounts_with_reservations(limit=9) == []


@pytest.mark.parametrize("step", [Step.RESPOND, Step.REFINE])
def test_a_cancelled_thread_gives_its_provision_back(step: Step) -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT, cost_limit=5), step)
    world.store.reserve(thread.session_id, {provision_key(thread): 7})  # as its call does

    ended = cancel(thread.id, world.services)
    world.run()

    assert_settled(world, world.store.get_thread(ended.id))


def test_a_provision_is_held_while_its_answer_is_under_way() -> None:
    seen: list[dict[str, int]] = []

    def reply(request: CompletionRequest) -> str:
        if not is_task(request, markers.TASK_EVALUATE):
            seen.extend(session.reservations for session in world.store.accounts_with_reservations(limit=1))
        return answer_by_rule(request)

    world = World(reply, settings=NO_EXTRAS)

    thread = world.solve(PROMPT, cost_limit=5, max_iterations=2)

    assert [provision_key(thread) in held and len(held) == 2 for held in seen] == [True, True]
    assert_settled(world, thread)


def test_a_model_that_refuses_leaves_the_provision_to_the_next() -> None:
    def reply(request: CompletionRequest) -> str:
        if is_task(request, markers.TASK_ANSWER) and request.model_name != "llama":
            raise ContentRefusedError(request.model_name, "I do not answer")
        return answer_by_rule(request)

    world = World(reply, settings=NO_EXTRAS)

    thread = world.solve(PROMPT, cost_limit=0.5)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert unjudged(world, thread) == []
    assert_settled(world, thread)


def test_what_a_crash_left_behind_is_given_back_and_what_is_needed_is_not() -> None:
    world = World()
    ended = world.solve(PROMPT, cost_limit=5, max_iterations=1)
    running = work_until(world, world.submit(PROMPT, cost_limit=5), Step.RESPOND)
    for thread in (ended, running):
        world.store.reserve(thread.session_id, {provision_key(thread): 7})
    world.store.reserve("2026-01-01/all", {provision_key(ended): 7})

    reconcile(world.services)

    held = {str(account.id): account.reservations for account in world.store.accounts_with_reservations(limit=9)}
    assert held == {str(running.session_id): {provision_key(running): 7}}
