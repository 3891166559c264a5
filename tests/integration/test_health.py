"""What is said while real servers refuse, and real workers are gone."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from bson import ObjectId

from orchestratex.errors import StoreUnavailableError
from orchestratex.local.binaries import find_binary
from orchestratex.local.ports import free_port, is_listening
from orchestratex.store.mongo import MongoStore, connect
from tests.cluster import Servers, open_cluster, wait_for
from tests.integration.test_api import open_api

pytestmark = pytest.mark.integration

QUICK: dict[str, Any] = {"reconcile_s": 1}


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[str]:
    """A Redis that a test may spoil: without the access rights of ours, which forbid that."""
    port = free_port()
    command = [str(find_binary("valkey-server")), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([*command, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), timeout_s=60, what="the start of Redis")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def spoil(uri: str, how: str) -> None:
    client = redis.Redis.from_url(uri)
    if how == "full":
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
    else:
        client.replicaof("127.0.0.1", 1)
    client.close()


def mend(uri: str) -> None:
    client = redis.Redis.from_url(uri)
    client.replicaof("NO", "ONE")
    client.config_set("maxmemory", 0)
    client.close()


@pytest.mark.parametrize(("how", "word"), [("full", "maxmemory"), ("replica", "read only replica")])
def test_a_redis_that_refuses_writes_is_named_and_threads_wait_for_it(
    servers: Servers, own_redis: str, tmp_path: Path, how: str, word: str
) -> None:
    with open_cluster(servers, tmp_path, redis_url=own_redis, **QUICK) as cluster, open_api(cluster) as (address, _):

        def ready() -> dict[str, Any]:
            answer = requests.get(f"{address}/readyz", timeout=20)
            assert answer.status_code == 200
            body: dict[str, Any] = answer.json()
            return body

        wait_for(lambda: ready()["workers"] == "ok", timeout_s=90, what="the workers' first signs")
        assert (ready()["broker"], ready()["limits"]) == ("ok", "ok")
        spoil(own_redis, how)
        degraded = ready()
        taken = requests.post(f"{address}/v1/threads", json={"prompt": "x", "max_iterations": 1}, timeout=20)
        mend(own_redis)
        thread = cluster.services.store.get_thread(ObjectId(taken.json()["id"]))
        ended = cluster.await_ended([thread])

    assert degraded["status"] == "degraded"
    assert word in degraded["broker"]
    assert word in degraded["limits"]
    assert taken.status_code == 202
    assert ended[0].final_response
    assert ended[0].is_simulated


def test_workers_that_are_gone_are_missed_and_threads_say_so(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path, workers=0, **QUICK) as cluster, open_api(cluster) as (address, _):
        worker = cluster.start("worker")

        def workers() -> str:
            return str(requests.get(f"{address}/readyz", timeout=20).json()["workers"])

        wait_for(lambda: workers() == "ok", timeout_s=90, what="the worker's first sign")
        cluster.kill(worker)
        missed = wait_for(lambda: (text := workers()) != "ok" and text, timeout_s=30, what="its being missed")
        taken = requests.post(f"{address}/v1/threads", json={"prompt": "x", "max_iterations": 1}, timeout=20).json()

        def waits() -> dict[str, Any] | None:
            body: dict[str, Any] = requests.get(f"{address}/v1/threads/{taken['id']}", timeout=20).json()
            return body if body["status"] == "responding" and body["waiting_for"] else None

        waiting = wait_for(waits, timeout_s=60, what="the thread's waiting")
        cluster.start("worker")
        ended = cluster.await_ended([cluster.services.store.get_thread(ObjectId(taken["id"]))])

    assert "nothing came from a worker that calls models for" in missed
    assert taken["waiting_for"].startswith("nothing came from a worker that calls models")
    assert waiting["waiting_for"].startswith("nothing works on it: nothing came from a worker that calls models")
    assert waiting["waiting_s"] >= 5
    assert ended[0].final_response


def test_a_process_without_addresses_says_what_is_missing(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path, workers=0) as cluster:
        del cluster.environment["ORCHESTRATEX_MONGODB_URI"], cluster.environment["ORCHESTRATEX_REDIS_URL"]
        cluster.environment["ORCHESTRATEX_MONGO_URI"] = "mongodb://somewhere"
        started = [cluster.start(kind) for kind in ("worker", "beat", "api")]
        codes = [process.wait(90) for process in started]
        log = cluster.log_text()

    assert all(codes)
    assert log.count("ORCHESTRATEX_REDIS_URL") >= 3
    assert "ORCHESTRATEX_MONGO_URI is no setting and does nothing; did you mean ORCHESTRATEX_MONGODB_URI?" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("options", ["", "?directConnection=true", "?replicaSet=rs0"])
def test_a_replica_set_that_was_not_initiated_is_named_as_that(tmp_path: Path, options: str) -> None:
    port = free_port()
    command = [str(find_binary("mongod")), "--port", str(port), "--dbpath", str(tmp_path), "--replSet", "rs0"]
    process = subprocess.Popen([*command, "--bind_ip", "127.0.0.1"], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), timeout_s=60, what="mongod's start")
        store = MongoStore(connect(f"mongodb://127.0.0.1:{port}/{options}", patience_s=2), "test")
        with pytest.raises(StoreUnavailableError, match=r"its replica set was not initiated: run `rs\.initiate\(\)`"):
            store.put_sample("x", 1)
        store.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
