from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestratex.local.child import Command
from orchestratex.local.output import LogFiles
from orchestratex.local.pids import session_pids
from orchestratex.local.supervisor import Backoff, Supervisor

WaitFor = Callable[[Callable[[], bool]], None]
MakeCommand = Callable[..., Command]

SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
FAMILY = "import os, time; os.fork(); os.fork(); print('ready', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, events: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(output=LogFiles(tmp_path), on_event=events.append, backoff=Backoff(first_s=0.05, max_s=0.2))
    yield made
    made.stop(0)


def is_ready(tmp_path: Path) -> bool:
    return "ready" in LogFiles(tmp_path).tail("worker")


@pytest.mark.parametrize(
    ("previous_s", "alive_s", "expected_s"),
    [(None, 0, 1), (1, 0, 2), (2, 59, 4), (16, 0, 30), (30, 0, 30), (30, 60, 1), (None, 100, 1)],
)
def test_pause_doubles_to_its_limit_and_a_long_life_resets_it(
    previous_s: float | None, alive_s: float, expected_s: float
) -> None:
    assert Backoff().next_pause_s(previous_s, alive_s) == expected_s


def test_dead_command_is_started_again_and_says_so(
    supervisor: Supervisor, make_command: MakeCommand, events: list[str], wait_for: WaitFor, tmp_path: Path
) -> None:
    supervisor.start(make_command(SLEEP))
    wait_for(lambda: is_ready(tmp_path))
    first_pid = supervisor.statuses()[0].pid

    assert first_pid
    os.kill(first_pid, signal.SIGKILL)

    wait_for(lambda: supervisor.statuses()[0].restarts == 1 and supervisor.statuses()[0].pid is not None)
    status = supervisor.statuses()[0]
    assert (status.name, status.is_running, status.exit_code) == ("worker", True, -9)
    assert status.pid != first_pid
    assert events == ["worker died with exit code -9; starts again in 0.05 s"]


def test_command_that_keeps_dying_is_started_more_and_more_seldom(
    supervisor: Supervisor, make_command: MakeCommand, events: list[str], wait_for: WaitFor
) -> None:
    supervisor.start(make_command("raise SystemExit(1)"))

    wait_for(lambda: len(events) >= 4)

    assert [event.rpartition("in ")[2] for event in events[:4]] == ["0.05 s", "0.1 s", "0.2 s", "0.2 s"]


def test_change_is_told_after_a_new_start(supervisor: Supervisor, make_command: MakeCommand, wait_for: WaitFor) -> None:
    changes: list[dict[str, int]] = []
    supervisor.on_change = lambda: changes.append(supervisor.session_pids())

    supervisor.start(make_command("pass"))
    first = supervisor.session_pids()

    wait_for(lambda: bool(changes))
    assert changes[0] != first


def test_stop_leaves_no_orphans(
    supervisor: Supervisor, make_command: MakeCommand, wait_for: WaitFor, tmp_path: Path
) -> None:
    supervisor.start(make_command(FAMILY))
    wait_for(lambda: is_ready(tmp_path))
    session = supervisor.session_pids()["worker"]

    supervisor.stop(10)

    assert session_pids(session) == []
    assert not supervisor.statuses()[0].is_running


def test_stop_kills_after_the_grace(
    supervisor: Supervisor, make_command: MakeCommand, wait_for: WaitFor, tmp_path: Path
) -> None:
    supervisor.start(make_command(STUBBORN))
    wait_for(lambda: is_ready(tmp_path))
    session = supervisor.session_pids()["worker"]

    supervisor.stop(0.1)

    assert session_pids(session) == []


def test_interrupt_during_stop_kills_at_once(
    supervisor: Supervisor, make_command: MakeCommand, wait_for: WaitFor, tmp_path: Path
) -> None:
    supervisor.start(make_command(STUBBORN))
    wait_for(lambda: is_ready(tmp_path))
    session = supervisor.session_pids()["worker"]
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)

    try:
        with pytest.raises(KeyboardInterrupt):
            supervisor.stop(600)
    finally:
        signal.signal(signal.SIGALRM, previous)

    assert session_pids(session) == []
