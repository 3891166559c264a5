"""What a thread says once it has ended, however it did."""

from __future__ import annotations

import pytest

from orchestratex.advance import cancel
from orchestratex.domain.base import ResponseStatus, Role, SelectionPhase, Step, ThreadStatus
from orchestratex.domain.selection import Selection
from orchestratex.domain.thread import Thread
from orchestratex.errors import ContentRefusedError
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.retry import retry
from tests.support import World, answer_by_rule, steady
from tests.unit.engine.test_halting import settle, work_until
from tests.unit.engine.test_loop import assert_settled, is_task

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."
QUIET = steady(assessments="off")


def work_until_evaluated(world: World, thread: Thread, *, iteration: int, count: int) -> None:
    """Work until so many evaluations of an iteration have come, the panel still open."""

    def come() -> int:
        return len(world.store.evaluations_of(thread.id, iteration=iteration))

    while come() < count:
        world.work(world.queue.messages.pop(0))
    assert world.store.get_thread(thread.id).due_step is Step.EVALUATE


def stop_by_user(world: World, thread: Thread) -> Thread:
    return cancel(thread.id, world.services)


def stop_by_deadline(world: World, thread: Thread) -> Thread:
    world.queue.messages.clear()
    world.clock.pass_time(world.services.settings.thread_deadline_s + 1)
    reconcile(world.services)
    while not world.store.get_thread(thread.id).is_ended:
        world.work(world.queue.messages.pop(0))
    return world.store.get_thread(thread.id)


@pytest.mark.parametrize("stop", [stop_by_user, stop_by_deadline])
@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_revision_whose_panel_is_cut_short_is_weighed_with_what_has_come(stop, count: int) -> None:  # type: ignore[no-untyped-def]
    world = World(settings=QUIET)
    thread = world.submit(PROMPT, max_iterations=3)
    work_until_evaluated(world, thread, iteration=2, count=count)

    ended = stop(world, thread)

    came = [e.overall_score for e in world.store.evaluations_of(thread.id, iteration=2)]
    first, second = ended.scores
    best = max(ended.scores, key=lambda score: score.score or 0)
    assert ended.thread_status is ThreadStatus.COMPLETED
    assert (second.iteration, second.evaluators, second.score) == (2, count, pytest.approx(sum(came) / count))
    assert second.asked is not None
    assert second.asked > count
    assert ended.final_quality_score == best.score > (first.score or 0)
    assert ended.best_response_id == best.response_id
    shown = world.store.get_response(best.response_id)
    assert (shown.is_selected_best, shown.selection_score) == (True, best.score)
    assert ended.final_response == shown.response_text
    (document,) = world.store.criticisms_of(thread.id)
    assert document.improvement_score == pytest.approx(min(10, 5.5 + (second.score or 0) - (first.score or 0)))
    weighed = [event for event in world.store.logs_of(thread.id) if event.event_type == "panel_weighed"]
    assert [event.details["score"] for event in weighed] == [first.score, second.score]


def test_a_first_answer_whose_panel_is_cut_short_has_the_score_of_what_has_come() -> None:
    world = World(settings=QUIET)
    thread = world.submit(PROMPT)
    work_until_evaluated(world, thread, iteration=1, count=3)

    ended = cancel(thread.id, world.services)

    assert (ended.scores[0].evaluators, ended.scores[0].asked) == (3, 7)
    assert ended.final_quality_score == ended.scores[0].score is not None


def test_a_panel_that_is_taken_up_again_is_weighed_whole() -> None:
    world = World(settings=QUIET)
    thread = world.submit(PROMPT, max_iterations=2)
    work_until_evaluated(world, thread, iteration=2, count=2)
    half = cancel(thread.id, world.services)
    world.queue.messages.clear()

    retry(thread.id, world.services)
    settle(world)

    ended = world.store.get_thread(thread.id)
    first, second = ended.scores
    assert (half.scores[1].evaluators, second.evaluators) == (2, second.asked)
    (document,) = world.store.criticisms_of(thread.id)
    assert document.improvement_score == pytest.approx(min(10, 5.5 + (second.score or 0) - (first.score or 0)))
    assert_settled(world, ended)


def only_first_answers(request: CompletionRequest) -> str:
    if is_task(request, markers.TASK_REFINE):
        raise ContentRefusedError(request.model_name, "I do not revise")
    return answer_by_rule(request)


def test_a_round_that_brought_no_answer_does_not_count() -> None:
    world = World(only_first_answers, QUIET)

    thread = world.solve(PROMPT, max_iterations=2)

    assert (thread.current_iteration, thread.max_iterations_reached) == (1, False)
    assert {r.iteration_number for r in world.store.responses_of(thread.id)} == {1, 2}
    final = world.store.selections_of(thread.id)[1]
    assert (final.selection_phase, final.iteration_number) == (SelectionPhase.FINAL, 1)


def test_a_thread_that_is_cancelled_before_its_revision_stays_in_the_first_round_and_resumes_in_the_second() -> None:
    world = World(settings=QUIET)
    thread = work_until(world, world.submit(PROMPT, max_iterations=2), Step.REFINE)

    ended = cancel(thread.id, world.services)
    world.queue.messages.clear()
    retry(thread.id, world.services)
    resumed = world.store.get_thread(thread.id)
    settle(world)

    again = world.store.get_thread(thread.id)
    assert (ended.current_iteration, ended.max_iterations_reached) == (1, False)
    assert (resumed.current_iteration, resumed.due_step) == (2, Step.REFINE)
    assert (again.current_iteration, again.max_iterations_reached) == (2, True)
    assert_settled(world, again)


def outcomes(selection: Selection) -> tuple[object, object, object]:
    return selection.selection_success, selection.actual_performance, selection.selection_accuracy_score


def test_a_selection_of_which_nothing_was_weighed_has_no_outcome() -> None:
    world = World(only_first_answers, QUIET)

    thread = world.solve(PROMPT, max_iterations=2)

    selections = world.store.selections_of(thread.id)
    refinements = [s for s in selections if s.selection_phase is SelectionPhase.REFINEMENT]
    assert refinements
    assert {outcomes(selection) for selection in refinements} == {(None, None, None)}
    weighed = [s for s in selections if s.selection_phase is not SelectionPhase.REFINEMENT]
    assert all(None not in outcomes(selection) for selection in weighed)


def test_selections_of_a_thread_that_lost_its_panel_have_no_outcome() -> None:
    world = World(lambda r: "quite good" if is_task(r, markers.TASK_EVALUATE) else answer_by_rule(r))

    thread = world.solve(PROMPT)

    assert {outcomes(selection) for selection in world.store.selections_of(thread.id)} == {(None, None, None)}


def test_models_that_brought_nothing_are_not_involved() -> None:
    def reply(request: CompletionRequest) -> str:
        if request.model_name == "grok":
            raise ContentRefusedError(request.model_name, "I do not judge")
        return "quite good" if request.model_name == "llama" else answer_by_rule(request)

    world = World(reply)

    thread = world.solve(PROMPT, max_iterations=1)

    done = {r.model_name for r in world.store.responses_of(thread.id) if r.status is ResponseStatus.COMPLETED}
    assert thread.total_models_involved == len(done) == 6


def test_a_final_selection_is_measured_and_explains_its_own_scores() -> None:
    world = World()

    thread = world.solve(PROMPT, max_iterations=3)

    selections = world.store.selections_of(thread.id)
    (final,) = (s for s in selections if s.selection_phase is SelectionPhase.FINAL)
    assert all(selection.selection_time > 0 for selection in selections)
    for candidate in final.candidates_considered:
        mine = [s.score or 0 for s in thread.scores if s.model_name == candidate.model_name]
        assert candidate.final_score == max(mine)
        assert f"{max(mine):.2f}" in candidate.selection_reasoning


def test_an_unscored_final_response_is_explained_by_its_selection() -> None:
    world = World()
    thread = work_until(world, world.submit(PROMPT), Step.EVALUATE)

    cancel(thread.id, world.services)

    initial, final = world.store.selections_of(thread.id)
    chosen = next(c for c in initial.candidates_considered if c.model_name == final.selected_model)
    (candidate,) = final.candidates_considered
    assert candidate.final_score == chosen.final_score
    assert candidate.selection_reasoning == (
        f"no panel has scored its response; by its selection: {chosen.selection_reasoning}"
    )


@pytest.mark.parametrize("iteration", [1, 2])
def test_an_evaluation_that_comes_when_its_panel_is_closed_counts_nowhere(iteration: int) -> None:
    world = World(settings=QUIET)
    thread = world.submit(PROMPT, max_iterations=3)
    work_until_evaluated(world, thread, iteration=iteration, count=3)
    came = world.store.evaluations_of(thread.id, iteration=iteration)
    late = next(call for call in world.store.pending_of(thread.id) if call.role is Role.EVALUATOR)
    unlike = came[0].evaluation_criteria.model_copy(update={"accuracy": 1.0})
    other = {"id": late.id, "evaluator_model": late.model_name, "evaluation_criteria": unlike, "overall_score": 1.0}
    world.store.insert_evaluation(came[0].model_copy(update=other))

    ended = stop_by_user(world, thread)

    assert world.store.get_response(late.id).status is ResponseStatus.SUPERSEDED
    assert ended.scores[-1].evaluators == 3
    assert ended.scores[-1].score == pytest.approx(sum(each.overall_score for each in came) / 3)
