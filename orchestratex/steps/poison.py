"""What fails at the same place again and again: counted, given back, and in the end given up with its reason.

A worker that dies is counted by whoever frees its lease, an error of ours by the one that caught it; the cap is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestratex.domain.base import Component, CostSource, LogLevel, Purpose, Role, StopReason
from orchestratex.domain.response import AttemptCost, Response
from orchestratex.errors import StepFailedError, UnavailableError
from orchestratex.steps import budget
from orchestratex.steps.announce import announce_thread
from orchestratex.steps.failing import MOST_WORDS, failed_fields, sent_time
from orchestratex.steps.halt import halt
from orchestratex.steps.services import Services

PAUSE_S = 1.0  # before what failed by our own error is tried again; doubles
_PANEL_PATIENCE = 2  # evaluations given up in one panel: then the fault is not one evaluator's


@contextmanager
def taking_back(response: Response, services: Services) -> Iterator[None]:
    """Give a call back when what is done under its lease fails by our own error. Raises StepFailedError then."""
    try:
        yield
    except (UnavailableError, StepFailedError):
        raise  # the lease expires and reconcile takes the call up; it was given back already
    except Exception as error:
        _take_back(response, error, services)
        raise StepFailedError(f"{response.role} call of {response.model_name} failed: {error!r}") from error


def unknown_charge(response: Response) -> AttemptCost | None:
    """What an attempt costs whose end nobody knows: the worst case once it was sent; None when that is no news."""
    if str(response.attempt) in response.attempt_costs or response.sent_at is None:
        return None
    return AttemptCost(nanos=response.reserved_nanos, source=CostSource.ESTIMATED)


def settle_as_recorded(response: Response, charge: AttemptCost | None, services: Services) -> None:
    """Settle the present attempt's reservation at what was just charged, or was before."""
    cost = charge or response.attempt_costs.get(str(response.attempt))
    is_estimate = cost is not None and cost.source is CostSource.ESTIMATED
    budget.settle(response, cost.nanos if cost else 0, services, is_estimate=is_estimate)


def contain(response: Response, why: str, services: Services) -> None:
    """A call was given up: its thread ends with what it has, unless it can do without.

    A panel can do without one evaluator, every thread without an assessment.
    """
    if response.purpose is Purpose.ASSESSMENT:
        return
    if response.role is Role.EVALUATOR:
        panel = services.store.panel_of(response.thread_id, iteration=response.iteration_number)
        if sum(each.is_quarantined for each in panel) < _PANEL_PATIENCE:
            return
    announce_thread(halt(response.thread_id, StopReason.FAILED, why, services), services)


def _take_back(response: Response, error: Exception, services: Services) -> None:
    found = services.store.get_response(response.id, brief=True)
    if found.lease_token is None or found.lease_token != response.lease_token:
        return  # closed, or taken away, before the error
    crashes = found.crashes + 1
    is_last = crashes >= services.settings.crash_cap
    why = f"{found.role} call of {found.model_name} failed {crashes} times: {error!r}"
    charge = unknown_charge(found)
    changes: dict[str, object] = {"crashes": crashes, "sent_at": None, "reserved_nanos": 0}
    if charge is not None:  # it was sent, and nothing came back
        changes |= sent_time(found, services)
    if is_last:
        given_up = {**failed_fields(found, why, services), "is_quarantined": True}
        closed = services.store.complete_response(found, {**changes, **given_up}, charge=charge)
    else:
        pause_s = PAUSE_S * 2.0 ** (crashes - 1)
        waiting = {**changes, "retried_for": why[:MOST_WORDS]}
        closed = services.store.update_response(found, waiting, is_release=True, delay_s=pause_s, charge=charge)
    if closed is None:
        return
    settle_as_recorded(found, charge, services)
    services.journal.write(
        Component.EVALUATOR if found.role is Role.EVALUATOR else Component.ORCHESTRATOR,
        "call_quarantined" if is_last else "error_occurred",
        why + ("; given up" if is_last else ""),
        thread=services.store.get_thread(found.thread_id),
        level=LogLevel.ERROR,
        model=found.model_name,
        error=error,
        response_id=str(found.id),
        attempt=found.attempt,
        crashes=crashes,
    )
    if is_last:
        contain(closed, why, services)
