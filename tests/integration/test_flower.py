"""Flower as its own process: who may reach it, and what operators find in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestratex.local.ports import free_port
from orchestratex.queue import QUEUES
from orchestratex.sandbox.config import SandboxConfig
from tests.cluster import Cluster, Servers, open_cluster, wait_for

pytestmark = pytest.mark.integration

PATHS = ("/", "/workers", "/tasks", "/api/workers", "/metrics", "/healthcheck", "/static/favicon.ico", "/nowhere")
CHANGES = ("/api/worker/shutdown/worker", "/api/task/revoke/x", "/api/task/apply/x", "/nowhere")


@pytest.fixture(scope="module")
def flower(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with open_cluster(servers, tmp_path_factory.mktemp("flower"), workers=0) as cluster:
        yield start_flower(cluster)


def start_flower(cluster: Cluster) -> str:
    port = free_port()
    # as it is when somebody opens its API on purpose
    cluster.environment |= {"ORCHESTRATEX_FLOWER_PORT": str(port), "FLOWER_UNAUTHENTICATED_API": "true"}
    cluster.start("flower")
    address = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            return requests.get(f"{address}/healthcheck", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    wait_for(is_up, timeout_s=60, what="Flower's start")
    return address


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:5555", "127.0.0.1.evil.example", "192.0.2.7"])
def test_a_foreign_host_is_refused(flower: str, host: str, path: str) -> None:
    assert requests.get(flower + path, headers={"Host": host}, timeout=10).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:5555", "[::1]:5555"])
def test_this_machine_is_served(flower: str, host: str) -> None:
    assert requests.get(f"{flower}/workers", headers={"Host": host}, timeout=10).status_code == 200


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_origins_change_nothing(flower: str, path: str, headers: dict[str, str]) -> None:
    answer = requests.post(flower + path, headers=headers, timeout=10)

    assert answer.status_code == 403
    assert "read-only" not in answer.text.lower()


def test_its_own_pages_and_programs_are_answered(flower: str) -> None:
    own = requests.post(f"{flower}/nowhere", headers={"Origin": flower, "Sec-Fetch-Site": "same-origin"}, timeout=10)
    program = requests.post(f"{flower}/nowhere", timeout=10)

    assert own.status_code == program.status_code == 404


@pytest.fixture(scope="module")
def watched(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, str]]:
    """Flower over workers, a control worker and a beat, which reconciles often."""
    with open_cluster(servers, tmp_path_factory.mktemp("watched"), reconcile_s=1) as cluster:
        address = start_flower(cluster)
        cluster.start("beat")
        yield cluster, address


def find_tasks(address: str, search: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = requests.get(
        f"{address}/api/tasks", params={"search": search}, timeout=10
    ).json()
    return found


def test_the_broker_page_names_all_queues_before_any_worker_is_known(flower: str) -> None:
    page = requests.get(f"{flower}/broker", timeout=10).text

    assert all(name in page for name in QUEUES)


def test_a_threads_tasks_are_found_by_its_id_and_tell_model_score_and_cost(watched: tuple[Cluster, str]) -> None:
    cluster, address = watched
    thread, other = cluster.await_ended(cluster.submit(["Write a haiku about the sea.", "Why is the sky blue?"]))

    def find_done() -> dict[str, dict[str, Any]] | None:
        tasks = find_tasks(address, str(thread.id))
        return tasks if any("finish" in str(task["result"]) for task in tasks.values()) else None

    tasks = wait_for(find_done, timeout_s=30, what="the events of the thread's tasks")

    assert all(str(thread.id) in task["args"] and str(other.id) not in task["args"] for task in tasks.values())
    results = {task["name"]: str(task["result"]) for task in tasks.values()}
    assert re.search(r"\S+ answered for \$\d\.\d{6}", results["orchestratex.respond"])
    gave = [str(task["result"]) for task in tasks.values() if "gives" in str(task["result"])]
    assert gave
    assert all(re.search(r"\S+ gives \d+\.\d\d for \$\d\.\d{6}", result) for result in gave)


def test_passes_of_reconcile_do_not_hide_the_work(watched: tuple[Cluster, str]) -> None:
    cluster, address = watched
    cluster.await_ended(cluster.submit(["Name three colours."]))
    signs = cluster.services.store
    wait_for(lambda: "beat" in signs.sample_ages(["beat"]), timeout_s=60, what="a message from the beat")
    wait_for(
        lambda: find_tasks(address, "orchestratex.finish OR orchestratex.weigh OR evaluate"),
        timeout_s=30,
        what="events",
    )

    assert find_tasks(address, "orchestratex.reconcile OR orchestratex.measure OR orchestratex.probe") == {}
    assert "traceback" not in cluster.log_text().lower()


def test_a_failed_call_is_told_as_failed(servers: Servers, tmp_path: Path) -> None:
    config = SandboxConfig.from_options(latency_scale=0.05, faults=["server_error share=1 models=gpt4"])
    with open_cluster(servers, tmp_path, config=config, call_attempts=1) as cluster:
        address = start_flower(cluster)
        cluster.await_ended(cluster.submit(["Why is the sky blue?"], cost_limit=5))

        failed = wait_for(lambda: find_tasks(address, 'result:"failed: gpt4"'), timeout_s=30, what="the failed call")

    assert all(task["state"] == "SUCCESS" for task in failed.values())  # the task did what it could
    assert any("HTTP 5" in task["result"] or "500" in task["result"] for task in failed.values())
