from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestratex.local.child import GUARD, Child, Command, guard_line, start_child
from orchestratex.local.pids import session_pids

FAMILY = """
import os, time
if os.fork() == 0:
    time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), sys.exit(3)))
print("ready", flush=True)
time.sleep(600)
"""

Start = Callable[[Command], Child]
WaitFor = Callable[[Callable[[], bool]], None]
MakeCommand = Callable[..., Command]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(log: Path) -> Iterator[Start]:
    children: list[Child] = []

    def start_logged(command: Command) -> Child:
        with log.open("wb") as out:
            children.append(start_child(command, output_fd=out.fileno()))
        return children[-1]

    yield start_logged
    for child in children:
        child.finish()


def kill_main(child: Child) -> None:
    pid = child.main_pid()
    assert pid
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("code", "expected"), [("pass", 0), ("raise SystemExit(7)", 7)])
def test_exit_code_is_the_commands_own(start: Start, make_command: MakeCommand, code: str, expected: int) -> None:
    child = start(make_command(code))

    assert child.wait(20)
    assert child.poll() == expected


def test_death_by_signal_shows_as_negative_exit_code(
    start: Start, make_command: MakeCommand, log: Path, wait_for: WaitFor
) -> None:
    child = start(make_command(POLITE))
    wait_for(lambda: "ready" in log.read_text())

    kill_main(child)

    assert child.wait(20)
    assert child.poll() == -signal.SIGKILL


def test_stop_lets_the_command_end_by_itself(
    start: Start, make_command: MakeCommand, log: Path, wait_for: WaitFor
) -> None:
    child = start(make_command(POLITE))
    wait_for(lambda: "ready" in log.read_text())

    child.stop(20)

    assert child.poll() == 3
    assert "bye" in log.read_text()


def test_stop_kills_what_does_not_end_in_time(
    start: Start, make_command: MakeCommand, log: Path, wait_for: WaitFor
) -> None:
    child = start(make_command(STUBBORN))
    wait_for(lambda: "ready" in log.read_text())

    child.stop(0.1)

    assert session_pids(child.pid) == []


def test_orphans_of_a_killed_command_are_killed(
    start: Start, make_command: MakeCommand, log: Path, wait_for: WaitFor
) -> None:
    child = start(make_command(FAMILY))
    wait_for(lambda: "ready" in log.read_text())
    assert len(session_pids(child.pid)) == 3  # the guard, the command and its child

    kill_main(child)

    wait_for(lambda: child.poll() is not None and session_pids(child.pid) == [])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_killed_guard_takes_the_command_along(
    start: Start, make_command: MakeCommand, log: Path, wait_for: WaitFor
) -> None:
    child = start(make_command(POLITE))
    wait_for(lambda: "ready" in log.read_text())

    os.kill(child.pid, signal.SIGKILL)

    wait_for(lambda: session_pids(child.pid) == [])


def test_finish_sweeps_the_whole_tree_and_may_be_repeated(
    start: Start, make_command: MakeCommand, log: Path, wait_for: WaitFor
) -> None:
    child = start(make_command(FAMILY))
    wait_for(lambda: "ready" in log.read_text())

    child.finish()
    child.finish()

    assert session_pids(child.pid) == []


@pytest.mark.parametrize("code", [POLITE, FAMILY])
def test_parents_death_ends_the_tree(code: str, wait_for: WaitFor) -> None:
    line = guard_line([sys.executable, "-I", "-S", "-c", code])
    with subprocess.Popen(line, stdin=-1, stdout=-1, start_new_session=True) as guard:
        assert guard.stdin
        assert guard.stdout
        assert guard.stdout.readline() == b"ready\n"

        guard.stdin.close()  # all that a guard sees of a parent's kill -9

        wait_for(lambda: guard.poll() is not None and session_pids(guard.pid) == [])


def test_guard_stays_small() -> None:
    program = "import os, sys; exec(open(sys.argv[1]).read(), {'__name__': 'guard'}); print(*sys.modules)"
    needed = [sys.executable, "-I", "-S", "-c", program, os.devnull]
    line = [*needed[:-1], str(GUARD)]
    loaded, bare = (set(subprocess.check_output(each, text=True, timeout=60).split()) for each in (line, needed))

    assert loaded - bare <= {"__future__", "_signal", "select", "time"}  # each process of a stack has one


def test_missing_program_is_named(start: Start, tmp_path: Path, log: Path) -> None:
    child = start(Command(name="x", argv=("/no/such/program",), env={}, cwd=tmp_path))

    assert child.wait(20)
    assert child.poll() == 126
    assert "/no/such/program cannot run" in log.read_text()
