"""The HTTP door as its own process, over real servers and workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from bson import ObjectId

from orchestratex.local.ports import free_port
from orchestratex.local.processes import process_commands
from tests.cluster import Cluster, Servers, open_cluster, wait_for

pytestmark = pytest.mark.integration


def is_up(address: str) -> bool:
    try:
        return requests.get(f"{address}/healthz", timeout=5).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        return False


@contextmanager
def open_api(cluster: Cluster, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The API process over the cluster's servers, with some of its environment changed."""
    port = free_port()
    cluster.environment |= {"ORCHESTRATEX_API_PORT": str(port), **environment}
    process = cluster.start("api")
    address = f"http://127.0.0.1:{port}"
    wait_for(lambda: is_up(address), timeout_s=30, what="the API's start")
    yield address, process


def test_a_thread_over_http(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path) as cluster, open_api(cluster) as (address, process):
        ready = requests.get(f"{address}/readyz", timeout=10)
        taken = requests.post(
            f"{address}/v1/threads",
            json={"prompt": "Why is the sky blue?", "max_iterations": 2, "user_id": "ada", "cost_limit": 1},
            timeout=10,
        )

        def find_completed() -> dict[str, Any] | None:
            body: dict[str, Any] = requests.get(address + taken.headers["Location"], timeout=10).json()
            assert body["status"] == "completed" or body["final_response"] is None
            return body if body["status"] == "completed" else None

        body = wait_for(find_completed, timeout_s=60, what="the thread's end")
        session = requests.get(f"{address}/v1/sessions/{body['session_id']}", timeout=10).json()
        accepted = requests.patch(address + taken.headers["Location"], json={"user_accepted": True}, timeout=10)
        process.send_signal(signal.SIGTERM)
        code = process.wait(20)
        log = cluster.log_text()

    assert (ready.status_code, taken.status_code, accepted.status_code) == (200, 202, 200)
    assert body["final_response"]
    assert session["user_id"] == "ada"
    assert session["total_cost"] == pytest.approx(body["total_cost"])
    assert accepted.json()["user_accepted"] is True
    assert code in {0, -signal.SIGTERM}
    assert "Traceback" not in log


def test_an_unreachable_broker_is_named_and_threads_wait_in_the_store(servers: Servers, tmp_path: Path) -> None:
    away = f"redis://:secret@127.0.0.1:{free_port()}/0"

    with open_cluster(servers, tmp_path) as cluster, open_api(cluster, ORCHESTRATEX_REDIS_URL=away) as (address, _):
        ready = requests.get(f"{address}/readyz", timeout=30)
        taken = requests.post(f"{address}/v1/threads", json={"prompt": "x", "max_iterations": 1}, timeout=30)
        threads = [cluster.services.store.get_thread(ObjectId(taken.json()["id"]))]
        ended = cluster.await_ended(threads)

    address_of_broker = away.rpartition("@")[2].partition("/")[0]
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert address_of_broker in ready.json()["broker"]
    assert address_of_broker in ready.json()["limits"]
    assert "secret" not in ready.text
    assert taken.status_code == 202
    assert address_of_broker in taken.json()["waiting_for"]
    assert ended[0].final_response


def test_an_unreachable_store_is_named(servers: Servers, tmp_path: Path) -> None:
    away = f"127.0.0.1:{free_port()}"
    uri = f"mongodb://user:secret@{away}/?directConnection=true&serverSelectionTimeoutMS=500"

    with open_cluster(servers, tmp_path) as cluster, open_api(cluster, ORCHESTRATEX_MONGODB_URI=uri) as (address, _):
        answer = requests.get(f"{address}/v1/threads/{'0' * 24}", timeout=60)

    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert away in answer.json()["detail"]
    assert "secret" not in answer.text


def test_half_open_requests_stop_neither_the_api_nor_its_log(servers: Servers, tmp_path: Path) -> None:
    """Twice as many connections as the process may open files: it serves on, and writes a few lines."""
    files, port, log_file = 256, free_port(), tmp_path / "api.log"
    with open_cluster(servers, tmp_path) as cluster, ExitStack() as stack:
        environment = {**os.environ, **cluster.environment, "ORCHESTRATEX_API_PORT": str(port)}
        command = process_commands(environment, instance="1")["api"]
        limited = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
        log = stack.enter_context(log_file.open("wb"))
        process = stack.enter_context(
            subprocess.Popen(limited, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
        )
        stack.callback(process.terminate)
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: is_up(address), timeout_s=60, what="the API's start")
        for _ in range(2 * files):
            connection = stack.enter_context(closing(socket.socket()))
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
        wait_for(lambda: "refusing connections" in log_file.read_text(), timeout_s=60, what="a refusal")
        wait_for(lambda: is_up(address), timeout_s=60, what="an answer while connections are half open")
        taken = requests.post(f"{address}/v1/threads", json={"prompt": "x"}, timeout=30)

    text = log_file.read_text()
    assert taken.status_code == 202
    assert len(text) < 20_000
    assert "Traceback" not in text
