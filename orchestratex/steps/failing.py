"""A call that failed: its attempt is settled, then it waits for another or is given up."""

from __future__ import annotations

from orchestratex.domain.base import Component, CostSource, LogLevel, ResponseStatus, Role
from orchestratex.domain.response import AttemptCost, Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import ParameterRefusedError, ProviderError
from orchestratex.steps import budget
from orchestratex.steps.called import Called, CallState, left
from orchestratex.steps.parameters import note_refusal
from orchestratex.steps.patience import back_off, is_refused, leave_out, may_try_again
from orchestratex.steps.services import Services


def fail(
    thread: Thread, response: Response, error: ProviderError, services: Services, charged: AttemptCost | None = None
) -> Called:
    """Settle a failed attempt, then wait for another or give the call up."""
    left_out = leave_out(response, error, services)
    delay_s = 0.0 if left_out else back_off(response, error, services)
    again = bool(left_out) or may_try_again(thread, response, error, delay_s, services)
    changes = {
        **(left_out or _count(response, error, services)),
        "error_message": str(error)[:2000],
        "reserved_nanos": 0,
    }
    if again:
        closed = services.store.update_response(
            response, {**changes, "sent_at": None}, is_release=True, delay_s=delay_s, charge=charged
        )
    else:
        failed = {"status": ResponseStatus.FAILED, "processing_duration": since(response, services)}
        closed = services.store.complete_response(response, {**changes, **failed}, charge=charged)
    nanos = charged.nanos if charged else 0
    if closed is None:
        return _fail_late(thread, response, changes, charged, services)
    is_estimate = charged is not None and charged.source is CostSource.ESTIMATED
    budget.settle(response, nanos, services, is_estimate=is_estimate)
    _report(thread, response, error, again, delay_s, services)
    if isinstance(error, ParameterRefusedError):  # last: this call knows it already, others learn it
        note_refusal(response.model_name, error.parameter, str(error), services, thread=thread)
    state = CallState.WAITING if again else CallState.FAILED
    return Called(state, thread, closed, delay_s=delay_s, why=str(error))


def _count(response: Response, error: ProviderError, services: Services) -> dict[str, object]:
    """A refused connection is counted apart: it costs nothing, and uses up none of the attempts."""
    if is_refused(error):
        return {"refusals": response.refusals + 1, "refused_since": response.refused_since or services.clock()}
    return {"errors": response.errors + 1}


def _fail_late(
    thread: Thread, response: Response, changes: dict[str, object], charged: AttemptCost | None, services: Services
) -> Called:
    """A failure that nobody waits for: under its lease while that stands, else in place of the estimated charge."""
    cost = charged or AttemptCost(nanos=0, source=CostSource.COMPUTED)
    unsent = {**changes, "sent_at": None}
    if services.store.update_response(response, unsent, is_release=True, charge=charged) is not None:
        services.settle_totals(thread.id)
        budget.settle(response, cost.nanos, services, is_estimate=cost.source is CostSource.ESTIMATED)
    elif cost.source is not CostSource.ESTIMATED:
        settle_late(thread, response, cost, services)
    return left(thread)


def settle_late(thread: Thread, response: Response, cost: AttemptCost, services: Services) -> None:
    """The lease was freed meanwhile and the call charged at its worst case: now the truth is known.

    Without an estimate in the response there is none in the accounts: both must say the same.
    """
    if not services.store.amend_attempt(response.id, response.attempt, cost):
        return
    budget.settle_late(response, cost.nanos, services)
    services.settle_totals(thread.id)


def _report(
    thread: Thread, response: Response, error: ProviderError, again: bool, delay_s: float, services: Services
) -> None:
    services.journal.write(
        Component.EVALUATOR if response.role is Role.EVALUATOR else Component.ORCHESTRATOR,
        "call_retried" if again else "error_occurred",
        f"{error}" + (f"; sent again in {delay_s:.1f} s" if again else "; given up"),
        thread=thread,
        level=LogLevel.WARNING if again else LogLevel.ERROR,
        model=response.model_name,
        error=None if again else error,
        error_class=type(error).__name__,
        attempt=response.attempt,
        response_id=str(response.id),
    )


def since(response: Response, services: Services) -> float:
    """Milliseconds since the response was asked for."""
    return max(0.0, (services.clock() - response.timestamp).total_seconds() * 1000)
