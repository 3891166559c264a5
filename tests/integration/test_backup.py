"""The lines of deploy/OPERATIONS.md: what was backed up is there again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestratex.local.binaries import find_binary
from orchestratex.local.mongod import start_mongod
from orchestratex.local.output import LogFiles
from orchestratex.store.migrations import init_db
from orchestratex.store.mongo import MongoStore, connect
from tests.cluster import ROOT
from tests.integration.test_cli import Shell, pytestmark, solve_json
from tests.make import make_session, make_thread

__all__ = ["pytestmark"]

SCRIPT = re.findall(r"```sh\n(.*?)```", (ROOT / "deploy" / "OPERATIONS.md").read_text(), re.DOTALL)[0]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "home")
    yield shell
    shell.clean_up()


def test_a_machines_directory_is_backed_up_and_restored_by_the_lines_that_are_documented(
    shell: Shell, tmp_path: Path
) -> None:
    thread_id = solve_json(shell, "--max-iterations", "1")["thread_id"]
    (lines,) = [SCRIPT.rpartition("orchestratex list")[0]]

    done = subprocess.run(
        ["bash", "-euc", lines], env=shell.environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    code, out, err = shell.run("list", "--json")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "orchestratex-backup.tar.gz").exists()
    assert code == 0, err
    assert [each["thread_id"] for each in json.loads(out)] == [thread_id]


def test_a_server_starts_from_a_copy_of_its_files_that_was_made_while_they_were_at_rest(tmp_path: Path) -> None:
    session = make_session()
    thread = make_thread(session_id=session.id)
    first = start_mongod(find_binary("mongod"), tmp_path / "data", logs=LogFiles(tmp_path))
    try:
        with connect(first.uri) as client:
            store = MongoStore(client, "orchestratex")
            init_db(store)
            store.insert_session(session)
            store.insert_threads([thread])
    finally:
        first.child.stop(10)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")

    restored = start_mongod(find_binary("mongod"), tmp_path / "copy", logs=LogFiles(tmp_path))

    try:
        with connect(restored.uri) as client:
            assert MongoStore(client, "orchestratex").get_thread(thread.id).session_id == session.id
    finally:
        restored.child.stop(10)
