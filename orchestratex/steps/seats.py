"""Calls that wait in the queue, without a worker, until limits, breaker or their model's free seat let them go."""

from __future__ import annotations

from orchestratex.domain.base import Component, Role
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.steps import gates
from orchestratex.steps.called import Called, CallState
from orchestratex.steps.services import Services


def give_back(thread: Thread, response: Response, passage: gates.Passage, services: Services) -> Called:
    """Let the call wait without a worker. Waiting is no attempt: the reservation stands for the next claim."""
    waiting = {
        "attempt": response.attempt - 1,
        "reserved_nanos": response.reserved_nanos,
        "days": response.days,
        "waits_for": passage.why,
    }
    is_new = passage.is_for_seat and response.seat_wanted_at is None
    if is_new:
        waiting["seat_wanted_at"] = services.clock()
    delay_s = max(0.0, passage.wait_s - gates.SHORT_WAIT_S)
    released = services.store.update_response(response, waiting, is_release=True, delay_s=delay_s)
    if released is None:
        return Called(CallState.LEFT, thread, why="the lease was lost before sending")
    if is_new:
        _report_wait(thread, response, passage, services)
    return Called(CallState.WAITING, thread, released, delay_s=delay_s, why=passage.why)


def _report_wait(thread: Thread, response: Response, passage: gates.Passage, services: Services) -> None:
    services.journal.write(
        Component.EVALUATOR if response.role is Role.EVALUATOR else Component.ORCHESTRATOR,
        "call_waits",
        f"{response.model_name}'s call waits its turn: {passage.why}",
        thread=thread,
        model=response.model_name,
        response_id=str(response.id),
    )


def end_seat_wait(response: Response, services: Services) -> dict[str, object]:
    """What a call records that has waited until its model took one more."""
    if response.seat_wanted_at is None:
        return {}
    waited_ms = max(0.0, (services.clock() - response.seat_wanted_at).total_seconds() * 1000)
    return {"seat_wanted_at": None, "seat_wait_ms": response.seat_wait_ms + waited_ms}
