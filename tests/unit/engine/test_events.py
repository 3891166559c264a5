"""The events by which a thread's life can be told afterwards."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestratex.advance import cancel, end_session
from orchestratex.domain.base import Component, LogLevel, ResponseStatus, Role, SelectionPhase, Step, ThreadStatus
from orchestratex.domain.log import LogEvent
from orchestratex.domain.thread import Thread
from orchestratex.errors import ContentRefusedError
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.settings import Settings
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.submit import SessionRequest, ThreadRequest, open_session, submit
from tests.support import World, answer_by_rule
from tests.unit.engine.test_halting import Busy, Slow, settle, work_until
from tests.unit.engine.test_loop import is_task

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."


def events_of(world: World, thread: Thread, event_type: str) -> list[LogEvent]:
    return [event for event in world.store.logs_of(thread.id) if event.event_type == event_type]


def told(world: World, event_type: str) -> list[LogEvent]:
    """Events of this kind, of whatever thread or session."""
    start, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (2000, 3000))
    return list(world.store.scan_between(LogEvent, "timestamp", start, end, event_type=event_type))


def test_a_submission_is_an_event_of_each_thread() -> None:
    world = World()
    session = open_session(SessionRequest(), world.services)

    threads = submit(session.id, [ThreadRequest(prompt=PROMPT) for _ in range(3)], world.services)

    for thread in threads:
        (event,) = world.store.logs_of(thread.id)
        assert (event.event_type, event.component) == ("thread_submitted", Component.API)
        assert event.details["characters"] == len(PROMPT)
        assert PROMPT not in event.message


def test_each_panel_and_the_final_selection_are_events() -> None:
    world = World(settings=Settings(assessments="off"))

    thread = world.solve(PROMPT, max_iterations=2)

    opened = events_of(world, thread, "panel_opened")
    panels = [[r.model_name for r in world.store.panel_of(thread.id, iteration=number)] for number in (1, 2)]
    assert [event.details["evaluators"] for event in opened] == [sorted(panel) for panel in panels]
    assert [event.iteration_number for event in opened] == [1, 2]
    (final,) = events_of(world, thread, "final_selected")
    (selection,) = (s for s in world.store.selections_of(thread.id) if s.selection_phase is SelectionPhase.FINAL)
    assert (final.model_involved, final.iteration_number) == (selection.selected_model, selection.iteration_number)
    assert final.processing_time == selection.selection_time


@pytest.mark.parametrize("is_under_way", [True, False])
def test_every_superseded_call_is_an_event(is_under_way: bool) -> None:
    slow = Slow()
    world = World(slow if is_under_way else None)
    thread = work_until(world, world.submit(PROMPT), Step.RESPOND)
    busy = Busy(world, world.queue.messages.pop(0))
    if is_under_way:
        busy.start()
        assert slow.has_begun.wait(20)

    cancel(thread.id, world.services)
    slow.may_go_on.set()
    assert busy.is_free if is_under_way else True
    settle(world, rounds=2)

    (response,) = world.store.responses_of(thread.id)
    (event,) = events_of(world, thread, "call_superseded")
    assert response.status is ResponseStatus.SUPERSEDED
    assert (event.details["response_id"], event.model_involved) == (str(response.id), response.model_name)
    assert event.details["was_sent"] is is_under_way


def test_a_cancelled_panel_names_each_evaluation_that_is_left_behind() -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT), Step.EVALUATE)
    for _ in range(4):
        world.work(world.queue.messages.pop(0))

    cancel(thread.id, world.services)
    settle(world, rounds=2)

    gone = {str(r.id) for r in world.store.responses_of(thread.id) if r.status is ResponseStatus.SUPERSEDED}
    named = [event.details["response_id"] for event in events_of(world, thread, "call_superseded")]
    assert gone
    assert sorted(named) == sorted(gone)


@pytest.mark.parametrize("is_running", [True, False])
def test_a_session_that_its_user_ends_is_an_event(is_running: bool) -> None:
    world = World()
    thread = world.submit(PROMPT)
    if not is_running:
        world.run()

    end_session(thread.session_id, world.services)
    end_session(thread.session_id, world.services)

    (event,) = told(world, "session_ended")
    status = world.store.get_session(thread.session_id).status
    assert (event.session_id, event.details["status"]) == (thread.session_id, status)


def test_a_session_that_ends_idle_is_an_event() -> None:
    world = World()
    thread = world.solve(PROMPT, max_iterations=1)

    world.clock.pass_time(world.services.settings.session_idle_s + 60)
    reconcile(world.services)

    (event,) = told(world, "session_ended")
    assert event.session_id == thread.session_id
    assert "nothing happened in it" in event.message


def failing(kind: str) -> World:
    def refuse(request: CompletionRequest) -> str:
        if is_task(request, markers.TASK_ANSWER):
            raise ContentRefusedError(request.model_name, "I do not answer")
        return answer_by_rule(request)

    def break_down(request: CompletionRequest) -> str:
        if is_task(request, markers.TASK_ANSWER):
            raise ArithmeticError("a fault of ours")
        return answer_by_rule(request)

    return World({"refused": refuse, "broken": break_down}.get(kind))


@pytest.mark.parametrize(
    ("kind", "limit", "error"),
    [
        ("refused", None, "NoCandidateError"),
        ("broken", None, "ArithmeticError"),
        ("poor", 0.001, "BudgetError"),
    ],
)
def test_a_failed_thread_carries_the_stack_of_its_failure(kind: str, limit: float | None, error: str) -> None:
    world = failing(kind)
    thread = world.submit(PROMPT, **({"cost_limit": limit} if limit else {}))

    settle(world, rounds=30)

    ended = world.store.get_thread(thread.id)
    (event,) = events_of(world, thread, "thread_failed")
    assert ended.thread_status is ThreadStatus.FAILED
    assert event.log_level is LogLevel.ERROR
    assert "Traceback" in (event.error_stack or "") or error in (event.error_stack or "")
    assert error in (event.error_stack or "")


def test_a_thread_that_its_user_stopped_has_no_stack() -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT), Step.RESPOND)

    cancel(thread.id, world.services)

    (event,) = events_of(world, thread, "thread_failed")
    assert event.error_stack is None
    assert Role.PRIMARY in {r.role for r in world.store.responses_of(thread.id)}
