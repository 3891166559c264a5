"""Derives from the store what should be running, and mends what is not. Any number of these at once do no harm.

Each pass frees dead leases, sends again what is due and unclaimed, closes panels, settles orphaned reservations, and
ends idle sessions. It is what makes "insert the thread, then enqueue" safe without a transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bson import ObjectId

from orchestratex.domain.base import (
    CALL_STEPS,
    Component,
    CostSource,
    Document,
    LogLevel,
    Purpose,
    ResponseStatus,
    Role,
    SessionStatus,
    Step,
    StopReason,
    ThreadStatus,
)
from orchestratex.domain.response import AttemptCost, Response
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.errors import BrokerUnavailableError, UnavailableError
from orchestratex.steps import places
from orchestratex.steps.announce import announce_call, announce_thread
from orchestratex.steps.failing import failed_fields, sent_time, since
from orchestratex.steps.finish import end_bare
from orchestratex.steps.halt import halt
from orchestratex.steps.journal import QUEUE_LENGTH
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.panel import close_panel, find_stragglers, waits_its_turn
from orchestratex.steps.poison import contain, settle_as_recorded, unknown_charge
from orchestratex.steps.probe import PROBES
from orchestratex.steps.provision import is_provision, settle_provision
from orchestratex.steps.pulse import CONTROL
from orchestratex.steps.services import Services
from orchestratex.steps.sittings import report_session_end
from orchestratex.steps.superseded import report_superseded
from orchestratex.store.base import Account, HeldCall

_log = logging.getLogger(__name__)
_Found = TypeVar("_Found", bound="Document | _Held")
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
        ("threads past their deadline", lambda: _end_overdue_threads(services)),
        ("sessions cancelled", lambda: _cancel_sessions(services)),
        ("panels closed", lambda: _close_overdue_panels(services)),
        ("stragglers left behind", lambda: _leave_stragglers(services)),
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


def _mend_each(found: Sequence[_Found], mend: Callable[[_Found, Services], bool], services: Services) -> int:
    """Mend each; what fails at one of them must not keep the others waiting."""
    mended = 0
    for each in found:
        try:
            mended += mend(each, services)
        except UnavailableError:
            raise
        except Exception:  # noqa: BLE001 - an outer loop: one bad document must not end all mending
            _log.exception("%s %s cannot be mended", type(each).__name__, each.id)
    return mended


# -- dead leases


def _free_calls(services: Services) -> int:
    return _mend_each(services.store.expired_responses(limit=_BATCH), _free_call, services)


def _free_call(response: Response, services: Services) -> bool:
    """Take a dead worker's call away and charge what it may have cost; it is then due again, or quarantined."""
    charge = unknown_charge(response)
    changes: dict[str, object] = {"reserved_nanos": 0}
    if response.completion is None:
        changes |= sent_time(response, services)
    is_pending = response.status is ResponseStatus.PENDING
    is_quarantined = is_pending and response.crashes + 1 >= services.settings.crash_cap
    why = f"{response.role} call of {response.model_name} lost its worker {response.crashes + 1} times"
    if is_quarantined:
        changes |= {**failed_fields(response, why, services), "is_quarantined": True}
    elif not is_pending and response.sent_at is not None:
        changes["processing_duration"] = since(response, services)
    freed = services.store.free_response(response, changes, charge=charge)
    if freed is None:
        return False
    thread = services.store.get_thread(response.thread_id)
    if not is_pending:
        services.settle_totals(thread.id)
    settle_as_recorded(response, charge, services)
    _report_freed(thread, response, is_quarantined, services)
    if is_quarantined:
        contain(freed, why, services)
    if is_pending and not is_quarantined:
        announce_call(freed, services)
    return True


def _report_freed(thread: Thread, response: Response, is_quarantined: bool, services: Services) -> None:
    if response.status is ResponseStatus.PENDING:
        event = "call_quarantined" if is_quarantined else "call_recovered"
        message = f"{response.model_name}'s call lost its worker" + (" too often: given up" if is_quarantined else "")
    else:
        event = "call_left"
        message = f"{response.model_name}'s call, which nobody waits for, has brought no answer yet"
        message += "; charged at its worst case until it does" if response.sent_at else ""
    services.journal.write(
        Component.ORCHESTRATOR,
        event,
        message,
        thread=thread,
        level=LogLevel.ERROR if is_quarantined else LogLevel.WARNING,
        model=response.model_name,
        response_id=str(response.id),
        attempt=response.attempt,
        crashes=response.crashes + 1,
        was_sent=response.sent_at is not None,
    )


def _free_threads(services: Services) -> int:
    return _mend_each(services.store.expired_threads(limit=_BATCH), _free_thread, services)


def _free_thread(thread: Thread, services: Services) -> bool:
    freed = services.store.free_thread(thread)
    if freed is None:
        return False
    is_quarantined = freed.crashes >= services.settings.crash_cap
    services.journal.write(
        Component.ORCHESTRATOR,
        "thread_quarantined" if is_quarantined else "thread_recovered",
        f"step {thread.due_step} lost its worker" + (" too often: given up" if is_quarantined else ""),
        thread=thread,
        level=LogLevel.ERROR if is_quarantined else LogLevel.WARNING,
        step=thread.due_step,
        attempt=freed.attempt,
        crashes=freed.crashes,
    )
    if is_quarantined:
        why = f"step {thread.due_step} lost its worker {freed.crashes} times"
        is_end = freed.due_step is Step.FINISH
        move = end_bare(freed, why, services) if is_end else stop(StopReason.FAILED, why)
        moved = services.store.move_thread(freed, move.fields(freed))
        freed = moved or freed
    announce_thread(freed, services)
    return True


# -- what is due and unclaimed


def _send_threads(services: Services, *, doubles: bool) -> int:
    overdue = services.store.overdue_threads(resend_s=services.settings.resend_s, doubles=doubles, limit=_BATCH)
    return _mend_each(overdue, _send_thread, services)


def _send_thread(thread: Thread, services: Services) -> bool:
    """Announce a thread again, unless a call of its own is under way or waiting for its time."""
    if thread.due_step is Step.EVALUATE:
        moved = close_panel(thread, services)
        if moved is None:
            services.store.mark_thread_sent(thread, is_only_seen=True)
        else:
            announce_thread(moved, services)
        return moved is not None
    if thread.due_step in CALL_STEPS and _has_live_call(thread, services):
        services.store.mark_thread_sent(thread, is_only_seen=True)
        return False
    if not services.store.mark_thread_sent(thread):
        return False
    announce_thread(thread, services)
    return True


def _has_live_call(thread: Thread, services: Services) -> bool:
    now = services.clock()
    return any(
        response.lease_token is not None or (response.not_before is not None and response.not_before > now)
        for response in services.store.pending_of(thread.id)
        if response.role is not Role.EVALUATOR and response.purpose is not Purpose.ASSESSMENT
    )


def _send_evaluations(services: Services, *, doubles: bool) -> int:
    overdue = services.store.overdue_responses(resend_s=services.settings.resend_s, doubles=doubles, limit=_BATCH)
    return _mend_each(overdue, _send_call, services)


def _send_call(response: Response, services: Services) -> bool:
    """Announce an evaluation again; supersede an answer that was asked for when its thread had moved on already."""
    if response.role is Role.EVALUATOR or (
        response.purpose is Purpose.ASSESSMENT and not services.store.get_thread(response.thread_id).is_ended
    ):
        is_ours = services.store.mark_response_sent(response)
        if is_ours:
            announce_call(response, services)
        return is_ours
    thread = services.store.get_thread(response.thread_id)
    if thread.is_ended:
        pending = services.store.pending_of(thread.id)
        services.store.supersede_responses(thread.id)
        report_superseded(thread, pending, services)
        return bool(pending)
    services.store.mark_response_sent(response, is_only_seen=True)  # its thread is sent again in its stead
    return False


def _close_overdue_panels(services: Services) -> int:
    """After its deadline a panel goes on with the evaluations that came; weigh leaves the stragglers behind."""
    return _mend_each(services.store.overdue_panels(limit=_BATCH), _close_overdue_panel, services)


def _close_overdue_panel(thread: Thread, services: Services) -> bool:
    """Close it, unless an evaluation's model has other calls to answer first: then half the thread's time is given."""
    panel = services.store.panel_of(thread.id, iteration=thread.current_iteration)
    if any(waits_its_turn(response) for response in panel) and _has_time(thread, services):
        return False
    return _go_on_to_weigh(thread, services)


def _has_time(thread: Thread, services: Services) -> bool:
    """Whether less than half of what was left of the thread's time has passed since its panel's deadline."""
    if thread.panel_deadline is None or thread.deadline_at is None:
        return True
    return services.clock() < thread.panel_deadline + (thread.deadline_at - thread.panel_deadline) / 2


def _leave_stragglers(services: Services) -> int:
    """Go on with a quorum of the panel; weigh leaves the others behind."""
    return _mend_each(services.store.straggling_panels(limit=_BATCH), _leave_stragglers_of, services)


def _leave_stragglers_of(thread: Thread, services: Services) -> bool:
    stragglers = find_stragglers(thread, services)
    if not stragglers or not _go_on_to_weigh(thread, services):
        return False
    names = ", ".join(sorted(response.model_name for response in stragglers))
    message = f"the panel goes on without {names}: a quorum has come"
    services.journal.write(
        Component.EVALUATOR, "stragglers_left", message, thread=thread, level=LogLevel.WARNING, stragglers=names
    )
    return True


def _go_on_to_weigh(thread: Thread, services: Services) -> bool:
    moved = services.store.move_thread(thread, Move(Step.WEIGH).fields(thread))
    if moved is not None:
        announce_thread(moved, services)
    return moved is not None


# -- what has to end


def _end_overdue_threads(services: Services) -> int:
    return _mend_each(services.store.threads_past_deadline(limit=_BATCH), _end_overdue_thread, services)


def _end_overdue_thread(thread: Thread, services: Services) -> bool:
    allowed_s = thread.options.deadline_s or services.settings.thread_deadline_s
    why = f"its deadline has passed: {allowed_s:g} s were allowed"
    announce_thread(halt(thread.id, StopReason.DEADLINE, why, services), services)
    return True


def _cancel_sessions(services: Services) -> int:
    """Go on where a process died that was cancelling the threads of an ended session."""
    return _mend_each(services.store.cancelling_sessions(limit=_BATCH), _cancel_session, services)


def _cancel_session(session: Session, services: Services) -> bool:
    for thread in services.store.threads_of(session.id):
        if not thread.is_ended:
            announce_thread(halt(thread.id, StopReason.CANCELLED, "its session was ended", services), services)
    services.store.set_session(session.id, {"is_cancelling": False})
    return True


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
    """Settle what is held for attempts that are over. All calls are looked at together: most are still to be made."""
    accounts = services.store.accounts_with_reservations(limit=_BATCH)
    ids = {_response_id(key) for account in accounts for key in account.reservations}
    calls = services.store.held_calls(list(ids))
    held = [_Held(account, key, calls.get(_response_id(key))) for account in accounts for key in account.reservations]
    return _mend_each(held, _settle_orphan, services)


@dataclass(frozen=True)
class _Held:
    """A reservation, and the call that it is for; None: there is no such call."""

    account: Account
    key: str
    call: HeldCall | None

    @property
    def id(self) -> str:
        return f"{self.key} in {self.account.id}"


def _response_id(key: str) -> ObjectId:
    return ObjectId(key.partition("_")[0])


def _settle_orphan(held: _Held, services: Services) -> bool:
    """Settle a reservation whose attempt is over: at its recorded cost, or at nothing when it was never sent."""
    account, key, call = held.account, held.key, held.call
    if is_provision(key):
        return settle_provision(account, key, services)
    if call is None:
        return _settle_unknown(account, key, services)
    if call.lease_token is not None:
        return False
    attempt = key.partition("_")[2]
    if _is_settled(call, int(attempt)):
        return services.store.settle(account.id, key, 0)
    charged = call.attempt_costs.get(attempt)
    if charged is None and call.status is ResponseStatus.PENDING and int(attempt) > call.attempt:
        return False  # a panel's reservation whose evaluation has not been claimed yet
    if call.status is not ResponseStatus.PENDING:
        services.settle_totals(call.thread_id)
    nanos, is_estimate = _amount(charged)
    return services.store.settle(account.id, key, nanos, is_estimate=is_estimate)


def _is_settled(call: HeldCall, attempt: int) -> bool:
    """Whether the attempt's money was settled before: it saved its completion, settled, and closed the response.

    Then the reservation is one that somebody made again who opened the panel a second time.
    """
    is_closed = call.status in {ResponseStatus.COMPLETED, ResponseStatus.FAILED}
    return is_closed and call.has_completion and attempt == call.attempt


def _settle_unknown(account: Account, key: str, services: Services) -> bool:
    """Settle what no response stands for: only what is older than a lease was left behind by a crash.

    A panel reserves just before it inserts, so nothing was sent. A probe may have been: it is charged in full.
    """
    is_probe = isinstance(account.id, str) and account.id.endswith(f"/{PROBES}")
    cost = account.reservations[key] if is_probe else 0
    return account.idle_s > services.settings.lease_s and services.store.settle(account.id, key, cost)


def _amount(charged: AttemptCost | None) -> tuple[int, bool]:
    return (charged.nanos, charged.source is CostSource.ESTIMATED) if charged else (0, False)


# -- sessions


def _end_idle_sessions(services: Services) -> int:
    idle = services.store.idle_sessions(idle_s=services.settings.session_idle_s, limit=_BATCH)
    return _mend_each(idle, _end_idle_session, services)


def _end_idle_session(session: Session, services: Services) -> bool:
    status, read_at = idle_status(session.id, services), session.updated_at  # a thread may come in meanwhile
    has_ended = services.store.end_session(session.id, status, services.clock(), unchanged_since=read_at)
    if has_ended:
        why = f"nothing happened in it for {services.settings.session_idle_s:g} s"
        report_session_end(session.id, status, why, services)
    return has_ended


def idle_status(session_id: ObjectId, services: Services) -> SessionStatus:
    """How a session ended: `error` when its last thread failed and none completed, else `completed`."""
    threads = services.store.threads_of(session_id)
    if not threads or any(thread.thread_status is ThreadStatus.COMPLETED for thread in threads):
        return SessionStatus.COMPLETED
    return SessionStatus.ERROR if threads[-1].thread_status is ThreadStatus.FAILED else SessionStatus.COMPLETED
