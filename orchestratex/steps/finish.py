from __future__ import annotations

import time
from typing import Any

from pydantic import ValidationError

from orchestratex.domain.base import (
    Component,
    LogLevel,
    Purpose,
    ResponseStatus,
    SelectionPhase,
    StopReason,
    ThreadStatus,
    derive_id,
)
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Candidate, Selection
from orchestratex.domain.thread import Thread
from orchestratex.errors import NotFoundError
from orchestratex.rules.final import choose_final
from orchestratex.rules.flow import best_score, describe_panel
from orchestratex.rules.selection import ALGORITHM_VERSION, selection_outcome
from orchestratex.steps.moves import Move
from orchestratex.steps.panel import leave_behind
from orchestratex.steps.provision import release_provision
from orchestratex.steps.services import Services
from orchestratex.steps.standby import fall_back
from orchestratex.steps.superseded import report_superseded
from orchestratex.steps.weigh import weigh_arrived


def finish(thread: Thread, services: Services) -> Move:
    """End the thread: the best response is what the user gets, and every selection learns how it turned out."""
    leave_behind(thread, services)  # before looking for the best: from now on no response is completed
    release_provision(thread, services)
    thread = weigh_arrived(thread, services)
    best = _find_best(thread, services)
    iteration = _last_answered(thread, services)
    if best is not None:
        services.store.mark_best(thread.id, best.id)
        _select_final(thread, best, iteration, services)
    _record_outcomes(thread, services)
    _report(thread, best, services)
    score = best_score(thread.scores)
    scored = {"scores": thread.scores, "final_quality_score": score.score if score else None}
    return Move(None, {**_end(thread, best, iteration, services), **scored}, iteration=iteration)


def _end(thread: Thread, best: Response | None, iteration: int, services: Services) -> dict[str, Any]:
    """What every end writes."""
    now = services.clock()
    return {
        "thread_status": ThreadStatus.COMPLETED if best else ThreadStatus.FAILED,
        "stop_reason": thread.stop_reason or StopReason.FAILED,
        "failure_reason": None if best else thread.failure_reason or "no response could be had",
        "best_response_id": best.id if best else None,
        "best_model_id": best.model_name if best else None,
        **_shown(best),
        "max_iterations_reached": iteration >= thread.options.max_iterations,
        "completed_at": now,
        "total_time_spent": max(0.0, (now - thread.created_at).total_seconds() * 1000),
        **services.recount(thread.id),
    }


def _last_answered(thread: Thread, services: Services) -> int:
    """The last iteration that has an answer; the first where none has."""
    iteration = thread.current_iteration
    while iteration > 1 and not _has_answer(thread, iteration, services):
        iteration -= 1
    return iteration


def _has_answer(thread: Thread, iteration: int, services: Services) -> bool:
    if any(score.iteration == iteration for score in thread.scores):
        return True
    answers = services.store.answers_of(thread.id, iteration=iteration)
    completed = ResponseStatus.COMPLETED
    return any(each.status is completed and each.purpose is not Purpose.ASSESSMENT for each in answers)


def _report(thread: Thread, best: Response | None, services: Services) -> None:
    stop_reason = thread.stop_reason or StopReason.FAILED
    score = best_score(thread.scores)
    services.journal.write(
        Component.ORCHESTRATOR,
        "thread_completed" if best else "thread_failed",
        f"stopped: {stop_reason.value}" + (f"; {_describe_score(thread)}" if best else f" ({thread.failure_reason})"),
        thread=thread,
        level=LogLevel.INFO if best else LogLevel.ERROR,
        model=best.model_name if best else None,
        stack=None if best else _find_stack(thread, services),
        stop_reason=stop_reason,
        score=score.score if score else None,
    )


def _find_stack(thread: Thread, services: Services) -> str | None:
    """The stack of the last error on the way to a failure; None where it ended without one, as by its user's wish."""
    events = services.store.logs_of(thread.id)
    return next((event.error_stack for event in reversed(events) if event.error_stack), None)


def _describe_score(thread: Thread) -> str:
    score = best_score(thread.scores)
    if score is None:
        return "it ended before its panel was weighed: no score"
    panel = describe_panel(score, thread.stop_reason)
    return panel if score.score is None else f"score {score.score:.2f} from {panel}"


def end_bare(thread: Thread, why: str, services: Services) -> Move:
    """The end of a thread whose finish itself fails: its best response, where that can be read, and nothing more."""
    pending = services.store.pending_of(thread.id)
    services.store.supersede_responses(thread.id)
    report_superseded(thread, pending, services)
    best, iteration = None, thread.current_iteration
    try:
        best = _find_best(thread, services)
        iteration = _last_answered(thread, services)
    except (ValidationError, NotFoundError):
        pass  # what cannot be read is not shown
    failed = {} if best else {"failure_reason": why}
    return Move(None, {**_end(thread, best, iteration, services), **failed}, iteration=iteration)


def _shown(best: Response | None) -> dict[str, Any]:
    """The final response, and whether it is whole."""
    return {
        "final_response": best.response_text if best else None,
        "final_finish_reason": best.finish_reason if best else None,
        "is_final_partial": best is not None and best.is_partial,
    }


def _find_best(thread: Thread, services: Services) -> Response | None:
    """The best response so far; the answer of a thread that was halted before anything was noted about it."""
    if thread.best_response_id is not None:
        return services.store.get_response(thread.best_response_id, brief=True)
    answers = services.store.answers_of(thread.id, iteration=thread.current_iteration)
    completed = ResponseStatus.COMPLETED
    best = next((r for r in answers if r.status is completed and r.purpose is not Purpose.ASSESSMENT), None)
    return best or fall_back(thread, services)


def _select_final(thread: Thread, best: Response, iteration: int, services: Services) -> None:
    """Record the choice of the response that is shown, among the models that wrote one."""
    started = time.perf_counter()
    known: dict[str, Candidate] = {}
    for selection in services.store.selections_of(thread.id):
        known.update({candidate.model_name: candidate for candidate in selection.candidates_considered})
    choice = choose_final(thread.scores, known, author=best.model_name)
    final = Selection(
        id=derive_id("selection", thread.id, iteration, SelectionPhase.FINAL, thread.retries),
        thread_id=thread.id,
        session_id=thread.session_id,
        iteration_number=iteration,
        selection_phase=SelectionPhase.FINAL,
        algorithm_version=ALGORITHM_VERSION,
        selection_strategy=thread.options.selection_strategy,
        candidates_considered=choice.candidates,
        selected_model=best.model_name,
        selection_confidence=choice.confidence,
        runner_up_model=choice.runner_up,
        selection_margin=choice.margin,
        primary_selection_factors=choice.factors,
        override_reasons=choice.override_reasons,
        timestamp=services.clock(),
        selection_time=(time.perf_counter() - started) * 1000,
        ordinal=thread.retries,
    )
    services.store.insert_selection(final)
    services.journal.write(
        Component.SELECTOR,
        "final_selected",
        f"{best.model_name}'s response of iteration {best.iteration_number} is shown",
        thread=thread,
        model=best.model_name,
        iteration=iteration,
        processing_time=final.selection_time,
        response_id=str(best.id),
        confidence=final.selection_confidence,
        runner_up=final.runner_up_model,
        margin=final.selection_margin,
    )


def _record_outcomes(thread: Thread, services: Services) -> None:
    for selection in services.store.selections_of(thread.id):
        actual = _weighed(thread, selection)
        hindsight = selection_outcome(
            selection.candidates_considered,
            selection.selected_model,
            actual,
            quality_threshold=thread.options.quality_threshold,
        )
        services.store.update_selection(selection.id, {"actual_performance": actual, **hindsight.model_dump()})


def _weighed(thread: Thread, selection: Selection) -> float | None:
    """The score of what a selection brought; None where nothing was weighed, as of a model that failed."""
    is_final = selection.selection_phase is SelectionPhase.FINAL
    mine = [
        score
        for score in thread.scores
        if score.model_name == selection.selected_model and (is_final or score.iteration == selection.iteration_number)
    ]
    best = best_score(mine)
    return best.score if best else None
