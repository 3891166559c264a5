"""One embedded server: its address and its process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestratex.errors import LocalStackError
from orchestratex.local.child import Child, Command, start_child
from orchestratex.local.directory import write_private
from orchestratex.local.environment import base_environment
from orchestratex.local.output import LogFiles
from orchestratex.local.ports import free_port, is_free, is_held_by, is_listening, require_free

START_S = 60.0  # mongod needs 1-2 s; after a crash longer, and 30 s if a mute stranger listens on its old port
POLL_S = 0.02
START_TRIES = 3  # another program may take a free port before our server does


@dataclass(frozen=True)
class Service:
    """A server that answers."""

    name: str
    uri: str
    port: int
    command: Command
    child: Child


class PortLostError(LocalStackError):
    """Raised when another program took the port between our look and our server's."""


def make_server_command(name: str, argv: list[str], data_dir: Path) -> Command:
    """Describe a server that runs in its data directory and knows nothing of our settings."""
    return Command(name=name, argv=tuple(argv), env=base_environment(os.environ), cwd=data_dir)


def launch(command: Command, port: int, logs: LogFiles) -> Child:
    """Start a server and wait until it, and nobody else, listens: a stranger on its port must not hear a password.

    Raises LocalStackError with the end of its log, and PortLostError.
    """
    output_fd = logs.open(command.name)
    try:
        child = start_child(command, output_fd=output_fd)
    finally:
        os.close(output_fd)
    try:
        wait_until(lambda: is_listening(port) and is_held_by(port, child.main_pid()), child, command, logs)
    except LocalStackError:
        child.finish()
        if not is_free(port):
            raise PortLostError from None
        raise
    except BaseException:
        child.finish()
        raise
    return child


def wait_until(is_ready: Callable[[], bool], child: Child, command: Command, logs: LogFiles) -> None:
    """Poll until ready. Raises LocalStackError when the server dies first or START_S have passed."""
    deadline = time.monotonic() + START_S
    while not is_ready():
        if (code := child.poll()) is not None:
            raise LocalStackError(describe_failure(command, f"ended with exit code {code}", logs))
        if time.monotonic() > deadline:
            raise LocalStackError(describe_failure(command, f"was not ready after {START_S:g} s", logs))
        time.sleep(POLL_S)


def describe_failure(command: Command, problem: str, logs: LogFiles) -> str:
    """Say what happened to a server, with the end of its log."""
    return f"{command.argv[0]} {problem}. The end of its log, {logs.path(command.name)}:\n{logs.tail(command.name)}"


def choose_port(port: int | None, data_dir: Path) -> int:
    """Return the wished port if it is free (else LocalStackError), or the one used last, or a free one."""
    if port is not None:
        return require_free(port, remedy="stop it, or choose another port")
    last = read_port(data_dir)
    return last if last is not None and is_free(last) else free_port()


def read_port(data_dir: Path) -> int | None:
    """Return the port that the data directory's server used last."""
    try:
        return int((data_dir / "port").read_text())
    except (FileNotFoundError, ValueError):
        return None


def write_port(data_dir: Path, port: int) -> None:
    """Remember the port: clients that outlive a restart find the server again."""
    write_private(data_dir / "port", str(port))
