"""What a step hands back: where its thread goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestratex.domain.base import Step, StopReason
from orchestratex.domain.thread import Thread
from orchestratex.rules.flow import status_for


@dataclass(frozen=True)
class Move:
    """The next due step of a thread (None: it has ended) and what changes with it."""

    step: Step | None
    changes: dict[str, Any] = field(default_factory=dict)
    iteration: int | None = None  # None: it stays

    def fields(self, thread: Thread) -> dict[str, Any]:
        """The thread's changes, its status as the user sees it among them."""
        iteration = self.iteration or thread.current_iteration
        moved = {**self.changes, "due_step": self.step, "current_iteration": iteration}
        if self.step is Step.FINISH and thread.due_step is not Step.FINISH:
            moved["stopped_at"], moved["stopped_in"] = thread.due_step, iteration
        if self.step is not None:
            moved["thread_status"] = status_for(self.step, iteration)
        return moved


def stop(reason: StopReason, why: str) -> Move:
    """Go to finish, saying why."""
    changes: dict[str, Any] = {"stop_reason": reason}
    if reason in {StopReason.FAILED, StopReason.COST_LIMIT, StopReason.DEADLINE, StopReason.CANCELLED}:
        changes["failure_reason"] = why  # finish clears it where a response can be shown
    return Move(Step.FINISH, changes)
