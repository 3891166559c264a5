"""MongoDB whose primary dies, gives up its office, or stops: a replica set of three, and one of one member.

Recovery is counted from the moment when there is a primary again that answers, until every call that was open then is
closed and every running thread has moved. The time without a primary is an outage, which is not counted as standing.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.rig import Shape
from tests.faults.servers import frozen_for
from tests.faults.trial import Row, Trial

STOP_S = 30.0

Begun = Callable[[], None]  # called when the fault has begun
Fault = Callable[[Trial, Begun], None]


def kill(trial: Trial, begun: Begun) -> None:
    """kill -9 of the primary; it is started again at once."""
    mongo = trial.rig.mongo
    with trial.fault(is_outage=True):
        member = mongo.kill_primary()
        begun()
        member.restart()
        mongo.await_primary()


def step_down(trial: Trial, begun: Begun) -> None:
    """The primary gives up; another one is elected, or itself again where it is alone."""
    mongo = trial.rig.mongo
    with trial.fault(is_outage=True):
        mongo.step_down(5)
        begun()
        mongo.await_primary()


def stop(trial: Trial, begun: Begun) -> None:
    """All members stand still: connections are open, nobody answers."""
    with trial.fault(is_outage=True):
        frozen_for(trial.rig.mongo.members, STOP_S, begun)
        trial.rig.mongo.await_primary()


def during_respond(trial: Trial, fault: Fault) -> None:
    """First answers are being written by the models."""
    trial.submit()
    trial.await_calls("answer")
    fault(trial, _nothing)
    trial.rig.mongo.await_whole()


def during_fan_in(trial: Trial, fault: Fault) -> None:
    """Panels have some of their evaluations."""
    trial.submit()
    trial.await_fan_in()
    fault(trial, _nothing)
    trial.rig.mongo.await_whole()


def during_finish(trial: Trial, fault: Fault) -> None:
    """A worker has claimed the last step of a thread, and goes on with it when the fault is there."""
    trial.submit()
    trial.await_calls("evaluate")
    order = trial.pause_at_step("finish")
    fault(trial, order.release)
    trial.rig.mongo.await_whole()


def _nothing() -> None:
    """Nobody waits for the fault."""


MOMENTS = {"during respond": during_respond, "fan-in": during_fan_in, "finish": during_finish}
FAULTS = {"mongod: kill -9 and restart": kill, "mongod: step-down": step_down, "mongod: 30 s stop": stop}
THREE = Shape(members=3)

ROWS = [
    *(
        Row("mongo", f"{name} (set of three)", moment, lambda t, m=meet, f=fault: m(t, f), THREE)  # type: ignore[misc]
        for name, fault in FAULTS.items()
        for moment, meet in MOMENTS.items()
    ),
    Row(
        "mongo",
        "mongod: kill -9 and restart (one member)",
        "during respond",
        lambda t: during_respond(t, kill),
        is_small=True,
    ),
    Row("mongo", "mongod: step-down (one member)", "fan-in", lambda t: during_fan_in(t, step_down)),
]
