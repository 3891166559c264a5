"""Which process is meant: a pid alone may have been given to another one since."""

from __future__ import annotations

import os
import signal
import time

import psutil
from pydantic import BaseModel, ConfigDict

SAME_START_S = 2.0  # a system clock set during the run moves the reported start a little


class ProcessMark(BaseModel):
    """A process, by its pid and the time it was created."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    created: float  # Unix time


def mark_process(name: str, pid: int) -> ProcessMark | None:
    """Return the mark of a process that runs now, or None."""
    try:
        return ProcessMark(name=name, pid=pid, created=psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(mark: ProcessMark) -> bool:
    """Tell whether the very process that was marked still runs (a zombie does not)."""
    try:
        process = psutil.Process(mark.pid)
        return abs(process.create_time() - mark.created) < SAME_START_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_exists(pid: int) -> bool:
    """Tell whether any process has the pid now."""
    return bool(psutil.pid_exists(pid))


def describe_process(pid: int) -> str:
    """Name a process for a person: its pid and its command, as far as we may see it."""
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return f"pid {pid}"
    return f"pid {pid} ({command[:160]})"


def session_pids(session: int) -> list[int]:
    """List the living processes of a session: a guard's whole tree, orphans of its command included."""
    return [pid for pid in psutil.pids() if _session_of(pid) == session and _is_running(pid)]


def kill_session(session: int, *, timeout_s: float = 5.0) -> None:
    """Kill every process of a session, and those that they started meanwhile."""
    deadline = time.monotonic() + timeout_s
    while (pids := session_pids(session)) and time.monotonic() < deadline:
        for pid in pids:
            _kill(pid)
        time.sleep(0.02)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:  # gone, or another user's on some systems
        return None


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
