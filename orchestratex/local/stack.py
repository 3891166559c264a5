"""The local stack: joined when it runs, started when it does not."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

from orchestratex.local.directory import make_private_directory
from orchestratex.local.joined import end_leftovers, join_stack
from orchestratex.local.owned import OwnedStack
from orchestratex.local.pids import is_alive
from orchestratex.local.plan import Request
from orchestratex.local.state import home_directory, read_state, remove_state, stack_lock
from orchestratex.local.supervisor import ProcessStatus
from orchestratex.settings import Settings

STOP_GRACE_S = 20.0


class LocalStack(Protocol):
    """The servers and processes of this machine."""

    is_owner: bool  # whether they end with us
    uses_sandbox: bool  # whether the models are the sandbox's; where none are called: whether they would be
    environment: dict[str, str]  # what a process needs on top of its own environment to use the stack
    ports: dict[str, int]  # by server (mongodb, redis) and process type (api, flower, sandbox) of those we started

    @property
    def processes(self) -> list[ProcessStatus]:
        """What servers and processes do now."""

    def check(self) -> None:
        """Raise LocalStackError when a server has died."""

    def wait(self) -> None:
        """Block until Ctrl-C. Raises LocalStackError when a joined stack ends first."""

    def close(self) -> None:
        """Stop what we started."""


@contextmanager
def local_stack(
    settings: Settings,
    *,
    processes: Sequence[str],
    worker_count: int = 1,
    quiet: bool,
    on_event: Callable[[str], None],
    prepare_database: Callable[[dict[str, str]], bool] = lambda _environment: False,
    before_processes: Callable[[dict[str, str]], None] = lambda _environment: None,
    calls_models: bool = True,
    stop_grace_s: float = STOP_GRACE_S,
) -> Iterator[LocalStack]:
    """Join the running stack, or start the servers that the settings lack and the process types in `processes`.

    `prepare_database` gets the stack's environment when the servers answer, and says whether an active model can be
    served: where none can, and no key and no gateway is set, the sandbox plays. `before_processes` gets the whole
    environment before any process is started. A stack that is not to call models (`calls_models`) has no sandbox.
    `quiet` sends the processes' output to `<home>/logs/`, else it goes to the terminal with prefixes. What we started
    ends with the block, on SIGTERM and SIGHUP too (call it in the main thread). Raises LocalStackError that says what
    to do.
    """
    request = Request(
        settings=settings,
        processes=tuple(processes),
        worker_count=worker_count,
        is_quiet=quiet,
        stop_grace_s=stop_grace_s,
        on_event=on_event,
        before_processes=before_processes,
        prepare_database=prepare_database,
        calls_models=calls_models,
    )
    with exit_on_termination():
        stack = join_or_start(home_directory(settings.home), request)
        try:
            yield stack
        finally:
            stack.close()


def join_or_start(home: Path, request: Request) -> LocalStack:
    """Join the stack in `home` if its owner lives, else clear away what is left of it and start one."""
    make_private_directory(home)
    with stack_lock(home):
        state = read_state(home)
        if state and is_alive(state.owner):
            return join_stack(state, request.settings)
        if state:
            end_leftovers(state)
            remove_state(home)
        stack = OwnedStack(home, request)
        stack.start()
        return stack


@contextmanager
def exit_on_termination() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that blocks are left in order; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(signum: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signum)

    previous = {signum: signal.signal(signum, leave) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
