"""Revisions that change nothing: an answer that was evaluated is not evaluated again under another name."""

from __future__ import annotations

from orchestratex.domain.base import Component, LogLevel, StopReason
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.rules.sameness import is_same_text
from orchestratex.steps.moves import stop
from orchestratex.steps.services import Services


def find_same(thread: Thread, revision: Response, services: Services) -> Response | None:
    """The weighed answer of this thread that a revision repeats, as its user would see both; None where it is new."""
    for score in thread.scores:
        answer = services.store.get_response(score.response_id, brief=True)
        if is_same_text(answer.response_text or "", revision.response_text or ""):
            return answer
    return None


def stop_unchanged(thread: Thread, revision: Response, same: Response, services: Services) -> Thread | None:
    """End the thread: its panel would be paid for what it has judged already. None when somebody else moved it."""
    why = f"the revision repeats the answer of iteration {same.iteration_number}: there is no improvement"
    moved = services.store.move_thread(thread, stop(StopReason.NO_IMPROVEMENT, why).fields(thread))
    if moved is not None:
        services.journal.write(
            Component.ORCHESTRATOR,
            "revision_unchanged",
            f"{revision.model_name}: {why}",
            thread=thread,
            level=LogLevel.WARNING,
            model=revision.model_name,
            response_id=str(revision.id),
            same_as=str(same.id),
        )
    return moved
