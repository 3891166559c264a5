"""What a running stack tells the next command: a file beside its data, and the lock of whoever starts or stops it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from orchestratex.errors import LocalStackError
from orchestratex.local.directory import write_private
from orchestratex.local.pids import ProcessMark, describe_process

LOCK_S = 60.0  # longer than a start (1-3 s) and than a stop with its grace
POLL_S = 0.05


class StackState(BaseModel):
    """A running stack, as written to stack.json."""

    model_config = ConfigDict(frozen=True)

    owner: ProcessMark  # the process that started it, and stops it
    started_at: datetime
    environment: dict[str, str]  # what every process of the stack gets on top of its own
    uses_sandbox: bool
    ports: dict[str, int]  # by server or process type, of those that listen
    children: tuple[ProcessMark, ...]  # the guards; each pid is its tree's session


def home_directory(home: str | None) -> Path:
    """Return where the local stack lives: `home`, or the user's data directory.

    A link in the last place stays one, for `make_private_directory` to refuse.
    """
    if not home:
        return platformdirs.user_data_path("orchestratex")
    path = Path(home).expanduser().absolute()
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()


def read_state(home: Path) -> StackState | None:
    """Return what the file says, or None when there is none that can be read."""
    try:
        return StackState.model_validate_json((home / "stack.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_state(home: Path, state: StackState) -> None:
    """Replace the file in one move. It holds passwords, so it is the user's alone."""
    write_private(home / "stack.json", state.model_dump_json(indent=2))


def remove_state(home: Path) -> None:
    """Forget the stack."""
    (home / "stack.json").unlink(missing_ok=True)


@contextmanager
def stack_lock(home: Path, *, timeout_s: float = LOCK_S) -> Iterator[None]:
    """Hold the right to start or stop this home's stack. Raises LocalStackError naming the holder after the time."""
    with open(os.open(home / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+") as lock:
        _take(lock.fileno(), home, timeout_s)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield  # closing the file frees the lock, and so does our death


def _take(lock_fd: int, home: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not _try_lock(lock_fd):
        if time.monotonic() > deadline:
            raise LocalStackError(
                f"Another command has been starting or stopping the stack in {home} for more than {timeout_s:g} s: "
                f"{_describe_holder(home)}. Wait for it or stop it."
            )
        time.sleep(POLL_S)


def _try_lock(lock_fd: int) -> bool:
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe_holder(home: Path) -> str:
    try:
        return describe_process(int((home / "stack.lock").read_text()))
    except (FileNotFoundError, ValueError):
        return "its pid is not known"
