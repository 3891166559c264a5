"""Clocks that go wrong and beats that are missing or doubled, for the whole run.

Nothing is over before the run is: recovery is the longest time for which a thread or an open call stood.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from orchestratex.faultpoints import Action, FaultPoint
from tests.cluster import wait_for
from tests.faults.rig import Member, Shape
from tests.faults.trial import Row, Trial

AHEAD_MIN = 5
LIBRARIES = tuple(Path(f"/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1") for arch in ("x86_64", "aarch64"))


def run(trial: Trial) -> None:
    """The processes are what is wrong; no call may be repeated at all."""
    trial.submit()


def run_ahead(trial: Trial) -> None:
    """The clock is proved to be ahead, by the first times in the two workers' logs."""
    trial.submit()
    first, second = (_first_time(member) for member in trial.rig.of("worker"))
    ahead_s = (first - second).total_seconds()
    trial.expect(ahead_s > 60 * AHEAD_MIN - 60, f"the first worker's clock is only {ahead_s:.0f} s ahead")


def run_with_a_crash(trial: Trial) -> None:
    """A worker dies as well: only reconcile can mend it, on the control workers' timer and the beats there are."""
    trial.submit()
    trial.await_calls()
    started = trial.arm(FaultPoint.CALL_SENT, Action.KILL_GROUP).await_hit()
    wait_for(lambda: any(not m.process.is_alive for m in trial.rig.members), timeout_s=10, what="a worker's death")
    trial.note_fault(started)
    trial.rig.supervise()


def _first_time(member: Member) -> datetime:
    found = re.search(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+", member.process.text(), re.MULTILINE)
    return datetime.fromisoformat(found[1]) if found else datetime.min


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
        run_ahead,
        Shape(worker_environment=ahead(AHEAD_MIN)),
        is_small=True,
        why_not=lacks_faketime,
    ),
    Row(
        "clocks",
        "clock 5 minutes ahead on one control worker",
        "whole run, and a worker killed",
        run_with_a_crash,
        Shape(control_environment=ahead(AHEAD_MIN)),
        why_not=lacks_faketime,
    ),
]
