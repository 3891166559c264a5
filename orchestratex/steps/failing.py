"""A call that failed: its attempt is settled, then it waits for another or is given up."""

from __future__ import annotations

from orchestratex.domain.base import Component, CostSource, LogLevel, ResponseStatus, Role
from orchestratex.domain.response import AttemptCost, Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import ParameterRefusedError, ProviderError
from orchestratex.rules.attempts import count_sent
from orchestratex.steps import budget
from orchestratex.steps.called import Called, CallState, left
from orchestratex.steps.parameters import note_refusal
from orchestratex.steps.patience import back_off, is_refused, leave_out, may_try_again
from orchestratex.steps.provision import is_answer, release
from orchestratex.steps.services import Services

MOST_WORDS = 2000  # characters of what went wrong: it may quote a reply


def fail(
    thread: Thread, response: Response, error: ProviderError, services: Services, charged: AttemptCost | None = None
) -> Called:
    """Settle a failed attempt, then wait for another or give the call up."""
    left_out = leave_out(response, error, services)
    delay_s = 0.0 if left_out else back_off(response, error, services)
    again = bool(left_out) or may_try_again(thread, response, error, delay_s, services)
    count = left_out or _count(response, error, services)
    changes = {**count, **sent_time(response, services), "reserved_nanos": 0}
    if charged is None and response.sent_at is not None:
        charged = AttemptCost(nanos=0, source=CostSource.COMPUTED)  # it left, and nothing was billed
    if again:
        waiting = {**changes, "retried_for": str(error)[:MOST_WORDS], "sent_at": None}
        closed = services.store.update_response(
            response, waiting, is_release=True, delay_s=delay_s, is_pending=True, charge=charged
        )
    else:
        failed = {**changes, **failed_fields(response, str(error), services)}
        closed = services.store.complete_response(response, failed, charge=charged)
    nanos = charged.nanos if charged else 0
    if closed is None:
        return _fail_late(thread, response, changes, charged, services)
    is_estimate = charged is not None and charged.source is CostSource.ESTIMATED
    budget.settle(response, nanos, services, is_estimate=is_estimate)
    if is_answer(response):  # who waits holds no money, nor does who never comes
        release(thread, services)
    _report(thread, response, error, again, delay_s, services)
    if isinstance(error, ParameterRefusedError):  # last: this call knows it already, others learn it
        note_refusal(response.model_name, error.parameter, str(error), services, thread=thread)
    state = CallState.WAITING if again else CallState.FAILED
    return Called(state, thread, closed, delay_s=delay_s, why=str(error), has_failed=True)


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
    unsent = {**changes, "sent_at": None, "processing_duration": since(response, services)}
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


def failed_fields(response: Response, problem: str, services: Services) -> dict[str, object]:
    """What every failed response records; one that failed before it was sent has no duration."""
    lasted = {"processing_duration": since(response, services)} if count_sent(response) else {}
    return {"status": ResponseStatus.FAILED, "error_message": problem[:MOST_WORDS], **lasted}


def sent_time(response: Response, services: Services) -> dict[str, object]:
    """How long an attempt took that brought nothing, from its sending until now; nothing of one that was not sent."""
    if response.sent_at is None:
        return {}
    return {"response_time": max(0.0, (services.clock() - response.sent_at).total_seconds() * 1000)}


def since(response: Response, services: Services) -> float:
    """Milliseconds since the response was asked for."""
    return max(0.0, (services.clock() - response.timestamp).total_seconds() * 1000)
