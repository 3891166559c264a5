"""A worker's death at each named point, at each time that a thread passes it; then everything is as it should be."""

from __future__ import annotations

from collections import Counter

import pytest

from orchestratex.domain.base import LogLevel, Purpose, ResponseStatus, Step, StopReason, ThreadStatus
from orchestratex.domain.thread import Thread
from orchestratex.faultpoints import FaultPoint
from orchestratex.providers.base import CompletionRequest
from orchestratex.steps.panel import open_panel
from orchestratex.steps.reconcile import reconcile
from tests.support import World, answer_by_rule

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."
MAY_BE_PAID_TWICE = {FaultPoint.CALL_ANSWERED}  # the provider has answered, nobody knows
AT_SUBMISSION = {FaultPoint.PLACED, FaultPoint.SUBMITTED}  # of the API, not of a worker
ROUNDS = 60


class CrashError(BaseException):
    """The end of a worker, as far as its own code can tell."""


class CrashAt:
    """Dies at a point when it is passed for the nth time, and `deaths` times in a row from then on."""

    def __init__(self, point: FaultPoint, nth: int, deaths: int = 1) -> None:
        self.point, self.nth, self.deaths = point, nth, deaths
        self.passed = 0

    def reach(self, point: FaultPoint) -> None:
        """See FaultPoints."""
        if point is self.point:
            self.passed += 1
            if self.nth <= self.passed < self.nth + self.deaths:
                raise CrashError(point)

    @property
    def has_crashed(self) -> bool:
        """Whether the point was passed often enough."""
        return self.passed >= self.nth


def work_through(world: World, thread: Thread) -> Thread:
    """Be the workers, dying ones among them, until the thread has ended and all is quiet."""
    for _ in range(ROUNDS):
        while world.queue.messages:
            try:
                world.run()
            except CrashError:
                continue  # the other messages find other workers
        now = world.store.get_thread(thread.id)
        is_leased = any(response.lease_token for response in world.store.responses_of(thread.id))
        if now.is_ended and not is_leased and not world.store.get_session(thread.session_id).reservations:
            return world.store.get_thread(thread.id)
        world.clock.pass_time(7)
        try:
            reconcile(world.services)
        except CrashError:
            continue
    raise AssertionError(f"the thread stands at {now.due_step}")


def assert_sound(world: World, thread: Thread) -> None:
    responses = world.store.responses_of(thread.id)
    session = world.store.get_session(thread.session_id)
    assert (session.held_nanos, session.reservations) == (0, {})
    assert session.total_cost_nanos == sum(r.cost_nanos for r in responses) == thread.total_cost_nanos
    assert not [r for r in responses if r.lease_token or r.status is ResponseStatus.PENDING]
    assert max(Counter(response.key for response in responses).values()) == 1
    assert not thread.scores or (thread.final_quality_score or 0) >= (thread.scores[0].score or 0)


@pytest.mark.parametrize("point", [point for point in FaultPoint if point not in AT_SUBMISSION])
def test_a_crash_at_any_passing_of_a_point_costs_at_most_the_call_in_flight(point: FaultPoint) -> None:
    expected = World().solve(PROMPT)
    for nth in range(1, 200):
        crash = CrashAt(point, nth)
        world = World(faults=crash)
        thread = work_through(world, world.submit(PROMPT))
        asked = Counter(request.idempotency_key.partition(".")[0] for request in world.provider.requests)
        if not crash.has_crashed:
            break

        assert thread.thread_status is ThreadStatus.COMPLETED
        assert thread.final_response == expected.final_response
        again = sum(asked.values()) - len(asked)
        lost = [r for r in world.store.responses_of(thread.id) if r.status is ResponseStatus.SUPERSEDED]
        assert {response.purpose for response in lost} <= {Purpose.ASSESSMENT}  # nobody asks again for it at the end
        assert again == (1 if point in MAY_BE_PAID_TWICE and not lost else 0), nth
        assert_sound(world, thread)

    assert nth > 1, "the point was never passed"


@pytest.mark.parametrize("point", [FaultPoint.CALL_SENT, FaultPoint.CALL_ANSWERED, FaultPoint.CALL_CLAIMED])
def test_an_answer_that_kills_every_worker_ends_its_thread(point: FaultPoint) -> None:
    world = World(faults=CrashAt(point, 1, deaths=100))

    thread = work_through(world, world.submit(PROMPT))

    (answer,) = world.store.responses_of(thread.id)
    events = {event.event_type: event for event in world.store.logs_of(thread.id)}
    assert (thread.thread_status, thread.stop_reason) == (ThreadStatus.FAILED, StopReason.FAILED)
    assert "lost its worker 4 times" in (thread.failure_reason or "")
    assert (answer.status, answer.crashes, answer.is_quarantined) == (ResponseStatus.FAILED, 4, True)
    assert events["call_quarantined"].log_level is LogLevel.ERROR
    assert events["call_quarantined"].details["crashes"] == 4
    assert_sound(world, thread)


def test_evaluations_that_kill_every_worker_leave_the_best_response() -> None:
    world = World(faults=CrashAt(FaultPoint.CALL_SENT, 2, deaths=100))

    thread = work_through(world, world.submit(PROMPT))

    assert (thread.thread_status, thread.stop_reason) == (ThreadStatus.COMPLETED, StopReason.FAILED)
    assert thread.final_response
    assert max(response.crashes for response in world.store.responses_of(thread.id)) == 4
    assert_sound(world, thread)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_step_that_kills_every_worker_ends_its_thread(nth: int) -> None:
    """analyse, select, weigh, finish in turn."""
    world = World(faults=CrashAt(FaultPoint.STEP_CLAIMED, nth, deaths=4))

    thread = work_through(world, world.submit(PROMPT, max_iterations=1))

    events = [event.event_type for event in world.store.logs_of(thread.id)]
    assert thread.thread_status is (ThreadStatus.FAILED if nth < 3 else ThreadStatus.COMPLETED)
    assert "thread_quarantined" in events
    assert world.queue.messages == []


def test_one_evaluator_that_breaks_us_is_left_out() -> None:
    def reply(request: CompletionRequest) -> str:
        if request.model_name == "llama":
            raise RuntimeError("a bug of ours")
        return answer_by_rule(request)

    world = World(reply)
    thread = work_through(world, world.submit(PROMPT, max_iterations=1))

    (given_up,) = [r for r in world.store.responses_of(thread.id) if r.model_name == "llama"]
    events = [event for event in world.store.logs_of(thread.id) if event.model_involved == "llama"]
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.scores[0].evaluators == 6
    assert (given_up.crashes, given_up.is_quarantined) == (4, True)
    assert [event.event_type for event in events if event.error_stack] == [*["error_occurred"] * 3, "call_quarantined"]
    assert "a bug of ours" in (events[-1].error_stack or "")
    assert_sound(world, thread)


def test_a_panel_that_is_opened_a_second_time_is_not_paid_a_second_time() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    while world.store.get_thread(thread.id).due_step is not Step.EVALUATE:
        stale = world.store.get_thread(thread.id)
        world.work(world.queue.messages.pop(0))
    answer = world.store.answers_of(thread.id, iteration=1)[0]
    world.run()
    ended = world.store.get_thread(thread.id)

    assert open_panel(stale, answer, world.services) is None
    for response in world.store.panel_of(thread.id, iteration=1):
        world.store.reserve(thread.session_id, {f"{response.id}_1": 1_000_000})  # by one who did not see it yet
    world.clock.pass_time(30)
    reconcile(world.services)

    assert ended.thread_status is ThreadStatus.COMPLETED
    assert_sound(world, world.store.get_thread(thread.id))
