"""Keeps commands running: a dead one is started again after a pause that grows while it keeps dying."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestratex.local.child import Child, Command, start_child
from orchestratex.local.output import Output

LOOK_S = 0.5


@dataclass(frozen=True)
class Backoff:
    """The pauses before new starts."""

    first_s: float = 1.0
    max_s: float = 30.0
    reset_after_s: float = 60.0  # who lived as long as this starts again after the first pause

    def next_pause_s(self, previous_s: float | None, alive_s: float) -> float:
        """Return the pause after a life of `alive_s`; `previous_s` is the pause before that life, None at first."""
        if previous_s is None or alive_s >= self.reset_after_s:
            return self.first_s
        return min(previous_s * 2, self.max_s)


@dataclass(frozen=True)
class ProcessStatus:
    """What a supervised process does now."""

    name: str
    pid: int | None  # of the command itself; None while it does not run
    is_running: bool
    restarts: int
    exit_code: int | None  # of the last life that ended; negative: the signal


@dataclass
class _Run:
    command: Command
    child: Child
    started_at: float
    is_running: bool = True
    is_dropped: bool = False
    pause_s: float | None = None
    due_at: float = 0.0
    restarts: int = 0
    exit_code: int | None = None


@dataclass
class Supervisor:
    """Runs commands until `stop`. `on_event` gets a sentence a death, `on_change` a call after each new start."""

    output: Output
    on_event: Callable[[str], None]
    on_change: Callable[[], None] = lambda: None
    backoff: Backoff = field(default_factory=Backoff)
    _runs: dict[str, _Run] = field(default_factory=dict, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _is_stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _watcher: threading.Thread | None = field(default=None, init=False)

    def start(self, command: Command) -> None:
        """Start a command and keep it running."""
        self.adopt(command, self._start_child(command))

    def adopt(self, command: Command, child: Child) -> None:
        """Keep a command running that was started elsewhere."""
        with self._lock:
            self._runs[command.name] = _Run(command, child, time.monotonic())
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
                self._watcher.start()

    def drop(self, name: str) -> None:
        """End a command and look after it no more."""
        with self._lock:
            run = self._runs.pop(name)
            run.is_dropped = True
            run.child.finish()

    def statuses(self) -> list[ProcessStatus]:
        """Return what every process does now, in the order of their starts."""
        with self._lock:
            return [_make_status(run) for run in self._runs.values()]

    def session_pids(self) -> dict[str, int]:
        """Return the pid of each process's guard, which is the session of its whole tree."""
        with self._lock:
            return {name: run.child.pid for name, run in self._runs.items()}

    def stop(self, grace_s: float) -> None:
        """Ask all to stop, wait up to `grace_s`, kill the rest with their children; an interrupt kills at once."""
        self._is_stopping.set()
        try:
            if self._watcher is not None:
                self._watcher.join()
            self._stop_gently(grace_s)
        finally:
            for run in self._runs.values():
                run.child.finish()
            self.output.close()

    def _stop_gently(self, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        for run in self._runs.values():
            run.child.terminate()
        for run in self._runs.values():
            run.child.wait(max(0.0, deadline - time.monotonic()))

    def _watch(self) -> None:
        while not self._is_stopping.wait(LOOK_S):
            with self._lock:
                runs = list(self._runs.values())
            for run in runs:
                self._look_after(run)

    def _look_after(self, run: _Run) -> None:
        if run.is_dropped:
            return
        if not run.is_running:
            if time.monotonic() >= run.due_at:
                self._start_again(run)
        elif (code := run.child.poll()) is not None:
            self._bury(run, code)

    def _bury(self, run: _Run, code: int) -> None:
        now = time.monotonic()
        pause_s = self.backoff.next_pause_s(run.pause_s, now - run.started_at)
        with self._lock:
            run.child.finish()  # children that outlived it hold its port and its files
            run.is_running, run.exit_code, run.pause_s, run.due_at = False, code, pause_s, now + pause_s
        self.on_event(f"{run.command.name} died with exit code {code}; starts again in {pause_s:g} s")

    def _start_again(self, run: _Run) -> None:
        try:
            child = self._start_child(run.command)
        except OSError as exc:  # no more processes, files or disk: perhaps later
            run.pause_s = self.backoff.next_pause_s(run.pause_s, 0)
            run.due_at = time.monotonic() + run.pause_s
            self.on_event(f"{run.command.name} cannot be started: {exc}; tried again in {run.pause_s:g} s")
            return
        with self._lock:
            if run.is_dropped:
                child.finish()
                return
            run.child = child
            run.is_running, run.started_at, run.restarts = True, time.monotonic(), run.restarts + 1
        self.on_change()

    def _start_child(self, command: Command) -> Child:
        output_fd = self.output.open(command.name)
        try:
            return start_child(command, output_fd=output_fd)
        finally:
            os.close(output_fd)


def _make_status(run: _Run) -> ProcessStatus:
    is_running = run.is_running and run.child.poll() is None
    pid = run.child.main_pid() if is_running else None
    return ProcessStatus(run.command.name, pid, is_running, run.restarts, run.exit_code)
