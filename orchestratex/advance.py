"""Claims and runs the due step, moves the thread, and goes on inline or enqueues what comes next."""

from __future__ import annotations

import logging
from collections.abc import Callable

from bson import ObjectId

from orchestratex.domain.base import CALL_STEPS, Component, LogLevel, Role, SessionStatus, Step, StopReason
from orchestratex.domain.thread import Thread
from orchestratex.errors import BrokerUnavailableError, StepFailedError, UnavailableError
from orchestratex.faultpoints import FaultPoint
from orchestratex.steps import places
from orchestratex.steps.analyse import analyse
from orchestratex.steps.evaluate import evaluate
from orchestratex.steps.finish import end_bare, finish
from orchestratex.steps.halt import halt
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.panel import close_panel
from orchestratex.steps.poison import PAUSE_S
from orchestratex.steps.reconcile import idle_status
from orchestratex.steps.refine import refine
from orchestratex.steps.respond import respond
from orchestratex.steps.results import Result
from orchestratex.steps.select import select
from orchestratex.steps.services import Services
from orchestratex.steps.sittings import report_session_end
from orchestratex.steps.telling import tell_end, tell_failure
from orchestratex.steps.weigh import weigh

_log = logging.getLogger(__name__)

_END_LOOK_S = 0.05
_END_LOOKS = 10  # a finish takes some milliseconds; one that fails is tried again by reconcile

STEPS: dict[Step, Callable[[Thread, Services], Move]] = {
    Step.ANALYSE: analyse,
    Step.SELECT: select,
    Step.WEIGH: weigh,
    Step.FINISH: finish,
}
CALLS: dict[Step, Callable[[ObjectId, Services], Result]] = {Step.RESPOND: respond, Step.REFINE: refine}


def advance(thread_id: ObjectId, services: Services) -> str:
    """Run what is due of a thread under its lease, step after step, until it needs a call or has ended.

    Returns what happened, for operators. Does nothing where the thread is leased, waiting, ended or due a call.
    """
    done: list[str] = []
    moved: Thread | None = None
    while (thread := services.store.claim_thread(thread_id, lease_s=services.settings.lease_s)) is not None:
        done.append(str(thread.due_step))
        moved = _take_step(thread, services)
        if moved is None:
            return f"{', '.join(done)}: not moved"
        if moved.due_step is None or moved.due_step in CALL_STEPS:
            break
    end = f": {tell_end(moved)}" if moved is not None and moved.due_step is None else ""
    return f"{', '.join(done)}{end}" if done else "nothing is due here"


def advance_answer(step: Step, thread_id: ObjectId, services: Services) -> tuple[bool, str]:
    """Run `respond` or `refine`. True when its panel is open, so that the chain's fan-out may follow."""
    result = _run_call(thread_id, lambda: CALLS[step](thread_id, services), services)
    return _go_on(result, services)


def advance_evaluation(thread_id: ObjectId, response_id: ObjectId, services: Services) -> str:
    """Run one evaluation; the last of a panel goes on with weigh and what follows."""
    result = _run_call(thread_id, lambda: evaluate(thread_id, response_id, services), services)
    _, told = _go_on(result, services)
    return told


def cancel(thread_id: ObjectId, services: Services) -> Thread:
    """End a thread at its user's wish; returns it ended, with its best response where it has one.

    No request for it leaves any more; calls in flight are left at their next heartbeat, and settle into the totals.
    Cancelling an ended thread changes nothing. Raises NotFoundError.
    """
    lease_s = services.settings.lease_s
    halted = halt(thread_id, StopReason.CANCELLED, "cancelled by its user", services, lease_s=lease_s)
    if halted.is_ended:
        return halted
    _take_step(halted, services)
    for _ in range(_END_LOOKS):
        ended = services.store.get_thread(thread_id)
        if ended.is_ended:
            break
        services.sleep(_END_LOOK_S)  # another canceller took the finish over
    return ended


def end_session(session_id: ObjectId, services: Services) -> bool:
    """End a session at its user's wish and cancel the threads that still run; False when it had ended already.

    It is noted first that there is something to cancel, so that reconcile goes on where this process dies.
    """
    session = services.store.get_session(session_id)
    running = _running(session_id, services)
    status = SessionStatus.TERMINATED if running else idle_status(session_id, services)
    has_ended = services.store.end_session(session_id, status, services.clock(), is_cancelling=bool(running))
    if not has_ended and not (session.is_cancelling or running):
        return False
    if has_ended:
        why = f"by its user, with {len(running)} threads under way" if running else "by its user"
        report_session_end(session_id, status, why, services)
    cancel_all(session_id, services)
    return has_ended


def cancel_all(session_id: ObjectId, services: Services) -> int:
    """Cancel what still runs in an ended session, threads that came in meanwhile among it; returns how many."""
    tried: set[ObjectId] = set()  # each once: where a finish fails, reconcile tries it again
    while running := [thread for thread in _running(session_id, services) if thread.id not in tried]:
        services.store.set_session(session_id, {"is_cancelling": True, "status": SessionStatus.TERMINATED})
        for thread in running:
            cancel(thread.id, services)
            tried.add(thread.id)
    if tried and not _running(session_id, services):
        services.store.set_session(session_id, {"is_cancelling": False})
    return len(tried)


def fan_out(thread_id: ObjectId, services: Services) -> str:
    """Send the evaluations of an open panel; an empty panel is closed at once."""
    thread = services.store.get_thread(thread_id)
    if thread.due_step is not Step.EVALUATE:
        return "no panel is open"
    waiting = [r for r in services.store.pending_of(thread_id) if r.lease_token is None and r.attempt == 0]
    waiting.sort(key=lambda response: response.role is Role.EVALUATOR)  # nobody waits for an assessment: it goes first
    if waiting:
        services.queue.send_panel(thread_id, [response.id for response in waiting])
    if any(response.role is Role.EVALUATOR for response in waiting):
        return f"{len(waiting)} calls of a panel sent"
    moved = close_panel(thread, services)
    if moved is not None:
        advance(moved.id, services)
    return "no evaluation to send"


def _go_on(result: Result, services: Services) -> tuple[bool, str]:
    """Run inline what the move made due; True when a panel is open, and what happened, for operators."""
    if result.moved is None:
        return False, result.why
    services.faults.reach(FaultPoint.THREAD_MOVED)
    if result.moved.due_step in STEPS:
        return False, f"{result.why}; then {advance(result.moved.id, services)}"
    return result.moved.due_step is Step.EVALUATE, result.why


def _take_step(thread: Thread, services: Services) -> Thread | None:
    """Run a step under its thread's lease, and see to what its move brings; None when it did not move."""
    services.faults.reach(FaultPoint.STEP_CLAIMED)
    moved = _run_step(thread, services)
    if moved is None:
        return None
    services.faults.reach(FaultPoint.THREAD_MOVED)
    if moved.due_step is None:
        services.settle_totals(moved.id)  # an answer may have been charged while the end was computed
        places.release(moved, services)
    elif moved.due_step in CALL_STEPS:
        _send_call(moved, services)
    return moved


def _run_step(thread: Thread, services: Services) -> Thread | None:
    """Run one step under the heartbeat and move the thread; an error of ours is counted, then tried again."""
    with services.heart.hold(thread.lease_token or "", limit_s=services.settings.step_deadline_s):
        try:
            move = STEPS[thread.due_step or Step.FINISH](thread, services)
            return services.store.move_thread(thread, move.fields(thread))
        except UnavailableError:
            raise  # the lease expires and reconcile takes the step up
        except Exception as error:  # noqa: BLE001 - the one outer loop: a step's own fault must not vanish with its task
            return _take_back(thread, error, services)


def _run_call(thread_id: ObjectId, run: Callable[[], Result], services: Services) -> Result:
    """Run a step that makes a call; an error of ours is counted with the call, or with the thread, then tried again."""
    try:
        return run()
    except StepFailedError as error:
        thread = services.store.get_thread(thread_id)
        told = tell_failure(str(error), "it is tried again, or given up")
        return Result(close_panel(thread, services), told)  # the one given up may have been a panel's last
    except UnavailableError:
        raise
    except Exception as error:
        thread = services.store.get_thread(thread_id)
        if thread.is_ended:
            raise
        return Result(_take_back(thread, error, services), tell_failure(repr(error), "it is tried again, or given up"))


def _running(session_id: ObjectId, services: Services) -> list[Thread]:
    return [thread for thread in services.store.threads_of(session_id) if not thread.is_ended]


def _take_back(thread: Thread, error: Exception, services: Services) -> Thread | None:
    _log.exception("step %s of thread %s failed", thread.due_step, thread.id)
    errors = thread.errors + 1
    is_last = errors >= services.settings.crash_cap
    services.journal.write(
        Component.ORCHESTRATOR,
        "error_occurred",
        f"step {thread.due_step} failed {errors} times: {error!r}" + ("; given up" if is_last else ""),
        thread=thread,
        level=LogLevel.ERROR,
        error=error,
        step=thread.due_step,
        attempt=thread.attempt,
    )
    if is_last:
        why = f"step {thread.due_step} failed {errors} times: {error!r}"
        is_end = thread.due_step is Step.FINISH
        move = end_bare(thread, why, services) if is_end else stop(StopReason.FAILED, why)
        return services.store.move_thread(thread, move.fields(thread))
    services.store.release_thread(thread, delay_s=PAUSE_S * 2.0**thread.errors)
    return None


def _send_call(thread: Thread, services: Services) -> None:
    """Enqueue an iteration; where the broker is away, reconcile does it later."""
    try:
        if thread.due_step in CALLS:
            services.queue.send_iteration(thread.due_step, thread.id)
    except BrokerUnavailableError as error:
        _log.warning("thread %s waits for reconcile: %s", thread.id, error)
