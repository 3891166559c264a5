"""Workers that die or are asked to end.

Recovery is counted from the death of the process (or from the moment it was asked to end) until every call that was
open then is closed and every running thread has moved.
"""

from __future__ import annotations

import signal
import time

from orchestratex.faultpoints import Action, FaultPoint
from tests.cluster import wait_for
from tests.faults.apps.timing import SOFT_S
from tests.faults.rig import Member, Shape
from tests.faults.trial import Row, Trial

WORKERS = ("worker", "control")
GRACE_S = 60.0
SLACK_S = 5.0  # for a process to end on a busy machine

IN_FLIGHT = {"in flight": FaultPoint.CALL_SENT}
BEFORE_WRITE = {"between call and write": FaultPoint.CALL_ANSWERED}
BEFORE_ENQUEUE = {
    "between write and enqueue: call saved": FaultPoint.CALL_SAVED,
    "between write and enqueue: call settled": FaultPoint.CALL_SETTLED,
    "between write and enqueue: call completed": FaultPoint.CALL_COMPLETED,
    "between write and enqueue: panel inserted": FaultPoint.PANEL_INSERTED,
    "between write and enqueue: thread moved": FaultPoint.THREAD_MOVED,
}
STEPS = {"step claimed": FaultPoint.STEP_CLAIMED}
BEFORE_SENDING = {"call claimed": FaultPoint.CALL_CLAIMED, "money reserved": FaultPoint.CALL_RESERVED}


def kill_one(trial: Trial, point: FaultPoint) -> None:
    """kill -9 of the worker that reaches the point first; a supervisor starts it again."""
    if point not in {FaultPoint.STEP_CLAIMED, FaultPoint.THREAD_MOVED}:
        trial.submit()
        trial.await_calls()
        order = trial.arm(point, Action.KILL_GROUP)
    else:
        order = trial.arm(point, Action.KILL_GROUP)  # the first steps come before the first calls
        trial.submit()
    started = order.await_hit()
    wait_for(lambda: _dead(trial), timeout_s=10, what="the death of a worker")
    trial.note_fault(started)
    trial.rig.supervise()


def kill_child(trial: Trial) -> None:
    """kill -9 of a prefork child alone: its worker lives on and replaces it."""
    order = trial.arm(FaultPoint.STEP_CLAIMED, Action.KILL)
    trial.submit()
    trial.note_fault(order.await_hit())


def kill_all(trial: Trial, point: FaultPoint) -> None:
    """kill -9 of every worker and control worker while one of them stands at the point; all are started again."""
    trial.submit()
    trial.await_calls()
    order = trial.arm(point, Action.PAUSE)
    started = order.await_hit()
    for member in trial.rig.of(*WORKERS):
        member.process.kill()
    trial.note_fault(started)
    trial.rig.supervise()


def terminate_worker(trial: Trial) -> None:
    """SIGTERM in mid-call on threads: the calls are finished, nothing is lost or paid again."""
    trial.submit()
    trial.await_calls()
    member = _busiest(trial)
    with trial.fault():
        member.process.signal(signal.SIGTERM)
    code = _await_exit(member)
    trial.rig.supervise()
    trial.await_end()
    crashes = _count_crashes(trial)
    trial.expect(code == 0, f"the worker ended with exit code {code}")
    trial.expect(crashes == 0, f"{crashes} calls lost their worker although it was asked politely")


def terminate_softly(trial: Trial) -> None:
    """SIGTERM on prefork with a soft time: short calls end in it, long ones are given back and made again.

    A task whose acceptance Celery has not read yet when the signal comes cannot be cancelled: it is waited for. So the
    worker may take one call longer than its soft time.
    """
    trial.submit()
    trial.await_calls()
    member = _busiest(trial)
    started = time.time()
    member.process.signal(signal.SIGTERM)
    _await_exit(member)
    took_s = time.time() - started
    trial.note_fault(started, seconds=took_s)  # a call in flight at the end of the soft time is lost
    call_s = trial.row.latency_s
    trial.expect(took_s < SOFT_S + SLACK_S + call_s, f"the worker took {took_s:.1f} s to end")
    trial.rig.supervise()
    if call_s > SOFT_S:
        trial.await_end()
        trial.expect(_count_crashes(trial) > 0, "no call was given back")


def terminate_control(trial: Trial) -> None:
    """SIGTERM of a control worker in mid-step: the step is finished first."""
    order = trial.arm(FaultPoint.STEP_CLAIMED, Action.PAUSE)
    trial.submit()
    order.await_hit()
    member = next(m for m in trial.rig.of("control") if order.pid() in _family(m))
    with trial.fault():
        member.process.signal(signal.SIGTERM)
        order.release()
        code = _await_exit(member)
    trial.expect(code == 0, f"the control worker ended with exit code {code}")
    trial.rig.supervise()


def _count_crashes(trial: Trial) -> int:
    return sum(r.crashes for t in trial.threads for r in trial.rig.services.store.responses_of(t.id))


def _dead(trial: Trial) -> bool:
    return any(not member.process.is_alive for member in trial.rig.members)


def _busiest(trial: Trial) -> Member:
    """A worker that is in the middle of calls: all of them are, when half of the threads' calls are open."""
    return trial.rig.of("worker")[0]


def _family(member: Member) -> set[int]:
    import psutil

    pid = member.process.pid
    return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))} if pid else set()


def _await_exit(member: Member) -> int | None:
    ended = member.process.child.wait(GRACE_S)
    if not ended:
        member.process.kill()
        raise AssertionError(f"{member.process.name} did not end within {GRACE_S:g} s")
    return member.process.child.poll()


PREFORK = Shape(
    app="tests.faults.apps.soft",
    pool="prefork",
    settings=(("worker_concurrency", 8),),
    worker_environment=(("REMAP_SIGTERM", "SIGQUIT"),),  # of the first worker, which is asked to end
)

ROWS = [
    *(
        Row("workers", "kill -9 of one", moment, lambda t, p=point: kill_one(t, p), is_small=moment == "in flight")  # type: ignore[misc]
        for moment, point in {**BEFORE_SENDING, **IN_FLIGHT, **BEFORE_WRITE, **BEFORE_ENQUEUE, **STEPS}.items()
    ),
    Row("workers", "kill -9 of a prefork child", "step claimed", kill_child),
    *(
        Row("workers", "kill -9 of all", moment, lambda t, p=point: kill_all(t, p))  # type: ignore[misc]
        for moment, point in {
            **IN_FLIGHT,
            **BEFORE_WRITE,
            "between write and enqueue: call saved": FaultPoint.CALL_SAVED,
            "between write and enqueue: call completed": FaultPoint.CALL_COMPLETED,
        }.items()
    ),
    Row("workers", "SIGTERM on threads", "short calls", terminate_worker, latency_s=1.0, is_small=True),
    Row("workers", "SIGTERM on threads", "long calls", terminate_worker, latency_s=12.0, iterations=1),
    Row("workers", "SIGTERM on prefork", "mid-step", terminate_control),
    Row("workers", "SIGTERM on prefork, soft", "short calls", terminate_softly, PREFORK, latency_s=1.0),
    # longer than the soft time, and so short that panels do not wait for one of sixteen slots until they seem to stand
    Row("workers", "SIGTERM on prefork, soft", "long calls", terminate_softly, PREFORK, latency_s=6.0, iterations=1),
]
