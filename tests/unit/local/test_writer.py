from __future__ import annotations

from pathlib import Path

import pytest

from orchestratex.errors import LocalStackError
from orchestratex.local.versions import ServerVersion, read_version
from orchestratex.local.writer import record_writer, refuse_other_writer

Numbers = tuple[int, int, int]


def judge(data_dir: Path, server: str, numbers: Numbers) -> str | None:
    """What is said to a program that would start on the directory; None: it may."""
    try:
        refuse_other_writer(data_dir, Path("/bin/server"), ServerVersion(server, numbers), remedy="or else")
    except LocalStackError as refusal:
        return str(refusal)
    return None


@pytest.mark.parametrize(
    ("writer", "program", "may"),
    [
        (("valkey", (9, 1, 2)), ("valkey", (9, 1, 2)), True),
        (("valkey", (9, 1, 2)), ("valkey", (9, 1, 0)), True),  # a patch changes no form of data
        (("valkey", (9, 1, 2)), ("valkey", (10, 0, 0)), True),
        (("valkey", (9, 1, 2)), ("valkey", (9, 0, 9)), False),
        (("valkey", (9, 1, 2)), ("valkey", (8, 1, 9)), False),
        (("valkey", (9, 1, 2)), ("redis", (6, 2, 14)), False),
        (("valkey", (7, 2, 5)), ("redis", (8, 0, 0)), False),  # numbers of two servers do not compare
        (("redis", (6, 2, 14)), ("valkey", (9, 1, 2)), True),
        (("redis", (7, 2, 11)), ("valkey", (9, 1, 2)), True),
        (("redis", (7, 4, 0)), ("valkey", (9, 1, 2)), False),
        (("redis", (8, 0, 0)), ("valkey", (9, 1, 2)), False),
        (("redis", (8, 0, 0)), ("redis", (7, 4, 0)), False),
        (("redis", (6, 2, 14)), ("redis", (8, 0, 0)), True),
        (("mongod", (6, 0, 5)), ("mongod", (7, 0, 28)), True),
        (("mongod", (7, 0, 28)), ("mongod", (6, 0, 5)), False),
    ],
)
def test_older_or_other_server_refuses_a_directory(
    tmp_path: Path, writer: tuple[str, Numbers], program: tuple[str, Numbers], may: bool
) -> None:
    record_writer(tmp_path, ServerVersion(*writer))

    refusal = judge(tmp_path, *program)

    assert (refusal is None) == may
    if refusal:
        for part in (str(tmp_path), *map(str, (ServerVersion(*writer), ServerVersion(*program))), "or else"):
            assert part in refusal


def test_mongod_is_judged_by_the_feature_version_of_the_data(tmp_path: Path) -> None:
    record_writer(tmp_path, ServerVersion("mongod", (7, 0, 28)), feature_version=(6, 0))
    assert judge(tmp_path, "mongod", (6, 0, 5)) is None

    record_writer(tmp_path, ServerVersion("mongod", (7, 0, 28)), feature_version=(7, 0))
    assert "feature version 7.0" in str(judge(tmp_path, "mongod", (6, 0, 5)))


def test_directory_without_a_record_is_kept_from_a_redis_that_would_overlook_its_files(tmp_path: Path) -> None:
    assert judge(tmp_path, "redis", (6, 2, 14)) is None  # new, or its own

    (tmp_path / "appendonlydir").mkdir()

    assert judge(tmp_path, "redis", (6, 2, 14))
    assert judge(tmp_path, "valkey", (9, 1, 2)) is None


@pytest.mark.parametrize("content", ["", "{", '{"server": "valkey"}', '{"server": 1, "version": "new"}', "\x00"])
def test_record_that_cannot_be_read_lets_nobody_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.json").write_text(content)

    assert "server.json" in str(judge(tmp_path, "valkey", (9, 1, 2)))


def test_version_is_what_the_program_says(tmp_path: Path) -> None:
    for name, says, expected in (
        ("a", "db version v6.0.5\nBuild Info: {}", ServerVersion("mongod", (6, 0, 5))),
        ("b", "Valkey server v=9.1.2 sha=0:1 malloc=libc", ServerVersion("valkey", (9, 1, 2))),
        ("c", "Redis server v=7.4.10 sha=0:0", ServerVersion("redis", (7, 4, 10))),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (tmp_path / name).chmod(0o755)
        assert read_version(tmp_path / name) == expected


def test_program_without_a_version_is_refused_with_what_it_said(tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\necho 'Segmentation fault' >&2\nexit 139\n")
    program.chmod(0o755)

    with pytest.raises(LocalStackError, match=r"exit code 139.*Segmentation fault"):
        read_version(program)
    with pytest.raises(LocalStackError, match="cannot run"):
        read_version(tmp_path / "missing")
