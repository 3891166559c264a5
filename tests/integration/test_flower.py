"""Flower as its own process: reached under this machine's names and from its own pages alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from orchestratex.local.ports import free_port
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
