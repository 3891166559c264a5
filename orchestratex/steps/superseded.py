"""What is told of calls that a thread has left behind."""

from __future__ import annotations

from collections.abc import Sequence

from orchestratex.domain.base import Component, ResponseStatus, Role
from orchestratex.domain.log import LogEvent
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.steps.services import Services


def report_superseded(thread: Thread, pending: Sequence[Response], services: Services) -> None:
    """Record which of the calls that were pending have been superseded: others may have come in just before."""
    if not pending:
        return
    now = services.store.held_calls([response.id for response in pending])
    gone = [each for each in pending if each.id in now and now[each.id].status is ResponseStatus.SUPERSEDED]
    services.journal.write_all([note_superseded(thread, response, services) for response in gone])


def note_superseded(thread: Thread, response: Response, services: Services) -> LogEvent:
    """The event of one call that is left behind."""
    is_under_way = response.sent_at is not None
    return services.journal.note(
        Component.EVALUATOR if response.role is Role.EVALUATOR else Component.ORCHESTRATOR,
        "call_superseded",
        f"{response.model_name}'s {response.purpose.value} call is left behind"
        + (" under way: what it costs is settled when it ends" if is_under_way else ""),
        thread=thread,
        iteration=response.iteration_number,
        model=response.model_name,
        response_id=str(response.id),
        purpose=response.purpose,
        attempt=response.attempt,
        was_sent=response.prompt_sent is not None,
    )
