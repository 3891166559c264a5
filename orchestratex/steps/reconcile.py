"""Derives from the store what should be running, and mends what is not. Any number of these at once do no harm.

Each pass frees dead leases, sends again what is due and unclaimed, closes panels, settles orphaned reservations, and
ends idle sessions. It is what makes "insert the thread, then enqueue" safe without a transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from bson import ObjectId

from orchestratex.domain.base import (
    CALL_STEPS,
    Component,
    CostSource,
    LogLevel,
    ResponseStatus,
    Role,
    SessionStatus,
    Step,
    StopReason,
    ThreadStatus,
    to_usd,
)
from orchestratex.domain.response import AttemptCost, Response, Usage
from orchestratex.domain.thread import Thread
from orchestratex.errors import BrokerUnavailableError, NotFoundError
from orchestratex.steps import budget, places
from orchestratex.steps.journal import QUEUE_LENGTH
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.panel import close_panel
from orchestratex.steps.probe import PROBES
from orchestratex.steps.pulse import CONTROL
from orchestratex.steps.services import Services
from orchestratex.store.base import Account

_log = logging.getLogger(__name__)
_BATCH = 500  # documents of each kind a pass looks at: the next pass is seconds away
_LEASE = "reconcile"
_GAP_PASSES = 3  # passes missed in a row that mean an outage


def reconcile(services: Services) -> dict[str, int]:
    """Do one pass, unless one is being made; returns how much of each kind was mended. Raises StoreUnavailableError.

    The lease only saves work, and is shorter than the time between passes: a holder that died delays no mending. Who
    leaves because of it notes no pass, and the holder noted its own at its start: there is no gap to be seen.
    """
    token = services.store.take_lease(_LEASE, lease_s=services.settings.reconcile_s / 2)
    if token is None:
        return {}
    try:
        done = _mend(services)
        services.store.put_sample(CONTROL, sum(done.values()))
        return done
    finally:
        services.store.end_lease(_LEASE, token)


def _mend(services: Services) -> dict[str, int]:
    settings = services.settings
    may_free = services.store.note_reconcile(
        gap_s=_GAP_PASSES * settings.reconcile_s + settings.reconcile_s, amnesty_s=settings.lease_s
    )
    is_empty = _sample_queue(services)
    done: dict[str, int] = {}
    passes: list[tuple[str, Callable[[], int]]] = [
        ("panels closed", lambda: _close_overdue_panels(services)),
        ("threads sent", lambda: _send_threads(services, doubles=not is_empty)),
        ("calls sent", lambda: _send_evaluations(services, doubles=not is_empty)),
        ("reservations settled", lambda: _settle_orphans(services)),
        ("places mended", lambda: places.mend(services)),
        ("sessions ended", lambda: _end_idle_sessions(services)),
    ]
    if may_free:
        passes[:0] = [
            ("calls freed", lambda: _free_calls(services)),
            ("threads freed", lambda: _free_threads(services)),
        ]
    for name, mend in passes:
        count = mend()
        if count:
            done[name] = count
    return done


# -- dead leases


def _free_calls(services: Services) -> int:
    return sum(_free_call(response, services) for response in services.store.expired_responses(limit=_BATCH))


def _free_call(response: Response, services: Services) -> bool:
    """Take a dead worker's call away and charge what it may have cost; it is then due again, or quarantined."""
    changes: dict[str, Any] = {"reserved_nanos": 0}
    charged = response.attempt_costs.get(str(response.attempt))
    if charged is None and response.sent_at is not None:
        charged = AttemptCost(nanos=response.reserved_nanos, source=CostSource.ESTIMATED, usage=Usage())
        costs = {**response.attempt_costs, str(response.attempt): charged}
        nanos = sum(cost.nanos for cost in costs.values())
        changes |= {
            "attempt_costs": costs,
            "cost_nanos": nanos,
            "cost": to_usd(nanos),
            "cost_source": CostSource.ESTIMATED,
            "tokens_used": response.tokens_used or Usage(),
        }
    is_quarantined = response.crashes + 1 >= services.settings.crash_cap
    if is_quarantined and response.status is ResponseStatus.PENDING:
        problem = f"its worker died or hung {response.crashes + 1} times"
        changes |= {"status": ResponseStatus.FAILED, "error_message": problem}
    freed = services.store.free_response(response, changes)
    if freed is None:
        return False
    nanos, is_estimate = _amount(charged)
    budget.settle(response, nanos, services, is_estimate=is_estimate)
    _report_freed(response, is_quarantined, services)
    if freed.status is ResponseStatus.PENDING:
        _announce_call(freed, services)
    return True


def _report_freed(response: Response, is_quarantined: bool, services: Services) -> None:
    services.journal.write(
        Component.ORCHESTRATOR,
        "call_quarantined" if is_quarantined else "call_recovered",
        f"{response.model_name}'s call lost its worker" + (" too often: given up" if is_quarantined else ""),
        thread=services.store.get_thread(response.thread_id),
        level=LogLevel.ERROR if is_quarantined else LogLevel.WARNING,
        model=response.model_name,
        response_id=str(response.id),
        attempt=response.attempt,
        crashes=response.crashes + 1,
        was_sent=response.sent_at is not None,
    )


def _free_threads(services: Services) -> int:
    return sum(_free_thread(thread, services) for thread in services.store.expired_threads(limit=_BATCH))


def _free_thread(thread: Thread, services: Services) -> bool:
    freed = services.store.free_thread(thread)
    if freed is None:
        return False
    is_quarantined = freed.crashes >= services.settings.crash_cap and freed.due_step is not Step.FINISH
    services.journal.write(
        Component.ORCHESTRATOR,
        "thread_quarantined" if is_quarantined else "thread_recovered",
        f"step {thread.due_step} lost its worker" + (" too often: given up" if is_quarantined else ""),
        thread=thread,
        level=LogLevel.ERROR if is_quarantined else LogLevel.WARNING,
        step=thread.due_step,
        crashes=freed.crashes,
    )
    if is_quarantined:
        move = stop(StopReason.FAILED, f"step {thread.due_step} lost its worker {freed.crashes} times")
        moved = services.store.move_thread(freed, move.fields(freed))
        freed = moved or freed
    _announce_thread(freed, services)
    return True


# -- what is due and unclaimed


def _send_threads(services: Services, *, doubles: bool) -> int:
    overdue = services.store.overdue_threads(resend_s=services.settings.resend_s, doubles=doubles, limit=_BATCH)
    return sum(_send_thread(thread, services) for thread in overdue)


def _send_thread(thread: Thread, services: Services) -> bool:
    """Announce a thread again, unless a call of its own is under way or waiting for its time."""
    if thread.due_step is Step.EVALUATE:
        moved = close_panel(thread, services)
        if moved is not None:
            _announce_thread(moved, services)
        return moved is not None
    if thread.due_step in CALL_STEPS and _has_live_call(thread, services):
        return False
    if not services.store.mark_thread_sent(thread):
        return False
    _announce_thread(thread, services)
    return True


def _has_live_call(thread: Thread, services: Services) -> bool:
    now = services.clock()
    return any(
        response.lease_token is not None or (response.not_before is not None and response.not_before > now)
        for response in services.store.pending_of(thread.id)
        if response.role is not Role.EVALUATOR
    )


def _send_evaluations(services: Services, *, doubles: bool) -> int:
    overdue = services.store.overdue_responses(resend_s=services.settings.resend_s, doubles=doubles, limit=_BATCH)
    sent = 0
    for response in overdue:
        if services.store.mark_response_sent(response):
            _announce_call(response, services)
            sent += 1
    return sent


def _close_overdue_panels(services: Services) -> int:
    """After its deadline a panel goes on with the evaluations that came; weigh leaves the stragglers behind."""
    closed = 0
    for thread in services.store.overdue_panels(limit=_BATCH):
        moved = services.store.move_thread(thread, Move(Step.WEIGH).fields(thread))
        if moved is not None:
            closed += 1
            _announce_thread(moved, services)
    return closed


def _announce_thread(thread: Thread, services: Services) -> None:
    if thread.due_step is None or thread.due_step is Step.EVALUATE:
        return
    try:
        if thread.due_step in CALL_STEPS:
            services.queue.send_iteration(thread.due_step, thread.id)
        else:
            services.queue.send_step(thread.due_step, thread.id)
    except BrokerUnavailableError as error:
        _log.warning("thread %s is due and cannot be announced: %s", thread.id, error)


def _announce_call(response: Response, services: Services) -> None:
    try:
        if response.role is Role.EVALUATOR:
            services.queue.send_panel(response.thread_id, [response.id])
        else:
            step = Step.REFINE if response.role is Role.REFINER else Step.RESPOND
            services.queue.send_iteration(step, response.thread_id)
    except BrokerUnavailableError as error:
        _log.warning("response %s is due and cannot be announced: %s", response.id, error)


def _sample_queue(services: Services) -> bool:
    """Share how many messages wait; True when none does."""
    try:
        length = services.queue.length()
    except BrokerUnavailableError as error:
        _log.warning("the queue's length is unknown: %s", error)
        return False
    services.store.put_sample(QUEUE_LENGTH, length)
    return length == 0


# -- money that nobody holds any more


def _settle_orphans(services: Services) -> int:
    accounts = services.store.accounts_with_reservations(limit=_BATCH)
    return sum(_settle_orphan(account, key, services) for account in accounts for key in account.reservations)


def _settle_orphan(account: Account, key: str, services: Services) -> bool:
    """Settle a reservation whose attempt is over: at its recorded cost, or at nothing when it was never sent."""
    response_id, _, attempt = key.partition("_")
    try:
        response = services.store.get_response(ObjectId(response_id))
    except NotFoundError:
        return _settle_unknown(account, key, services)
    if response.lease_token is not None:
        return False
    charged = response.attempt_costs.get(attempt)
    if charged is None and response.status is ResponseStatus.PENDING and int(attempt) > response.attempt:
        return False  # a panel's reservation whose evaluation has not been claimed yet
    nanos, is_estimate = _amount(charged)
    return services.store.settle(account.id, key, nanos, is_estimate=is_estimate)


def _settle_unknown(account: Account, key: str, services: Services) -> bool:
    """Settle what no response stands for: only what is older than a lease was left behind by a crash.

    A panel reserves just before it inserts, so nothing was sent. A probe may have been: it is charged in full.
    """
    age_s = (services.clock() - account.updated_at).total_seconds() if account.updated_at else 0.0
    is_probe = isinstance(account.id, str) and account.id.endswith(f"/{PROBES}")
    cost = account.reservations[key] if is_probe else 0
    return age_s > services.settings.lease_s and services.store.settle(account.id, key, cost)


def _amount(charged: AttemptCost | None) -> tuple[int, bool]:
    return (charged.nanos, charged.source is CostSource.ESTIMATED) if charged else (0, False)


# -- sessions


def _end_idle_sessions(services: Services) -> int:
    idle = services.store.idle_sessions(idle_s=services.settings.session_idle_s, limit=_BATCH)
    return sum(services.store.end_session(s.id, idle_status(s.id, services), services.clock()) for s in idle)


def idle_status(session_id: ObjectId, services: Services) -> SessionStatus:
    """How a session ended: `error` when its last thread failed and none completed, else `completed`."""
    threads = services.store.threads_of(session_id)
    if not threads or any(thread.thread_status is ThreadStatus.COMPLETED for thread in threads):
        return SessionStatus.COMPLETED
    return SessionStatus.ERROR if threads[-1].thread_status is ThreadStatus.FAILED else SessionStatus.COMPLETED
