from __future__ import annotations

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
from orchestratex.steps.services import Services
from orchestratex.steps.standby import fall_back


def finish(thread: Thread, services: Services) -> Move:
    """End the thread: the best response is what the user gets, and every selection learns how it turned out."""
    leave_behind(thread, services)  # before looking for the best: from now on no response is completed
    best = _find_best(thread, services)
    now = services.clock()
    if best is not None:
        services.store.insert_selection(_final_selection(thread, best, services))
        services.store.mark_best(thread.id, best.id)
    _record_outcomes(thread, services)
    stop_reason = thread.stop_reason or StopReason.FAILED
    status = ThreadStatus.COMPLETED if best is not None else ThreadStatus.FAILED
    score = best_score(thread.scores)
    services.journal.write(
        Component.ORCHESTRATOR,
        "thread_completed" if best else "thread_failed",
        f"stopped: {stop_reason.value}" + (f"; {_describe_score(thread)}" if best else f" ({thread.failure_reason})"),
        thread=thread,
        level=LogLevel.INFO if best else LogLevel.ERROR,
        model=best.model_name if best else None,
        stop_reason=stop_reason,
        score=score.score if score else None,
    )
    return Move(
        None,
        {
            "thread_status": status,
            "stop_reason": stop_reason,
            "failure_reason": None if best else thread.failure_reason or "no response could be had",
            "best_response_id": best.id if best else None,
            "best_model_id": best.model_name if best else None,
            **_shown(best),
            "final_quality_score": score.score if score else None,
            "max_iterations_reached": thread.current_iteration >= thread.options.max_iterations,
            "completed_at": now,
            "total_time_spent": max(0.0, (now - thread.created_at).total_seconds() * 1000),
            **services.recount(thread.id),
        },
    )


def _describe_score(thread: Thread) -> str:
    score = best_score(thread.scores)
    if score is None:
        return "it ended before its panel was weighed: no score"
    panel = describe_panel(score, thread.stop_reason)
    return panel if score.score is None else f"score {score.score:.2f} from {panel}"


def end_bare(thread: Thread, why: str, services: Services) -> Move:
    """The end of a thread whose finish itself fails: its best response, where that can be read, and nothing more."""
    services.store.supersede_responses(thread.id)
    try:
        best = _find_best(thread, services)
    except (ValidationError, NotFoundError):
        best = None
    now = services.clock()
    return Move(
        None,
        {
            "thread_status": ThreadStatus.COMPLETED if best else ThreadStatus.FAILED,
            "stop_reason": thread.stop_reason or StopReason.FAILED,
            "failure_reason": None if best else why,
            "best_response_id": best.id if best else None,
            "best_model_id": best.model_name if best else None,
            **_shown(best),
            "completed_at": now,
            "total_time_spent": max(0.0, (now - thread.created_at).total_seconds() * 1000),
            **services.recount(thread.id),
        },
    )


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


def _final_selection(thread: Thread, best: Response, services: Services) -> Selection:
    """The choice of the response that is shown, among the models that wrote one."""
    known: dict[str, Candidate] = {}
    for selection in services.store.selections_of(thread.id):
        known.update({candidate.model_name: candidate for candidate in selection.candidates_considered})
    choice = choose_final(thread.scores, known, author=best.model_name)
    return Selection(
        id=derive_id("selection", thread.id, thread.current_iteration, SelectionPhase.FINAL, thread.retries),
        thread_id=thread.id,
        session_id=thread.session_id,
        iteration_number=thread.current_iteration,
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
        selection_time=0.0,
        ordinal=thread.retries,
    )


def _record_outcomes(thread: Thread, services: Services) -> None:
    scores = {score.iteration: score for score in thread.scores}
    best = best_score(thread.scores)
    for selection in services.store.selections_of(thread.id):
        is_final = selection.selection_phase is SelectionPhase.FINAL
        score = best if is_final else scores.get(selection.iteration_number)
        if score is None or score.model_name != selection.selected_model:
            services.store.update_selection(selection.id, {"selection_success": False})  # its model was replaced
            continue
        hindsight = selection_outcome(
            selection.candidates_considered,
            selection.selected_model,
            score.score,
            quality_threshold=thread.options.quality_threshold,
        )
        services.store.update_selection(selection.id, {"actual_performance": score.score, **hindsight.model_dump()})
