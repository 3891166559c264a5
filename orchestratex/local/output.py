"""Where the processes' output goes: a log file each, and the terminal with prefixes beside it where one is watched."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Protocol, TextIO

from orchestratex.terminal import escape

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # ANSI foregrounds, told apart on dark and light
TAIL_BYTES = 20_000
LINE_CHARS = 65_536  # longer ones are broken: a process that never ends its line must not fill our memory


class Output(Protocol):
    """Takes what processes print."""

    def open(self, name: str) -> int:
        """Return a descriptor to print to; the caller closes it."""

    def close(self) -> None:
        """Wait, for a moment, until everything printed is out."""


class LogFiles:
    """A file a process in one directory. The last run's file is kept as `<name>.log.1`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._opened: set[str] = set()

    def open(self, name: str) -> int:
        """Open the file, a fresh one the first time."""
        path = self.path(name)
        if name not in self._opened and path.exists():
            path.replace(path.with_name(f"{path.name}.1"))
        self._opened.add(name)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        """Do nothing: the processes write to the files themselves."""

    def path(self, name: str) -> Path:
        """Return where a process's log file is."""
        return self._directory / f"{name}.log"

    def tail(self, name: str) -> str:
        """Return the end of a process's log."""
        return read_tail(self.path(name))


class PrefixedOutput:
    """Lines of all processes in one stream, each behind its aligned name; coloured on a terminal.

    The same lines go to each process's file in `files`, without the name.
    """

    def __init__(self, stream: TextIO, *, width: int, is_coloured: bool, files: LogFiles | None = None) -> None:
        self._stream = stream
        self._files = files
        self._width = width
        self._is_coloured = is_coloured
        self._lock = threading.Lock()
        self._prefixes: dict[str, str] = {}
        self._readers: list[threading.Thread] = []

    def open(self, name: str) -> int:
        """Open a pipe whose lines appear in the stream."""
        read_fd, write_fd = os.pipe()
        self._readers = [reader for reader in self._readers if reader.is_alive()]
        file_fd = self._files.open(name) if self._files else None
        arguments = (read_fd, self._prefix(name), file_fd)
        reader = threading.Thread(target=self._copy, args=arguments, name=f"{name}-output")
        reader.daemon = True
        self._readers.append(reader)
        reader.start()
        return write_fd

    def close(self) -> None:
        """Wait up to a second for each process's last lines."""
        for reader in self._readers:
            reader.join(1)

    def _copy(self, read_fd: int, prefix: str, file_fd: int | None) -> None:
        with open(read_fd, encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(LINE_CHARS):
                harmless = escape(line.rstrip())
                self._write(f"{prefix}{harmless}\n")
                if file_fd is not None:
                    _append(file_fd, f"{harmless}\n")
        if file_fd is not None:
            os.close(file_fd)

    def _write(self, text: str) -> None:
        with self._lock:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # the terminal is gone; go on reading, or the processes would block
                return

    def _prefix(self, name: str) -> str:
        return self._prefixes.setdefault(name, self._make_prefix(name))

    def _make_prefix(self, name: str) -> str:
        prefix = f"{name:<{self._width}} | "
        if not self._is_coloured:
            return prefix
        return f"\x1b[{COLOURS[len(self._prefixes) % len(COLOURS)]}m{prefix}\x1b[0m"


def _append(file_fd: int, line: str) -> None:
    with contextlib.suppress(OSError):  # the disk is full; the terminal still shows it, and the process must not block
        os.write(file_fd, line.encode())


def read_tail(path: Path, *, lines: int = 8) -> str:
    """Return a log's last lines, cut to a readable length; empty when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = log.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(line[:400] for line in text.splitlines()[-lines:])
