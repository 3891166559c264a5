"""Clocks that go wrong and beats that are missing or doubled, for the whole run.

Nothing is over before the run is: recovery is the longest time for which a thread or an open call stood.
"""

from __future__ import annotations

from pathlib import Path

from orchestratex.faultpoints import Action, FaultPoint
from tests.cluster import wait_for
from tests.faults.rig import Shape
from tests.faults.trial import Row, Trial

LIBRARIES = tuple(Path(f"/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1") for arch in ("x86_64", "aarch64"))


def run(trial: Trial) -> None:
    """The processes are what is wrong; no call may be repeated at all."""
    trial.submit()


def run_with_a_crash(trial: Trial) -> None:
    """A worker dies as well: only reconcile can mend it, on the control workers' timer and the beats there are."""
    trial.submit()
    trial.await_calls()
    started = trial.arm(FaultPoint.CALL_SENT, Action.KILL_GROUP).await_hit()
    wait_for(lambda: any(not m.process.is_alive for m in trial.rig.members), timeout_s=10, what="a worker's death")
    trial.note_fault(started)
    trial.rig.supervise()


def ahead(minutes: int) -> tuple[tuple[str, str], ...]:
    """The environment of a process whose clock is ahead; its monotonic clock is not touched."""
    library = next((str(path) for path in LIBRARIES if path.exists()), "")
    faked = {"LD_PRELOAD": library, "FAKETIME": f"+{minutes}m", "DONT_FAKE_MONOTONIC": "1"}
    return tuple({**faked, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}.items())


def lacks_faketime() -> str | None:
    """Why clocks cannot be moved here."""
    return None if any(path.exists() for path in LIBRARIES) else "libfaketime is not installed"


ROWS = [
    Row("clocks", "beat stopped", "whole run", run, Shape(beats=0)),
    Row("clocks", "beat stopped", "whole run, and a worker killed", run_with_a_crash, Shape(beats=0), is_small=True),
    Row("clocks", "two beats", "whole run", run, Shape(beats=2)),
    Row("clocks", "two beats", "whole run, and a worker killed", run_with_a_crash, Shape(beats=2)),
    Row(
        "clocks",
        "clock 5 minutes ahead on one worker",
        "whole run",
        run,
        Shape(worker_environment=ahead(5)),
        is_small=True,
        why_not=lacks_faketime,
    ),
    Row(
        "clocks",
        "clock 5 minutes ahead on one control worker",
        "whole run, and a worker killed",
        run_with_a_crash,
        Shape(control_environment=ahead(5)),
        why_not=lacks_faketime,
    ),
]
