from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestratex.errors import LocalStackError
from orchestratex.local.pids import is_alive, mark_process
from orchestratex.local.state import StackState, home_directory, read_state, remove_state, stack_lock, write_state

HOLDER = """
import sys, pathlib
from orchestratex.local.state import stack_lock
with stack_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def make_state() -> StackState:
    owner = mark_process("owner", os.getpid())
    assert owner
    return StackState(
        owner=owner,
        started_at=datetime.now(UTC),
        environment={"ORCHESTRATEX_REDIS_URL": "redis://:secret@host/0"},
        uses_sandbox=True,
        ports={"redis": 1},
        children=(owner,),
    )


def test_state_comes_back_as_it_was_and_is_the_users_alone(tmp_path: Path) -> None:
    state = make_state()

    write_state(tmp_path, state)

    assert read_state(tmp_path) == state
    assert (tmp_path / "stack.json").stat().st_mode & 0o077 == 0


def test_removed_or_broken_state_is_none(tmp_path: Path) -> None:
    write_state(tmp_path, make_state())
    remove_state(tmp_path)
    assert read_state(tmp_path) is None

    (tmp_path / "stack.json").write_text('{"owner"')
    assert read_state(tmp_path) is None


def test_pid_that_was_given_to_another_process_is_not_the_one_marked() -> None:
    mark = make_state().owner

    assert is_alive(mark)
    assert not is_alive(mark.model_copy(update={"created": mark.created - 100}))


def test_lock_is_given_up_after_its_time_and_names_the_holder(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=-1, stdout=-1) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"

        with pytest.raises(LocalStackError, match=f"pid {holder.pid} "), stack_lock(tmp_path, timeout_s=0.2):
            pass

        holder.kill()
        holder.wait(20)
        with stack_lock(tmp_path, timeout_s=20):  # a killed holder holds nothing
            assert (tmp_path / "stack.lock").read_text() == str(os.getpid())


def test_home_is_the_users_data_directory_unless_set(tmp_path: Path) -> None:
    assert home_directory(str(tmp_path)) == tmp_path.resolve()
    assert home_directory(None).name == "orchestratex"
    assert home_directory("~/ox") == Path.home() / "ox"
