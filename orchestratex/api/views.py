"""What goes over the wire: bodies that are taken and given."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from bson import ObjectId
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from orchestratex.domain.base import FinishReason, SessionStatus, StopReason, ThreadStatus, to_usd
from orchestratex.domain.inputs import CostLimit, Strict, Truth, UserId, WantedScore
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.rules.flow import best_score, describe_best_panel, describe_panel
from orchestratex.rules.scoring import round_score
from orchestratex.steps.submit import ThreadRequest
from orchestratex.steps.waiting import Waiting


def _require_id(text: str) -> str:
    if not ObjectId.is_valid(text):
        raise ValueError("must be 24 hexadecimal digits")
    return text


IdText = Annotated[str, AfterValidator(_require_id), WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F]{24}$"})]


class NewThread(ThreadRequest):
    """A prompt; without a session one is opened for the user."""

    session_id: IdText | None = Field(default=None, description="the session to add to")
    user_id: UserId | None = Field(default=None, description="whose session is opened")
    cost_limit: CostLimit | None = Field(default=None, description="US dollars, of the session that is opened")


class ThreadChange(Strict):
    """What a user may say of a completed thread."""

    user_accepted: Truth


class SessionChange(Strict):
    """What a user may say of a session."""

    user_satisfaction: WantedScore


class Accepted(BaseModel):
    """A thread that was taken in."""

    id: str
    session_id: str
    status: ThreadStatus
    waiting_for: str | None = Field(description="what it will wait for, as things are; null: it is worked on")


class Progress(BaseModel):
    """How far a thread is."""

    iteration: int
    max_iterations: int
    scores: list[float | None] = Field(description="of each iteration's response, 1-10")
    evaluations: list[str] = Field(description="how many of the evaluations wanted stand behind each score")
    updated_at: datetime


class ThreadView(BaseModel):
    """A thread as its user sees it: the final response when it is completed, never an intermediate one."""

    id: str
    session_id: str
    reference: int | str | None = Field(description="the caller's own name for it")
    metadata: dict[str, Any] | None = Field(description="the caller's own notes")
    status: ThreadStatus
    is_queued: bool = Field(description="stands in line: as many threads are in flight as may be")
    waiting_for: str | None = Field(description="why it does not move, while nobody works on it")
    waiting_s: float | None = Field(description="for how long, seconds")
    progress: Progress
    stop_reason: StopReason | None
    failure_reason: str | None
    final_response: str | None
    finish_reason: FinishReason | None = Field(description="why the final response's model stopped writing")
    is_partial: bool = Field(description="the final response is not whole: the output limit or a filter ended it")
    final_quality_score: float | None
    score_note: str | None = Field(description="how many of the evaluations wanted stand behind the score, or why none")
    score_confidence: float | None = Field(description="how far the score can be trusted, 1-10")
    evaluations_received: int | None = Field(description="that could be read, of the final response")
    evaluations_asked: int | None = Field(description="that were wanted, of the final response")
    best_model: str | None
    user_accepted: bool | None
    is_simulated: bool = Field(description="the sandbox played models of it: texts and costs are made up")
    total_cost: float = Field(description="US dollars")
    total_tokens_used: int
    total_time_ms: float
    created_at: datetime
    completed_at: datetime | None


class SessionView(BaseModel):
    """A session as its user sees it."""

    id: str
    user_id: str
    status: SessionStatus
    max_iterations: int
    settings: dict[str, Any]
    total_cost: float = Field(description="US dollars")
    cost_limit: float | None = Field(description="US dollars")
    cost_excess: float = Field(
        description="US dollars that calls cost beyond what was set aside for them; above 0 no further call is paid for"
    )
    user_satisfaction: float | None
    session_start: datetime
    session_end: datetime | None


def view_thread(thread: Thread, waiting: Waiting | None = None, *, now: datetime | None = None) -> ThreadView:
    """A thread for its user; `now` is the moment until which it waits."""
    is_completed = thread.thread_status is ThreadStatus.COMPLETED
    scores = sorted(thread.scores, key=lambda each: each.iteration)
    best = best_score(thread.scores) if is_completed else None
    return ThreadView(
        id=str(thread.id),
        session_id=str(thread.session_id),
        reference=thread.reference,
        metadata=None if thread.metadata is None else json.loads(thread.metadata),
        status=thread.thread_status,
        is_queued=thread.is_queued,
        waiting_for=waiting.why if waiting else None,
        waiting_s=waiting.seconds(now) if waiting and now else None,
        progress=Progress(
            iteration=thread.current_iteration,
            max_iterations=thread.options.max_iterations,
            scores=[round_score(score.score) for score in scores],
            evaluations=[describe_panel(score, thread.stop_reason) for score in scores],
            updated_at=thread.updated_at,
        ),
        stop_reason=thread.stop_reason,
        failure_reason=thread.failure_reason,
        final_response=thread.final_response if is_completed else None,
        finish_reason=thread.final_finish_reason if is_completed else None,
        is_partial=is_completed and thread.is_final_partial,
        final_quality_score=round_score(thread.final_quality_score) if is_completed else None,
        score_note=describe_best_panel(thread) if is_completed else None,
        score_confidence=round_score(best.confidence) if best else None,
        evaluations_received=best.evaluators if best else None,
        evaluations_asked=best.asked if best else None,
        best_model=thread.best_model_id if is_completed else None,
        user_accepted=thread.user_accepted,
        is_simulated=thread.is_simulated,
        total_cost=thread.total_cost,
        total_tokens_used=thread.total_tokens_used,
        total_time_ms=thread.total_time_spent,
        created_at=thread.created_at,
        completed_at=thread.completed_at,
    )


def view_session(session: Session) -> SessionView:
    """A session for its user."""
    limit = session.cost_limit_nanos
    return SessionView(
        id=str(session.id),
        user_id=session.user_id,
        status=session.status,
        max_iterations=session.max_iterations,
        settings=session.settings.model_dump(mode="json"),
        total_cost=to_usd(session.total_cost_nanos),
        cost_limit=None if limit is None else to_usd(limit),
        cost_excess=to_usd(session.excess_nanos),
        user_satisfaction=session.user_satisfaction,
        session_start=session.session_start,
        session_end=session.session_end,
    )
