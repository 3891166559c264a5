"""Redis that dies, forgets, stops, or becomes slow.

Recovery is counted from the moment when Redis answers as before until every call that was open then is closed and
every running thread has moved. Where the engine was idle, the threads are submitted at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.rig import Shape
from tests.faults.servers import frozen_for
from tests.faults.trial import Row, Trial

STOP_S = 30.0
SLOW_S = 0.2  # a command

Fault = Callable[[Trial], None]


def restart(trial: Trial) -> None:
    """kill -9, and start again at once from what is on the disk."""
    with trial.fault(is_outage=True):
        trial.rig.redis.process.kill()
        trial.rig.redis.process.restart()
        trial.rig.redis.await_answer()


def flush(trial: Trial) -> None:
    """FLUSHALL."""
    with trial.fault():
        trial.rig.redis.flush()


def stop(trial: Trial) -> None:
    """SIGSTOP: connections stand, nobody answers."""
    with trial.fault(is_outage=True):
        frozen_for([trial.rig.redis.process], STOP_S)


def be_away(trial: Trial) -> None:
    """kill -9, and start again later: connections are refused meanwhile."""
    with trial.fault(is_outage=True):
        trial.rig.redis.process.kill()
        time.sleep(STOP_S)
        trial.rig.redis.process.restart()
        trial.rig.redis.await_answer()


def be_slow(trial: Trial) -> None:
    """Every command takes 200 ms."""
    proxy = trial.rig.proxy
    assert proxy is not None
    with trial.fault():
        proxy.delay_s = SLOW_S
        time.sleep(STOP_S)
        proxy.delay_s = 0.0


def while_idle(trial: Trial, fault: Fault) -> None:
    """The fault comes and goes before the first thread."""
    fault(trial)
    trial.submit()
    trial.over = time.time()


def be_slow_from_the_start(trial: Trial) -> None:
    """Redis is slow before the first thread: all are submitted into the slowness."""
    proxy = trial.rig.proxy
    assert proxy is not None
    proxy.delay_s = SLOW_S
    trial.submit()
    be_slow(trial)


def under_load(trial: Trial, fault: Fault) -> None:
    """Some calls are answered, others under way."""
    trial.submit()
    trial.await_load()
    fault(trial)


def during_fan_in(trial: Trial, fault: Fault) -> None:
    """Panels have some of their evaluations."""
    trial.submit()
    trial.await_fan_in()
    fault(trial)


MOMENTS = {"idle": while_idle, "under load": under_load, "during fan-in": during_fan_in}
FAULTS = {"Redis: restart": restart, "Redis: FLUSHALL": flush, "Redis: 30 s stop": stop}
SMALL = {("Redis: restart", "under load"), ("Redis: FLUSHALL", "during fan-in")}
SLOWNESS = "Redis: slow, 200 ms a command"
SLOW = Shape(is_slow_redis=True)

ROWS = [
    *(
        Row("redis", name, moment, lambda t, m=meet, f=fault: m(t, f), is_small=(name, moment) in SMALL)  # type: ignore[misc]
        for name, fault in FAULTS.items()
        for moment, meet in MOMENTS.items()
    ),
    Row("redis", "Redis: away for 30 s", "under load", lambda t: under_load(t, be_away)),
    Row("redis", SLOWNESS, "idle", be_slow_from_the_start, SLOW),
    Row("redis", SLOWNESS, "under load", lambda t: under_load(t, be_slow), SLOW),
    Row("redis", SLOWNESS, "during fan-in", lambda t: during_fan_in(t, be_slow), SLOW),
]
