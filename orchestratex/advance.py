"""Claims and runs the due step, moves the thread, and goes on inline or enqueues what comes next."""

from __future__ import annotations

import logging
from collections.abc import Callable

from bson import ObjectId

from orchestratex.domain.base import CALL_STEPS, Component, LogLevel, Step, StopReason
from orchestratex.domain.thread import Thread
from orchestratex.errors import BrokerUnavailableError, StoreUnavailableError
from orchestratex.faultpoints import FaultPoint
from orchestratex.steps import places
from orchestratex.steps.analyse import analyse
from orchestratex.steps.evaluate import evaluate
from orchestratex.steps.finish import finish
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.panel import close_panel
from orchestratex.steps.refine import refine
from orchestratex.steps.respond import respond
from orchestratex.steps.results import Result
from orchestratex.steps.select import select
from orchestratex.steps.services import Services
from orchestratex.steps.weigh import weigh

_log = logging.getLogger(__name__)

STEPS: dict[Step, Callable[[Thread, Services], Move]] = {
    Step.ANALYSE: analyse,
    Step.SELECT: select,
    Step.WEIGH: weigh,
    Step.FINISH: finish,
}
CALLS: dict[Step, Callable[[ObjectId, Services], Result]] = {Step.RESPOND: respond, Step.REFINE: refine}
_ERROR_PAUSE_S = 1.0  # before a step that failed by its own error is tried again; doubles


def advance(thread_id: ObjectId, services: Services) -> str:
    """Run what is due of a thread under its lease, step after step, until it needs a call or has ended.

    Returns what happened, for operators. Does nothing where the thread is leased, waiting, ended or due a call.
    """
    done: list[str] = []
    while (thread := services.store.claim_thread(thread_id, lease_s=services.settings.lease_s)) is not None:
        step = thread.due_step
        services.faults.reach(FaultPoint.STEP_CLAIMED)
        moved = _run_step(thread, services)
        done.append(str(step))
        if moved is None:
            return f"{', '.join(done)}: not moved"
        services.faults.reach(FaultPoint.THREAD_MOVED)
        if moved.due_step is None:
            places.release(moved, services)
            break
        if moved.due_step in CALL_STEPS:
            _send_call(moved, services)
            break
    return ", ".join(done) or "nothing is due here"


def advance_answer(step: Step, thread_id: ObjectId, services: Services) -> tuple[bool, str]:
    """Run `respond` or `refine`. True when its panel is open, so that the chain's fan-out may follow."""
    result = CALLS[step](thread_id, services)
    return _go_on(result, services), result.why


def advance_evaluation(thread_id: ObjectId, response_id: ObjectId, services: Services) -> str:
    """Run one evaluation; the last of a panel goes on with weigh and what follows."""
    result = evaluate(thread_id, response_id, services)
    _go_on(result, services)
    return result.why


def fan_out(thread_id: ObjectId, services: Services) -> str:
    """Send the evaluations of an open panel; an empty panel is closed at once."""
    thread = services.store.get_thread(thread_id)
    if thread.due_step is not Step.EVALUATE:
        return "no panel is open"
    waiting = [r.id for r in services.store.pending_of(thread_id) if r.lease_token is None and r.attempt == 0]
    if waiting:
        services.queue.send_panel(thread_id, waiting)
        return f"{len(waiting)} evaluations sent"
    moved = close_panel(thread, services)
    if moved is not None:
        advance(moved.id, services)
    return "nothing to send"


def _go_on(result: Result, services: Services) -> bool:
    """Run inline what the move made due; True when a panel is open."""
    if result.moved is None:
        return False
    services.faults.reach(FaultPoint.THREAD_MOVED)
    if result.moved.due_step in STEPS:
        advance(result.moved.id, services)
    return result.moved.due_step is Step.EVALUATE


def _run_step(thread: Thread, services: Services) -> Thread | None:
    """Run one step under the heartbeat and move the thread; an error of ours is counted, then tried again."""
    with services.heart.hold(thread.lease_token or ""):
        try:
            move = STEPS[thread.due_step or Step.FINISH](thread, services)
            return services.store.move_thread(thread, move.fields(thread))
        except StoreUnavailableError:
            raise  # the lease expires and reconcile takes the step up
        except Exception as error:  # noqa: BLE001 - the one outer loop: a step's own fault must not vanish with its task
            return _take_back(thread, error, services)


def _take_back(thread: Thread, error: Exception, services: Services) -> Thread | None:
    _log.exception("step %s of thread %s failed", thread.due_step, thread.id)
    errors = thread.errors + 1
    is_last = errors >= services.settings.crash_cap
    services.journal.write(
        Component.ORCHESTRATOR,
        "error_occurred",
        f"step {thread.due_step} failed {errors} times: {error}" + ("; given up" if is_last else ""),
        thread=thread,
        level=LogLevel.ERROR,
        error=error,
        step=thread.due_step,
        attempt=thread.attempt,
    )
    if is_last and thread.due_step is not Step.FINISH:
        move = stop(StopReason.FAILED, f"step {thread.due_step} failed {errors} times: {error}")
        return services.store.move_thread(thread, move.fields(thread))
    services.store.release_thread(thread, delay_s=_ERROR_PAUSE_S * 2.0**thread.errors)
    return None


def _send_call(thread: Thread, services: Services) -> None:
    """Enqueue an iteration; where the broker is away, reconcile does it later."""
    try:
        if thread.due_step in CALLS:
            services.queue.send_iteration(thread.due_step, thread.id)
    except BrokerUnavailableError as error:
        _log.warning("thread %s waits for reconcile: %s", thread.id, error)
