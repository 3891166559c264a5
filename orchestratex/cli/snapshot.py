"""What a thread is doing at one moment, and what became of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bson import ObjectId

from orchestratex.domain.base import Purpose, ResponseStatus, Role, ThreadStatus, to_usd
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.rules.flow import best_score, describe_best_panel, describe_panel
from orchestratex.rules.scoring import round_score
from orchestratex.steps.services import Services
from orchestratex.steps.waiting import Waiting

_DOES: Final = {
    Role.PRIMARY: "answers",
    Role.EVALUATOR: "evaluates",
    Role.CRITIC: "criticises",
    Role.REFINER: "refines",
}


@dataclass(frozen=True)
class Snapshot:
    """A thread with its calls."""

    thread: Thread
    responses: list[Response]

    @property
    def working(self) -> list[str]:
        """The models whose calls a worker holds, with what they do."""
        return sorted(f"{r.model_name} {_describe_work(r)}" for r in self._pending if r.lease_token is not None)

    @property
    def waiting(self) -> list[str]:
        """The models whose calls are still to be taken by a worker."""
        return sorted(r.model_name for r in self._pending if r.lease_token is None)

    @property
    def cost_nanos(self) -> int:
        """What the thread has cost so far."""
        return sum(response.cost_nanos for response in self.responses)

    @property
    def models(self) -> list[str]:
        """The models that completed a call."""
        return sorted({r.model_name for r in self.responses if r.status is ResponseStatus.COMPLETED})

    @property
    def is_worked_on(self) -> bool:
        """Whether a worker holds a lease of it."""
        return self.thread.lease_token is not None or bool(self.working)

    @property
    def is_simulated(self) -> bool:
        """Whether the sandbox played a model of it."""
        return self.thread.is_simulated or any(response.is_simulated for response in self.responses)

    @property
    def _pending(self) -> list[Response]:
        return [response for response in self.responses if response.status is ResponseStatus.PENDING]


def _describe_work(response: Response) -> str:
    return "assesses its answer" if response.purpose is Purpose.ASSESSMENT else _DOES[response.role]


def take_snapshot(thread_id: ObjectId, services: Services) -> Snapshot:
    """Read a thread and its calls. Raises NotFoundError."""
    thread = services.store.get_thread(thread_id)
    return Snapshot(thread, services.store.responses_of(thread_id))


def describe_scores(thread: Thread) -> list[float | None]:
    """The score of each iteration's response."""
    return [score.score for score in sorted(thread.scores, key=lambda each: each.iteration)]


def describe_panels(thread: Thread) -> list[str]:
    """How many of the evaluations wanted stand behind each iteration's score."""
    scores = sorted(thread.scores, key=lambda each: each.iteration)
    return [describe_panel(score, thread.stop_reason) for score in scores]


def view_thread(thread: Thread) -> dict[str, Any]:
    """What the thread's user may see: a final response when it is completed, never an intermediate one."""
    is_completed = thread.thread_status is ThreadStatus.COMPLETED
    best = best_score(thread.scores) if is_completed else None
    return {
        "id": thread.reference,
        "metadata": None if thread.metadata is None else json.loads(thread.metadata),
        "thread_id": str(thread.id),
        "session_id": str(thread.session_id),
        "status": thread.thread_status.value,
        "is_queued": thread.is_queued,
        "iteration": thread.current_iteration,
        "max_iterations": thread.options.max_iterations,
        "scores": [round_score(score) for score in describe_scores(thread)],
        "evaluations": describe_panels(thread),
        "stop_reason": thread.stop_reason.value if thread.stop_reason else None,
        "failure_reason": thread.failure_reason,
        "final_response": thread.final_response if is_completed else None,
        "finish_reason": thread.final_finish_reason.value if is_completed and thread.final_finish_reason else None,
        "is_partial": is_completed and thread.is_final_partial,
        "final_quality_score": round_score(thread.final_quality_score) if is_completed else None,
        "score_note": describe_best_panel(thread) if is_completed else None,
        "score_confidence": round_score(best.confidence) if best else None,
        "evaluations_received": best.evaluators if best else None,
        "evaluations_asked": best.asked if best else None,
        "best_model": thread.best_model_id if is_completed else None,
        "is_simulated": thread.is_simulated,
        "total_cost": thread.total_cost,
        "total_tokens_used": thread.total_tokens_used,
        "total_time_ms": thread.total_time_spent,
        "created_at": thread.created_at.isoformat(),
        "completed_at": thread.completed_at.isoformat() if thread.completed_at else None,
    }


def view_result(
    snapshot: Snapshot, waiting: Waiting | None = None, *, uses_sandbox: bool | None = None
) -> dict[str, Any]:
    """A prompt's thread as JSON; `uses_sandbox`: whether the stack of this very run has the sandbox play."""
    view = {
        **view_thread(snapshot.thread),
        "waiting_for": waiting.why if waiting else None,
        "waiting_s": waiting.seconds(datetime.now(UTC)) if waiting else None,
        "models": snapshot.models,
        "is_simulated": snapshot.is_simulated,
        "total_cost": to_usd(snapshot.cost_nanos),
    }
    return view if uses_sandbox is None else {**view, "uses_sandbox": uses_sandbox}
