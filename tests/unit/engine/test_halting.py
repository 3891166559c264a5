"""Ending threads early, and taking them up again: cancel, deadlines, stragglers, retry."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from orchestratex.advance import STEPS, advance_answer, advance_evaluation, cancel, cancel_all, end_session
from orchestratex.domain.base import (
    CostSource,
    Purpose,
    ResponseStatus,
    Role,
    SessionStatus,
    Step,
    StopReason,
    ThreadStatus,
)
from orchestratex.domain.response import Response
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.errors import (
    CallUnwantedError,
    ContentRefusedError,
    InputError,
    NotFoundError,
    ProviderOverloadedError,
    ProviderTimeoutError,
)
from orchestratex.faultpoints import FaultPoint
from orchestratex.limits.breaker import BreakerState
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.steps.moves import Move
from orchestratex.steps.panel import leave_behind
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.retry import retry
from orchestratex.steps.submit import SessionRequest, ThreadRequest, open_session, submit
from tests.support import World, answer_by_rule, steady

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."
PATIENCE_S = 20


def is_evaluation(request: CompletionRequest) -> bool:
    return request.system.startswith(markers.TASK_EVALUATE)


def work_until(world: World, thread: Thread, step: Step) -> Thread:
    """Work off messages in order until the step is due."""
    while world.store.get_thread(thread.id).due_step is not step:
        world.work(world.queue.messages.pop(0))
    return world.store.get_thread(thread.id)


def settle(world: World, rounds: int = 12) -> None:
    for _ in range(rounds):
        world.run()
        world.clock.pass_time(7)
        reconcile(world.services)


def evaluations_of(world: World, thread: Thread) -> list[Response]:
    return [r for r in world.store.responses_of(thread.id) if r.role is Role.EVALUATOR]


class Slow:
    """A model whose calls stand until they are let go on."""

    def __init__(self, *, only: str | None = None) -> None:
        self.only = only
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, request: CompletionRequest) -> str:
        if self.only in (None, request.model_name):
            self.has_begun.set()
            assert self.may_go_on.wait(PATIENCE_S)
        return answer_by_rule(request)


class Busy(threading.Thread):
    """A worker's slot with one task in it."""

    def __init__(self, world: World, message: tuple[str, tuple[ObjectId, ...]]) -> None:
        super().__init__(daemon=True)
        self._world, self._message = world, message

    def run(self) -> None:
        self._world.work(self._message)

    @property
    def is_free(self) -> bool:
        self.join(PATIENCE_S)
        return not self.is_alive()


def test_a_thread_without_a_response_is_failed_when_it_is_cancelled() -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT), Step.RESPOND)

    ended = cancel(thread.id, world.services)
    settle(world)

    assert (ended.thread_status, ended.stop_reason) == (ThreadStatus.FAILED, StopReason.CANCELLED)
    assert ended.failure_reason == "cancelled by its user"
    assert world.provider.requests == []
    assert [r.status for r in world.store.responses_of(thread.id)] == [ResponseStatus.SUPERSEDED]
    assert world.store.get_thread(thread.id).stop_reason is StopReason.CANCELLED


@pytest.mark.parametrize("step", [Step.EVALUATE, Step.REFINE])
def test_a_thread_with_a_response_is_completed_with_it(step: Step) -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT), step)
    calls = len(world.provider.requests)

    ended = cancel(thread.id, world.services)
    settle(world)

    assert (ended.thread_status, ended.stop_reason) == (ThreadStatus.COMPLETED, StopReason.CANCELLED)
    assert ended.final_response
    assert len(world.provider.requests) == calls
    assert world.store.get_session(thread.session_id).reservations == {}


def test_an_answer_that_was_just_completed_is_not_lost_by_a_cancel() -> None:
    class Cancelling:
        def reach(self, point: FaultPoint) -> None:
            if point is FaultPoint.CALL_COMPLETED and not self.ended:
                self.ended.append(cancel(thread.id, world.services))

        ended: list[Thread] = []  # noqa: RUF012 - of this one test

    faults = Cancelling()
    world = World(faults=faults)
    thread = world.submit(PROMPT)

    world.run()
    settle(world)

    (ended,) = faults.ended
    assert (ended.thread_status, ended.stop_reason) == (ThreadStatus.COMPLETED, StopReason.CANCELLED)
    assert ended.final_response
    assert {r.status for r in evaluations_of(world, thread)} <= {ResponseStatus.SUPERSEDED}
    assert world.store.get_session(thread.session_id).held_nanos == 0


def test_cancelling_what_has_ended_changes_nothing() -> None:
    world = World()
    thread = world.solve(PROMPT, max_iterations=1)

    again = cancel(thread.id, world.services)

    assert again == thread
    with pytest.raises(NotFoundError):
        cancel(ObjectId(), world.services)


def test_a_step_that_runs_when_its_thread_is_cancelled_does_not_bring_it_back() -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT), Step.ANALYSE)
    running = world.store.claim_thread(thread.id, lease_s=20)

    ended = cancel(thread.id, world.services)

    assert running is not None
    assert ended.is_ended
    assert world.store.move_thread(running, {"due_step": Step.SELECT}) is None


def test_a_call_in_flight_is_left_at_the_next_heartbeat_and_settles_exactly() -> None:
    slow = Slow()
    world = World(slow)
    thread = work_until(world, world.submit(PROMPT), Step.RESPOND)
    worker = Busy(world, world.queue.messages.pop(0))
    worker.start()
    assert slow.has_begun.wait(PATIENCE_S)

    ended = cancel(thread.id, world.services)
    held = world.store.get_session(thread.session_id).held_nanos
    world.services.heart.beat()
    is_free, is_answered = worker.is_free, slow.may_go_on.is_set()
    slow.may_go_on.set()
    settled = threading.Event()
    while not settled.wait(0.01) and world.store.get_session(thread.session_id).reservations:
        pass
    for other in threading.enumerate():
        if other.name == "call":
            other.join(PATIENCE_S)
    (response,) = world.store.responses_of(thread.id)
    session = world.store.get_session(thread.session_id)

    assert (is_free, is_answered) == (True, False)
    assert held > 0
    assert ended.total_cost_nanos == 0
    assert response.completion is not None  # what was paid for is kept
    assert (response.status, response.lease_token) == (ResponseStatus.SUPERSEDED, None)
    assert response.cost_source is CostSource.COMPUTED
    assert session.total_cost_nanos == response.cost_nanos == world.store.get_thread(thread.id).total_cost_nanos > 0
    assert session.held_nanos == 0


def test_ending_a_session_cancels_its_threads() -> None:
    world = World()
    session = open_session(SessionRequest(user_id="ann"), world.services)
    threads = submit(session.id, [ThreadRequest(prompt=PROMPT) for _ in range(3)], world.services)
    work_until(world, threads[0], Step.EVALUATE)

    has_ended = end_session(session.id, world.services)

    found = [world.store.get_thread(thread.id) for thread in threads]
    ended = world.store.get_session(session.id)
    assert has_ended
    assert {thread.stop_reason for thread in found} == {StopReason.CANCELLED}
    assert found[0].thread_status is ThreadStatus.COMPLETED
    assert (ended.status, ended.is_cancelling) == (SessionStatus.TERMINATED, False)
    assert end_session(session.id, world.services) is False


def test_reconcile_goes_on_with_a_cancel_that_died_half_way() -> None:
    world = World()
    thread = world.submit(PROMPT)
    world.store.end_session(thread.session_id, SessionStatus.TERMINATED, world.clock(), is_cancelling=True)

    reconcile(world.services)
    settle(world)

    assert world.store.get_thread(thread.id).stop_reason is StopReason.CANCELLED
    assert world.store.get_session(thread.session_id).is_cancelling is False
    assert world.provider.requests == []
    assert cancel_all(thread.session_id, world.services) == 0


def test_a_thread_submitted_into_an_ending_session_is_not_worked_on() -> None:
    class Ending:
        def reach(self, point: FaultPoint) -> None:
            if point is FaultPoint.SUBMITTED:
                world.store.end_session(session.id, SessionStatus.COMPLETED, world.clock())

    world = World(faults=Ending())
    session = open_session(SessionRequest(user_id="ann"), world.services)

    with pytest.raises(InputError, match="open a new one"):
        submit(session.id, [ThreadRequest(prompt=PROMPT)], world.services)
    settle(world)

    (thread,) = world.store.threads_of(session.id)
    assert thread.stop_reason is StopReason.CANCELLED
    assert world.provider.requests == []


def test_a_thread_past_its_own_deadline_ends_with_what_it_has() -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT, deadline_s=30), Step.REFINE)
    world.queue.messages.clear()

    world.clock.pass_time(31)
    reconcile(world.services)
    world.run()

    ended = world.store.get_thread(thread.id)
    assert (ended.thread_status, ended.stop_reason) == (ThreadStatus.COMPLETED, StopReason.DEADLINE)
    assert ended.deadline_at is not None


def test_a_deadline_beyond_the_installations_is_refused() -> None:
    world = World(settings=steady(thread_deadline_s=60))

    with pytest.raises(InputError, match=r"deadline_s.*at most 60"):
        world.submit(PROMPT, deadline_s=61)


def test_a_step_that_hangs_loses_its_lease_at_its_deadline() -> None:
    world = World(settings=steady(step_deadline_s=0.001))
    thread = world.submit(PROMPT)
    claimed = world.store.claim_thread(thread.id, lease_s=20)
    assert claimed is not None

    with world.services.heart.hold(claimed.lease_token or "", limit_s=0.001) as lease:
        threading.Event().wait(0.01)
        world.services.heart.beat()
        is_lost = lease.is_lost
    world.clock.pass_time(10)
    reconcile(world.services)
    world.clock.pass_time(11)
    reconcile(world.services)

    assert is_lost
    assert world.store.get_thread(thread.id).crashes == 1


def test_a_call_past_its_limit_is_given_up_and_its_late_answer_sets_the_cost_right() -> None:
    slow = Slow()
    world = World(slow, steady(call_timeout_s=0.01, connect_timeout_s=0.01, call_attempts=1))
    thread = work_until(world, world.submit(PROMPT), Step.RESPOND)

    is_open, why = advance_answer(Step.RESPOND, thread.id, world.services)
    (first, *_) = world.store.responses_of(thread.id)
    slow.may_go_on.set()
    for other in threading.enumerate():
        if other.name == "call":
            other.join(PATIENCE_S)
    (later, *_) = world.store.responses_of(thread.id)

    assert not is_open
    assert "no complete answer within" in why or "replaced" in why
    assert first.cost_source is CostSource.ESTIMATED
    assert later.cost_source is CostSource.COMPUTED
    assert 0 < later.cost_nanos < first.cost_nanos


def test_stragglers_are_left_behind_when_a_quorum_has_come() -> None:
    slow = Slow(only="llama")
    world = World(slow)
    thread = work_until(world, world.submit(PROMPT, max_iterations=1), Step.EVALUATE)
    for message in [m for m in world.queue.messages if m[0].endswith("fan_out")]:
        world.queue.messages.remove(message)
        world.work(message)
    (late,) = [r for r in evaluations_of(world, thread) if r.model_name == "llama"]
    message = next(m for m in world.queue.messages if late.id in m[1])
    world.queue.messages.remove(message)
    worker = Busy(world, message)
    worker.start()
    assert slow.has_begun.wait(PATIENCE_S)
    world.run()
    waiting = world.store.get_thread(thread.id)

    world.clock.pass_time(61)
    world.services.heart.beat()
    reconcile(world.services)
    world.run()
    ended = world.store.get_thread(thread.id)
    world.services.heart.beat()
    is_free = worker.is_free
    slow.may_go_on.set()

    events = [event.event_type for event in world.store.logs_of(thread.id)]
    assert waiting.due_step is Step.EVALUATE
    assert ended.thread_status is ThreadStatus.COMPLETED
    assert ended.scores[0].evaluators == 6
    assert "stragglers_left" in events
    assert is_free


def test_evaluations_that_nobody_has_begun_are_no_stragglers() -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT, max_iterations=1), Step.EVALUATE)
    for response in evaluations_of(world, thread)[:5]:
        advance_evaluation(thread.id, response.id, world.services)

    world.clock.pass_time(61)
    reconcile(world.services)

    assert world.store.get_thread(thread.id).due_step is Step.EVALUATE


def test_a_retry_resumes_a_cancelled_thread_where_it_stood_and_pays_for_nothing_twice() -> None:
    whole = World().solve(PROMPT)
    world = World()
    thread = work_until(world, world.submit(PROMPT), Step.EVALUATE)
    for response in evaluations_of(world, thread)[:3]:
        advance_evaluation(thread.id, response.id, world.services)
    cancel(thread.id, world.services)
    end_session(thread.session_id, world.services)

    resumed = retry(thread.id, world.services)
    world.run()

    ended = world.store.get_thread(thread.id)
    asked = [request.idempotency_key.partition(".")[0] for request in world.provider.requests]
    assert resumed.due_step is Step.EVALUATE
    assert (ended.thread_status, ended.stop_reason) == (ThreadStatus.COMPLETED, whole.stop_reason)
    assert ended.final_response == whole.final_response
    assert len(asked) == len(set(asked))
    assert world.store.get_session(thread.session_id).status is SessionStatus.ACTIVE


def test_a_retry_after_an_outage_of_all_models_asks_them_again() -> None:
    is_down = True

    def reply(request: CompletionRequest) -> str:
        if is_down:
            raise ProviderOverloadedError(request.model_name, "HTTP 503")
        return answer_by_rule(request)

    world = World(reply, steady(call_attempts=1))
    thread = world.submit(PROMPT, max_iterations=1)
    settle(world)
    failed = world.store.get_thread(thread.id)

    is_down = False
    retry(thread.id, world.services)
    settle(world)

    ended = world.store.get_thread(thread.id)
    assert (failed.thread_status, failed.stop_reason) == (ThreadStatus.FAILED, StopReason.FAILED)
    assert ended.thread_status is ThreadStatus.COMPLETED
    assert ended.failed_models == []
    assert ended.final_response


def test_a_retry_after_an_outage_of_the_evaluators_evaluates_the_answer_that_is_there() -> None:
    is_down = True

    def reply(request: CompletionRequest) -> str:
        if is_down and is_evaluation(request):
            raise ProviderTimeoutError(request.model_name, "no answer")
        return answer_by_rule(request)

    world = World(reply, steady(call_attempts=1))
    thread = world.submit(PROMPT, max_iterations=1)
    settle(world)
    without = world.store.get_thread(thread.id)

    is_down = False
    retry(thread.id, world.services)
    settle(world)

    ended = world.store.get_thread(thread.id)
    answers = [r for r in world.store.responses_of(thread.id) if r.purpose is Purpose.ANSWER]
    assert (without.thread_status, without.final_quality_score) == (ThreadStatus.COMPLETED, None)
    assert len(answers) == 1
    assert ended.scores[0].evaluators == 7
    assert ended.stop_reason is not StopReason.FAILED
    session = world.store.get_session(thread.session_id)
    assert session.total_cost_nanos == ended.total_cost_nanos
    assert session.reservations == {}


def test_models_whose_replies_cannot_be_read_stay_out_of_a_retry() -> None:
    def reply(request: CompletionRequest) -> str:
        return answer_by_rule(request) if is_evaluation(request) else ""

    world = World(reply)
    thread = world.submit(PROMPT, max_iterations=1)
    settle(world)
    calls = len(world.provider.requests)

    retry(thread.id, world.services)
    settle(world)

    ended = world.store.get_thread(thread.id)
    assert ended.thread_status is ThreadStatus.FAILED
    assert len(world.provider.requests) == calls
    assert ended.retries == 1


def test_what_runs_or_ended_well_is_not_retried() -> None:
    world = World()
    running = world.submit(PROMPT)
    with pytest.raises(InputError, match="still runs"):
        retry(running.id, world.services)
    world.run()
    with pytest.raises(InputError, match="ended well"):
        retry(running.id, world.services)
    with pytest.raises(NotFoundError):
        retry(ObjectId(), world.services)


def test_ending_a_session_whose_finishes_fail_comes_back_and_reconcile_ends_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_thread: Thread, _services: object) -> Move:
        raise RuntimeError("a finish of ours that fails")

    world = World()
    thread = work_until(world, world.submit(PROMPT), Step.EVALUATE)
    monkeypatch.setitem(STEPS, Step.FINISH, fail)

    end_session(thread.session_id, world.services)
    was_ended = world.store.get_thread(thread.id).is_ended
    settle(world)

    ended = world.store.get_thread(thread.id)
    session = world.store.get_session(thread.session_id)
    assert not was_ended
    assert (ended.thread_status, ended.stop_reason) == (ThreadStatus.COMPLETED, StopReason.CANCELLED)
    assert ended.final_response
    assert ended.total_cost_nanos == session.total_cost_nanos > 0


def test_a_request_under_way_keeps_its_money_through_cancel_and_retry() -> None:
    slow = Slow()
    world = World(slow)
    thread = work_until(world, world.submit(PROMPT), Step.RESPOND)
    worker = Busy(world, world.queue.messages.pop(0))
    worker.start()
    assert slow.has_begun.wait(PATIENCE_S)
    cancel(thread.id, world.services)
    before = world.store.get_session(thread.session_id).held_nanos

    retry(thread.id, world.services)
    world.services.heart._held.clear()  # the worker is dead
    for _ in range(3):  # the lease runs out, and is freed
        world.clock.pass_time(9)
        reconcile(world.services)
    session = world.store.get_session(thread.session_id)
    (response,) = world.store.responses_of(thread.id)
    slow.may_go_on.set()
    worker.join(PATIENCE_S)

    assert before > 0
    assert session.total_cost_nanos == before
    assert response.attempt_costs["1"].nanos == before


def test_a_retry_asks_the_model_that_was_asked_last() -> None:
    def reply(request: CompletionRequest) -> str:
        if request.model_name == first:
            raise ContentRefusedError(first, "no")
        return answer_by_rule(request)

    first = World().solve(PROMPT, max_iterations=1).best_model_id or ""
    world = World(reply)
    thread = world.submit(PROMPT, max_iterations=1)
    while world.store.get_thread(thread.id).failed_models != [first]:
        world.work(world.queue.messages.pop(0))
    work_until(world, thread, Step.RESPOND)
    second = next(r.model_name for r in world.store.pending_of(thread.id))
    cancel(thread.id, world.services)

    retry(thread.id, world.services)
    world.run()

    ended = world.store.get_thread(thread.id)
    assert ended.best_model_id == second
    assert ended.failed_models == [first]


def test_mending_does_not_stop_at_what_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestratex.steps.reconcile._BATCH", 3)
    world = World()
    evaluated = [work_until(world, world.submit(PROMPT, max_iterations=1), Step.EVALUATE) for _ in range(3)]
    answering = [work_until(world, world.submit(PROMPT, max_iterations=1), Step.RESPOND) for _ in range(3)]
    world.queue.messages.clear()

    settle(world, rounds=40)

    ended = [world.store.get_thread(thread.id) for thread in (*evaluated, *answering)]
    assert {thread.thread_status for thread in ended} == {ThreadStatus.COMPLETED}
    assert {thread.scores[0].evaluators for thread in ended} == {7}


def test_a_weigh_that_wakes_up_late_leaves_the_next_steps_call_alone() -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT), Step.EVALUATE)
    while (stale := world.store.get_thread(thread.id)).due_step is Step.EVALUATE and world.queue.messages:
        before = stale
        world.work(world.queue.messages.pop(0))
    (revision,) = world.store.pending_of(thread.id)

    leave_behind(before.model_copy(update={"due_step": Step.WEIGH}), world.services)

    assert world.store.get_response(revision.id).status is ResponseStatus.PENDING


def test_a_retry_that_stands_in_line_at_its_panel_makes_no_call() -> None:
    world = World(settings=steady(max_threads=1, when_full="queue"))
    thread = work_until(world, world.submit(PROMPT, max_iterations=1), Step.EVALUATE)
    cancel(thread.id, world.services)
    other = world.submit(PROMPT, max_iterations=1)
    calls = len(world.provider.requests)

    resumed = retry(thread.id, world.services)
    held, world.queue.messages[:] = list(world.queue.messages), []
    for _ in range(30):
        world.clock.pass_time(7)
        reconcile(world.services)
        mine = [message for message in world.queue.messages if message[1][0] == thread.id]
        world.queue.messages[:] = []
        for message in mine:
            world.work(message)
    waited = world.store.get_thread(thread.id)
    asked = len(world.provider.requests)
    world.queue.messages[:] = held
    settle(world, rounds=40)

    assert resumed.is_queued
    assert waited.is_queued
    assert asked == calls
    assert world.store.get_thread(other.id).thread_status is ThreadStatus.COMPLETED
    assert world.store.get_thread(thread.id).scores[0].evaluators == 7


def test_a_call_that_was_marked_as_sent_and_never_left_is_kept_as_unsent() -> None:
    def reply(request: CompletionRequest) -> str:
        cancel(thread.id, world.services)
        raise CallUnwantedError(request.model_name, "its thread went on without it; nothing was sent")

    world = World(reply)
    thread = world.submit(PROMPT)
    world.run()

    (response,) = world.store.responses_of(thread.id)
    assert response.status is ResponseStatus.SUPERSEDED
    assert (response.attempts_sent, response.sent_at, response.prompt_sent, response.output_limit) == (0, *[None] * 3)
    assert (response.processing_duration, response.cost, response.tokens_used) == (None, None, None)
    assert world.store.get_session(thread.session_id).held_nanos == 0


def test_a_call_that_never_left_says_nothing_about_its_model() -> None:
    slow = Slow()

    def reply(request: CompletionRequest) -> str:
        slow(request)
        raise CallUnwantedError(request.model_name, "its thread went on without it; nothing was sent")

    world = World(reply)
    thread = work_until(world, world.submit(PROMPT), Step.RESPOND)
    worker = Busy(world, world.queue.messages.pop(0))
    worker.start()
    assert slow.has_begun.wait(PATIENCE_S)
    (response,) = world.store.responses_of(thread.id)
    for _ in range(4):
        world.services.breaker.record(response.model_name, ok=False)
    cancel(thread.id, world.services)
    world.services.heart.beat()
    assert worker.is_free
    slow.may_go_on.set()
    for other in threading.enumerate():
        if other.name == "call":
            other.join(PATIENCE_S)

    opened = world.services.breaker.record(response.model_name, ok=False)  # the fifth in a row

    assert opened is BreakerState.OPEN
    (response,) = world.store.responses_of(thread.id)
    assert (response.attempts_sent, response.prompt_sent, response.processing_duration) == (0, None, None)
    assert world.store.get_session(thread.session_id).total_cost_nanos == 0
    assert world.store.get_session(thread.session_id).held_nanos == 0


def test_a_session_is_not_ended_as_idle_under_a_thread_that_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    first = world.solve(PROMPT, max_iterations=1)
    world.clock.pass_time(world.services.settings.session_idle_s + 1)
    find = world.store.idle_sessions

    def find_and_submit(**options: Any) -> list[Session]:
        found = find(**options)
        submit(first.session_id, [ThreadRequest(prompt=PROMPT)], world.services)
        return found

    monkeypatch.setattr(world.store, "idle_sessions", find_and_submit)
    reconcile(world.services)

    assert world.store.get_session(first.session_id).status is SessionStatus.ACTIVE


def test_a_workers_clock_decides_about_no_money() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    world.store.reserve(thread.session_id, {f"{ObjectId()}_1": 1000})  # by one who is about to insert its response
    world.services = dataclasses.replace(world.services, clock=lambda: world.clock() + timedelta(minutes=5))
    world.queue.messages.clear()

    reconcile(world.services)
    held = world.store.get_session(thread.session_id).held_nanos
    world.clock.pass_time(world.services.settings.lease_s + 1)
    reconcile(world.services)

    assert held == 1000
    assert world.store.get_session(thread.session_id).held_nanos == 0


def test_a_panel_whose_money_others_have_taken_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT, cost_limit=1.0, max_iterations=2), Step.RESPOND)
    insert, now = world.store.insert_responses, time.monotonic

    def stand_still(responses: Sequence[Response]) -> None:
        if responses[0].role is Role.EVALUATOR:
            for key in world.store.get_session(thread.session_id).reservations:
                if ObjectId(key.partition("_")[0]) in {response.id for response in responses}:
                    world.store.settle(thread.session_id, key, 0)
            left = world.store.get_account(thread.session_id).left
            assert world.store.reserve(thread.session_id, {f"{ObjectId()}_1": left or 0})
            monkeypatch.setattr("orchestratex.steps.panel.time.monotonic", lambda: now() + 60)
        insert(responses)

    monkeypatch.setattr(world.store, "insert_responses", stand_still)
    world.run()
    monkeypatch.undo()

    ended = world.store.get_thread(thread.id)
    assert (ended.thread_status, ended.stop_reason) == (ThreadStatus.COMPLETED, StopReason.COST_LIMIT)
    assert not any(is_evaluation(request) for request in world.provider.requests)


def test_a_cancel_does_not_wait_for_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT), Step.EVALUATE)
    waiting = next(r for r in world.store.pending_of(thread.id) if r.role is Role.EVALUATOR)
    claimed = world.store.claim_response(waiting.id, lease_s=20)
    assert claimed is not None
    assert world.store.update_response(claimed, {}, is_release=True, delay_s=30) is not None

    def hang(*_: object, **__: object) -> None:
        raise AssertionError("nobody who cancels waits for Redis")

    monkeypatch.setattr(world.services.limiter, "forget", hang)

    assert cancel(thread.id, world.services).thread_status is ThreadStatus.COMPLETED
