"""Taking an ended thread up again from where it stood. What was paid for is used, not paid again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bson import ObjectId

from orchestratex.domain.base import Component, Purpose, ResponseStatus, Role, Step, StopReason
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import ConflictError
from orchestratex.steps import places
from orchestratex.steps.moves import Move
from orchestratex.steps.panel import panel_deadlines
from orchestratex.steps.services import Services

_RESUMABLE = frozenset({StopReason.FAILED, StopReason.CANCELLED, StopReason.DEADLINE, StopReason.COST_LIMIT})

_USABLE = frozenset({ResponseStatus.PENDING, ResponseStatus.COMPLETED})


def retry(thread_id: ObjectId, services: Services) -> Thread:
    """Resume an ended thread at the step that was due when it stopped, with its counts of failures cleared.

    Its session becomes active again. Raises NotFoundError, ConflictError for a thread that runs or ended well, and
    CapacityError.
    """
    thread = services.store.get_thread(thread_id)
    _require_resumable(thread)
    entry = places.take([thread], services)
    services.store.reopen_session(thread.session_id)
    stood = thread.model_copy(update={"current_iteration": thread.stopped_in or thread.current_iteration})
    step, failed_models = _resume(stood, services)
    changes: dict[str, Any] = {
        "stop_reason": None,
        "failure_reason": None,
        "final_response": None,
        "final_finish_reason": None,
        "is_final_partial": False,
        "completed_at": None,
        "failed_models": failed_models,
        "user_accepted": None,
        "retries": thread.retries + 1,
    }
    deadlines = {
        "deadline_at": thread.options.deadline_s or services.settings.thread_deadline_s,
        **(panel_deadlines(services) if step is Step.EVALUATE else {}),
    }
    again = Move(step, {**changes, "is_queued": entry.is_queued}, iteration=stood.current_iteration)
    fields = again.fields(thread)
    moved = services.store.move_thread(thread, fields, deadlines_s=deadlines)
    if moved is None:
        raise ConflictError("thread_id", f"{thread_id} is being retried already")
    message = f"taken up again at {step}, after: {thread.failure_reason or thread.stop_reason}"
    services.journal.write(Component.API, "thread_retried", message, thread=moved, step=step, retries=moved.retries)
    places.enter(replace(entry, threads=[moved]), services)
    return moved


def has_ended_well(thread: Thread) -> bool:
    """Whether there is nothing to take up again: it has what it was to bring."""
    return thread.is_ended and thread.stop_reason not in _RESUMABLE


def _require_resumable(thread: Thread) -> None:
    if not thread.is_ended:
        raise ConflictError("thread_id", f"{thread.id} still runs ({thread.thread_status.value}): nothing to resume")
    if has_ended_well(thread):
        reason = thread.stop_reason.value if thread.stop_reason else "nothing"
        raise ConflictError("thread_id", f"{thread.id} ended well ({reason}): nothing to resume")


def _resume(thread: Thread, services: Services) -> tuple[Step, list[str]]:
    """Reopen what was under way. The step to resume at, and the models that stay out: their replies are unreadable."""
    stood, store = thread.stopped_at or Step.ANALYSE, services.store
    if stood in {Step.EVALUATE, Step.WEIGH}:
        panel = store.panel_of(thread.id, iteration=thread.current_iteration)
        store.reopen_responses([response.id for response in panel])
        stood = Step.EVALUATE if store.is_panel_open(thread) else Step.WEIGH
    answers = _answers(thread, services)
    if stood in {Step.RESPOND, Step.REFINE}:
        store.reopen_responses([r.id for r in answers if r.model_name not in thread.failed_models])
        answers = _answers(thread, services)
        stood = stood if any(response.status in _USABLE for response in answers) else Step.SELECT
    if stood in {Step.RESPOND, Step.REFINE}:
        return stood, thread.failed_models  # the model that was asked last is asked again, none before it
    unreadable = {response.model_name for response in answers if _is_unreadable(response)}
    return stood, sorted(unreadable - {response.model_name for response in answers if response.status in _USABLE})


def _is_unreadable(response: Response) -> bool:
    return response.status is ResponseStatus.FAILED and response.completion is not None


def _answers(thread: Thread, services: Services) -> list[Response]:
    found = services.store.responses_of(thread.id, iteration=thread.current_iteration)
    return [r for r in found if r.role is not Role.EVALUATOR and r.purpose is not Purpose.ASSESSMENT]
