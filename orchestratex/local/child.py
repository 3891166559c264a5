"""One guarded child: a command in a session of its own that ends with us, however we end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestratex.local.pids import kill_session

PRIVATE = 0o077  # the umask: what a command writes is for nobody else
GUARD = Path(__file__).with_name("guard.py")
ORPHAN_GRACE_S = 10.0  # what a command gets to stop in after our death; mongod needs about one second


@dataclass(frozen=True)
class Command:
    """What to run, and as what it is known."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path


class Child:
    """A running command and its guard. `pid` is the guard's, and the number of the session of the whole tree."""

    def __init__(self, guard: subprocess.Popen[bytes]) -> None:
        self._guard = guard
        self._is_finished = False
        self.pid = guard.pid

    def main_pid(self) -> int | None:
        """Return the pid of the command itself, or None when it does not run."""
        try:
            children = psutil.Process(self.pid).children()
        except psutil.NoSuchProcess:
            return None
        return children[0].pid if children else None

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that killed it), or None while it runs."""
        return self._guard.poll()

    def terminate(self) -> None:
        """Ask the command's main process to stop."""
        self._guard.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> bool:
        """Tell whether the command has ended within the time."""
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def finish(self) -> None:
        """Kill whatever is left of the tree and let go of it; again is harmless."""
        if self._is_finished:
            return
        kill_session(self.pid)
        self._guard.wait()
        if self._guard.stdin:
            self._guard.stdin.close()
        self._is_finished = True

    def stop(self, grace_s: float) -> None:
        """Ask to stop, wait up to `grace_s`, then kill."""
        try:
            self.terminate()
            self.wait(grace_s)
        finally:
            self.finish()


def start_child(command: Command, *, output_fd: int) -> Child:
    """Start a command under a guard; both its outputs go to `output_fd`, which stays the caller's to close."""
    return Child(
        subprocess.Popen(
            guard_line(command.argv),
            stdin=subprocess.PIPE,
            stdout=output_fd,
            stderr=output_fd,
            env=dict(command.env),
            cwd=command.cwd,
            umask=PRIVATE,
            start_new_session=True,
        )
    )


def guard_line(argv: Sequence[str]) -> list[str]:
    """Put the guard before a command: isolated and without site-packages, it starts at once."""
    return [sys.executable, "-I", "-S", str(GUARD), str(ORPHAN_GRACE_S), *argv]
