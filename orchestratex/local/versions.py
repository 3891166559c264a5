"""What a server's program is, and of which version."""

from __future__ import annotations

import re
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from orchestratex.errors import LocalStackError

ASK_S = 20.0
ANSWERS = {  # what `--version` prints, by the server's name
    "mongod": re.compile(r"db version v(\d+)\.(\d+)\.(\d+)"),
    "valkey": re.compile(r"Valkey server v=(\d+)\.(\d+)\.(\d+)"),
    "redis": re.compile(r"Redis server v=(\d+)\.(\d+)\.(\d+)"),
}


class ServerVersion(NamedTuple):
    """Versions compare among programs of one server only: Valkey's numbers say nothing about Redis'."""

    server: str
    numbers: tuple[int, int, int]

    @property
    def release(self) -> tuple[int, int]:
        """What the form of the data depends on; a patch does not change it."""
        return self.numbers[:2]

    def __str__(self) -> str:
        return f"{self.server} {'.'.join(map(str, self.numbers))}"


@lru_cache(maxsize=16)
def read_version(program: Path) -> ServerVersion:
    """Ask a program for its version. Raises LocalStackError when it does not run, or is none of our servers."""
    try:
        asked = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise LocalStackError(f"{program} cannot run: {exc}") from exc
    for server, pattern in ANSWERS.items():
        if found := pattern.search(asked.stdout):
            major, minor, patch = map(int, found.groups())
            return ServerVersion(server, (major, minor, patch))
    said = (asked.stderr or asked.stdout).strip()[-400:]
    raise LocalStackError(f"{program} --version ended with exit code {asked.returncode} and named no version: {said}")
