"""What models think of their own answers: asked for beside the panel, and nobody waits for it."""

from __future__ import annotations

import pytest

from orchestratex.advance import cancel
from orchestratex.domain.base import Purpose, ResponseStatus, Role, Step, ThreadStatus
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import ContentRefusedError, ProviderOverloadedError
from orchestratex.providers.base import CompletionRequest
from orchestratex.queue import TASKS
from orchestratex.rules import markers
from orchestratex.steps.reconcile import reconcile
from tests.support import Reply, World, answer_by_rule, steady

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."


def is_task(request: CompletionRequest, task: str) -> bool:
    return request.system.startswith(task)


def instead(of: str, reply: str | Exception) -> Reply:
    """The sandbox's models, but for one task."""

    def answer(request: CompletionRequest) -> str:
        if not is_task(request, of):
            return answer_by_rule(request)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return answer


def find_assessments(world: World, thread: Thread) -> list[Response]:
    return [r for r in world.store.responses_of(thread.id) if r.purpose is Purpose.ASSESSMENT]


def find_answers(world: World, thread: Thread) -> list[Response]:
    found = world.store.responses_of(thread.id)
    return [r for r in found if r.purpose is Purpose.ANSWER and r.status is ResponseStatus.COMPLETED]


def hold_back(world: World, thread: Thread) -> None:
    """Work until the thread has ended, but on no assessment."""
    held = []
    while world.queue.messages:
        name, ids = world.queue.messages.pop(0)
        late = {response.id for response in find_assessments(world, thread)}
        if name == TASKS[Step.EVALUATE] and ids[1] in late:
            held.append((name, ids))
        else:
            world.work((name, ids))
    world.queue.messages.extend(held)


def assert_settled(world: World, thread: Thread) -> None:
    session = world.store.get_session(thread.session_id)
    ended = world.store.get_thread(thread.id)
    responses = world.store.responses_of(thread.id)
    assert (session.held_nanos, session.reservations) == (0, {})
    assert session.total_cost_nanos == sum(r.cost_nanos for r in responses) == ended.total_cost_nanos


def test_every_answer_is_assessed_by_a_call_of_its_own() -> None:
    world = World()

    thread = world.solve(PROMPT, max_iterations=3)

    answers, assessments = find_answers(world, thread), find_assessments(world, thread)
    assert {a.parent_response_id for a in assessments} == {answer.id for answer in answers}
    assert all(answer.confidence_score and answer.self_assessment for answer in answers)
    assert {a.status for a in assessments} == {ResponseStatus.COMPLETED}
    assert all(a.cost_nanos > 0 for a in assessments)
    assert_settled(world, thread)


def test_a_revisions_texts_are_filled_from_its_points_and_its_assessment() -> None:
    said = (
        '<assessment>{"confidence": 8, "self_assessment": "sound", "clarifications": "lists are sorted already", '
        '"alternative_interpretations": "merge in place"}</assessment>'
    )
    world = World(instead(markers.TASK_ASSESS, said))

    thread = world.solve(PROMPT, max_iterations=2)

    (document,) = world.store.criticisms_of(thread.id)
    assert document.confidence_in_revision == 8
    assert (document.clarifications, document.alternative_interpretations) == (
        "lists are sorted already",
        "merge in place",
    )
    assert document.acknowledgment
    assert bool(document.disagreement) == any(not each.accepted for each in document.specific_improvements)
    assert document.improvement_score is not None  # what weigh fills stands, too


def test_switched_off_nothing_is_asked_and_nothing_is_known() -> None:
    world = World(settings=steady(assessments="off"))

    thread = world.solve(PROMPT, max_iterations=2)

    assert find_assessments(world, thread) == []
    assert not any(is_task(request, markers.TASK_ASSESS) for request in world.provider.requests)
    assert {(r.confidence_score, r.self_assessment) for r in find_answers(world, thread)} == {(None, None)}
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_quality_score is not None


def test_an_assessment_that_a_model_gives_unasked_is_used() -> None:
    def reply(request: CompletionRequest) -> str:
        own = markers.tag(markers.ASSESSMENT_TAG, '{"confidence": 6, "self_assessment": "short"}')
        return answer_by_rule(request) + (f"\n{own}" if is_task(request, markers.TASK_ANSWER) else "")

    world = World(reply)

    thread = world.solve(PROMPT, max_iterations=1)

    (answer,) = find_answers(world, thread)
    assert (answer.confidence_score, answer.self_assessment) == (6, "short")
    assert find_assessments(world, thread) == []
    assert "assessment" not in (thread.final_response or "")


@pytest.mark.parametrize(
    "reply",
    [
        "it is fine",
        "",
        '<assessment>{"confidence": 30}</assessment>',
        ContentRefusedError("qwen", "no"),
        ProviderOverloadedError("qwen", "HTTP 503"),
        ValueError("our own"),
    ],
)
def test_an_assessment_that_fails_changes_nothing_else(reply: str | Exception) -> None:
    expected = World(settings=steady(assessments="off")).solve(PROMPT, max_iterations=2)
    world = World(instead(markers.TASK_ASSESS, reply))
    thread = world.submit(PROMPT, max_iterations=2)

    world.run()

    ended = world.store.get_thread(thread.id)
    assert ended.thread_status is ThreadStatus.COMPLETED
    assert (ended.final_response, ended.final_quality_score) == (expected.final_response, expected.final_quality_score)
    assert {answer.confidence_score for answer in find_answers(world, thread)} == {None}
    for _ in range(12):
        world.clock.pass_time(11)
        reconcile(world.services)
        world.run()
    assert_settled(world, thread)


def test_a_thread_waits_for_no_assessment_neither_to_weigh_nor_to_finish() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=2)

    hold_back(world, thread)
    ended = world.store.get_thread(thread.id)
    asked = len(world.provider.requests)
    world.run()

    assert ended.thread_status is ThreadStatus.COMPLETED
    assert ended.current_iteration == 2
    assert [a.status for a in find_assessments(world, thread)] == [ResponseStatus.SUPERSEDED] * 2
    assert len(world.provider.requests) == asked  # who comes too late asks nobody
    for _ in range(5):
        world.clock.pass_time(31)
        reconcile(world.services)
    assert_settled(world, thread)


def test_an_assessment_may_come_after_its_panel_was_weighed() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=2)
    held = []
    while world.store.get_thread(thread.id).current_iteration == 1:
        name, ids = world.queue.messages.pop(0)
        if ids[-1] in {response.id for response in find_assessments(world, thread)}:
            held.append((name, ids))
        else:
            world.work((name, ids))

    world.work(held[0])

    (answer,) = find_answers(world, thread)
    (assessment,) = find_assessments(world, thread)
    assert (assessment.iteration_number, assessment.status) == (1, ResponseStatus.COMPLETED)
    assert answer.confidence_score is not None
    world.run()
    assert_settled(world, thread)


def test_a_lost_assessment_is_announced_again_and_holds_no_step_up() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=2)
    while world.store.get_thread(thread.id).due_step is not Step.REFINE:
        message = world.queue.messages.pop(0)
        if message[1][-1] not in {response.id for response in find_assessments(world, thread)}:
            world.work(message)
    world.queue.messages.clear()  # the refinement's message is lost, too

    world.clock.pass_time(11)
    reconcile(world.services)
    announced = {ids[-1] for _, ids in world.queue.messages}
    world.run()

    assert announced >= {find_assessments(world, thread)[0].id, thread.id}
    assert find_answers(world, thread)[0].confidence_score is not None
    assert world.store.get_thread(thread.id).is_ended


def test_a_cancelled_threads_assessment_is_not_asked() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    while world.store.get_thread(thread.id).due_step is not Step.EVALUATE:
        world.work(world.queue.messages.pop(0))

    cancel(thread.id, world.services)
    world.run()

    assert [a.status for a in find_assessments(world, thread)] == [ResponseStatus.SUPERSEDED]
    assert not any(is_task(request, markers.TASK_ASSESS) for request in world.provider.requests)


def test_a_tight_budget_drops_the_assessment_before_an_evaluator() -> None:
    free = World(settings=steady(assessments="off"))
    bare = free.solve(PROMPT, max_iterations=1)
    panel = [r for r in free.store.responses_of(bare.id) if r.role is Role.EVALUATOR]
    need = sum(r.worst_case or 0.0 for r in panel) + sum(r.cost or 0.0 for r in find_answers(free, bare))
    worlds = {}
    for share in (1.001, 1.05, 1.5, 5.0):
        world = World()
        thread = world.solve(PROMPT, max_iterations=1, cost_limit=need * share)
        worlds[share] = (thread.scores[0].evaluators, len(find_assessments(world, thread)))
        assert_settled(world, thread)

    assert worlds == {1.001: (7, 0), 1.05: (7, 0), 1.5: (7, 0), 5.0: (7, 1)}


def test_an_answer_that_nobody_evaluates_is_assessed_all_the_same() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    for profile in world.store.profiles():
        if profile.model_name != "qwen":
            world.store.update_profile(profile.model_name, {"is_active": False})
    world.services.cache.forget()

    world.run()

    assert world.store.get_thread(thread.id).is_ended
    assert len(find_assessments(world, thread)) == 1
    assert_settled(world, thread)


def test_a_thread_that_kills_workers_with_its_assessment_still_completes() -> None:
    world = World(instead(markers.TASK_ASSESS, "x"))
    thread = world.submit(PROMPT, max_iterations=3)
    crashed = 0
    while not world.store.get_thread(thread.id).is_ended:
        if not world.queue.messages:
            world.clock.pass_time(25)
            reconcile(world.services)
            continue
        message = world.queue.messages.pop(0)
        (mine, *_) = [*(a for a in find_assessments(world, thread) if a.id == message[1][-1]), None]
        if mine is not None:  # its worker claims it and dies
            crashed += world.store.claim_response(mine.id, lease_s=1) is not None
            continue
        world.work(message)

    assert crashed
    assert world.store.get_thread(thread.id).thread_status is ThreadStatus.COMPLETED
