"""What is told of sessions and their users: when one ends, how it is rated, whether a response is accepted."""

from __future__ import annotations

from bson import ObjectId

from orchestratex.domain.base import Component, SessionStatus
from orchestratex.domain.thread import Thread
from orchestratex.steps.services import Services


def report_session_end(session_id: ObjectId, status: SessionStatus, why: str, services: Services) -> None:
    """Record that a session has ended, and how."""
    message = f"session ended as {status.value}: {why}"
    services.journal.write(Component.API, "session_ended", message, session_id=session_id, status=status)


def report_rating(session_id: ObjectId, satisfaction: float, services: Services) -> None:
    """Record what the user thinks of a session, 1 (worst) to 10 (best)."""
    services.journal.write(
        Component.API,
        "session_rated",
        f"its user rates the session {satisfaction:g}",
        session_id=session_id,
        user_satisfaction=satisfaction,
    )


def report_acceptance(thread: Thread, *, is_accepted: bool, services: Services) -> None:
    """Record whether the user accepts a thread's final response."""
    message = f"its user {'accepts' if is_accepted else 'rejects'} the final response"
    event = "response_accepted" if is_accepted else "response_rejected"
    model = thread.best_model_id
    services.journal.write(Component.API, event, message, thread=thread, model=model, user_accepted=is_accepted)
