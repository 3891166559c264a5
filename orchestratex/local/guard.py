"""Runs one command, and ends it when the process that asked for it is gone.

    python -I -S guard.py GRACE_S COMMAND [ARGUMENT...]

Standard input is a pipe whose other end only the parent holds. Its end of file is the parent's death, kill -9 included,
on every Unix. The guard needs little of the standard library, so that it starts in some 20 ms and stays small: each
process of a stack has one. `contextlib`, `ctypes` and `signal` (for its enumerations) would make it a third larger.
"""

from __future__ import annotations

import os
import select
import sys
import time

TYPE_CHECKING = False  # `typing` would have to be loaded for its own
if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    import _signal as signal  # what `signal` is made of

PARENT_FD = 0
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code; a command killed by a signal takes the guard with it by that signal."""
    grace_s, command = float(arguments[0]), arguments[1:]
    wake_fd = open_wake_pipe()
    child = start(command)
    forward_signals(child)
    code = watch(child, wake_fd, grace_s)
    kill_group(child)  # what a killed main process left behind
    return code if code >= 0 else die_by(-code)


def start(command: list[str]) -> int:
    """Fork and run the command in a process group of its own; returns its pid. What cannot run ends with 126."""
    guard_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            become(command, guard_pid)
        finally:
            os._exit(126)
    lead_group(pid)  # the child does so, too: whoever comes first
    return pid


def become(command: list[str], guard_pid: int) -> None:
    """Turn this forked process into the command; what it inherits of us is its outputs."""
    lead_group(0)
    bond(guard_pid)
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):  # Python's own settings are not the command's
        signal.signal(signum, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), PARENT_FD)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as exc:
        print(f"{command[0]} cannot run: {exc}", file=sys.stderr, flush=True)


def watch(child: int, wake_fd: int, grace_s: float) -> int:
    """Wait for the child's exit; on the parent's death end it: SIGTERM, after `grace_s` SIGKILL to its group."""
    deadline: float | None = None
    while (code := poll(child)) is None:
        if deadline is None:
            ready, _, _ = select.select([wake_fd, PARENT_FD], [], [])
        else:
            ready, _, _ = select.select([wake_fd], [], [], max(0.0, deadline - time.monotonic()))
        if wake_fd in ready:
            os.read(wake_fd, 4096)
        if PARENT_FD in ready and not os.read(PARENT_FD, 4096):
            os.kill(child, signal.SIGTERM)
            deadline = time.monotonic() + grace_s
        if deadline is not None and time.monotonic() >= deadline:
            kill_group(child)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code


def poll(child: int) -> int | None:
    """Return the exit code (negative: the signal), or None while the child runs."""
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def open_wake_pipe() -> int:
    """Make every signal readable on the returned descriptor, so that one `select` sees them and the parent's pipe."""
    wake_fd, signalled_fd = os.pipe()
    os.set_blocking(wake_fd, False)
    os.set_blocking(signalled_fd, False)
    signal.set_wakeup_fd(signalled_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _signum, _frame: None)
    return wake_fd


def forward_signals(child: int) -> None:
    """Hand a request to stop to the command's main process alone: Celery stops its own children in order."""

    def forward(signum: int, _frame: FrameType | None) -> None:
        try:
            os.kill(child, signum)
        except ProcessLookupError:  # it has ended, and its end is about to be seen
            return

    for signum in FORWARDED:
        signal.signal(signum, forward)


def bond(guard_pid: int) -> None:
    """Let a Linux child die with a killed guard; other systems have no such call."""
    if sys.platform != "linux":
        return
    import ctypes  # here, in the child: its memory goes with exec

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard_pid:
        os._exit(1)


def lead_group(pid: int) -> None:
    """Make a process the leader of a group of its own, if it is not yet."""
    try:
        os.setpgid(pid, pid)
    except OSError:
        return


def kill_group(group: int) -> None:
    """Kill what is left of the process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS: EPERM when only zombies are left
        return


def die_by(signum: int) -> int:
    """End by the signal that ended the command, so that the parent sees its true exit code; no second core dump."""
    import resource  # at the very end

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if signum != signal.SIGKILL:
        signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    return 128 + signum


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
