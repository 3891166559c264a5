"""Bounds on threads in flight over real servers: many submitting processes, crashes, and a line that is worked off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bson import ObjectId

from orchestratex.domain.base import ThreadStatus
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.server import serve
from orchestratex.steps.reconcile import reconcile
from tests.cluster import ROOT, Cluster, Servers, open_cluster, wait_for

pytestmark = pytest.mark.integration

QUICK = {"lease_s": 4, "heartbeat_s": 1, "reconcile_s": 1, "resend_s": 2}
FAST = SandboxConfig(latency_scale=0.05)
PROMPT = "Why is the sky blue?"


@contextmanager
def open_idle(servers: Servers, home: Path, **settings: object) -> Iterator[Cluster]:
    """Servers without workers: what comes in stays."""
    with serve(SandboxConfig()) as sandbox:
        cluster = Cluster(servers, sandbox, home, **settings)
        try:
            yield cluster
        finally:
            cluster.stop()


def start_submitter(cluster: Cluster, count: int, threads: int, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **cluster.environment, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "tests.submitter", str(count), str(threads)]
    return subprocess.Popen(command, env=environment, cwd=cluster.home, stdout=subprocess.PIPE, text=True)


def order(directory: Path, point: str, action: str) -> str:
    directory.mkdir()
    (directory / f"{point}.1").write_text(action)
    return str(directory)


def in_flight(cluster: Cluster) -> int:
    running = {"due_step": {"$type": "string"}, "is_queued": {"$ne": True}}
    return cluster.database["conversation_threads"].count_documents(running)


def find_ids(cluster: Cluster, *, is_queued: bool) -> list[ObjectId]:
    """Threads that stand in line or do not; ids of one process tell who came first."""
    return [row["_id"] for row in cluster.database["conversation_threads"].find({"is_queued": is_queued}, {"_id": 1})]


def test_many_processes_at_once_get_exactly_as_many_threads_in_as_may_be(servers: Servers, tmp_path: Path) -> None:
    looks: list[tuple[int, int]] = []

    with open_idle(servers, tmp_path, max_threads=50) as cluster:
        submitters = [start_submitter(cluster, 100, 16) for _ in range(4)]

        def have_ended() -> bool:
            looks.append((in_flight(cluster), cluster.services.store.get_places().count))
            return all(submitter.poll() is not None for submitter in submitters)

        wait_for(have_ended, timeout_s=120, what="the submitters' end")
        counts = [submitter.communicate()[0].split() for submitter in submitters]
        looks.append((in_flight(cluster), cluster.services.store.get_places().count))
        sessions = cluster.database["user_sessions"].count_documents({})

    assert sum(int(taken) for taken, _ in counts) == 50
    assert sum(int(refused) for _, refused in counts) == 350
    assert max(running for running, _ in looks) == 50
    assert max(places for _, places in looks) == 50
    assert looks[-1] == (50, 50)
    assert sessions == 50


def test_a_submitter_that_dies_between_place_and_thread_takes_no_room_for_ever(
    servers: Servers, tmp_path: Path
) -> None:
    with open_idle(servers, tmp_path, max_threads=1, lease_s=1, reconcile_s=0.2) as cluster:
        orders = order(tmp_path / "orders", "placed", "kill")
        killed = start_submitter(cluster, 1, 1, ORCHESTRATEX_FAULT_POINTS=orders)
        killed.communicate(timeout=60)
        left = cluster.services.store.get_places().count
        refused = start_submitter(cluster, 1, 1).communicate(timeout=60)[0].split()
        wait_for(lambda: reconcile(cluster.services).get("places mended"), timeout_s=30, what="the mending")
        taken = start_submitter(cluster, 1, 1).communicate(timeout=60)[0].split()
        running = in_flight(cluster)

    assert killed.returncode == -signal.SIGKILL
    assert (left, refused, taken, running) == (1, ["0", "1"], ["1", "0"], 1)


def test_a_worker_that_dies_before_it_frees_a_place_keeps_nobody_out(servers: Servers, tmp_path: Path) -> None:
    orders = order(tmp_path / "orders", "ended", "kill_group")
    bound = {**QUICK, "max_threads": 1}

    with open_cluster(servers, tmp_path, config=FAST, **bound, when_full="queue", fault_points=orders) as cluster:
        threads = cluster.submit([PROMPT, f"{PROMPT} Briefly."], max_iterations=1)
        first, second = cluster.processes
        wait_for(lambda: first.poll() or second.poll(), timeout_s=60, what="the worker's death")
        cluster.start("control" if first.poll() else "worker")
        ended = cluster.await_ended(threads)
        wait_for(lambda: not cluster.services.store.get_places().count, timeout_s=30, what="the places' being free")

    assert [thread.thread_status for thread in ended] == [ThreadStatus.COMPLETED] * 2


def test_a_line_is_worked_off_with_never_more_in_flight_than_may_be(servers: Servers, tmp_path: Path) -> None:
    looks: list[int] = []
    overtaken: list[ObjectId] = []

    with open_cluster(servers, tmp_path, config=FAST, **QUICK, max_threads=3, when_full="queue") as cluster:
        threads = cluster.submit([f"{PROMPT} {number}" for number in range(15)], max_iterations=1)
        store = cluster.services.store

        def have_ended() -> bool:
            looks.append(in_flight(cluster))
            let_in = find_ids(cluster, is_queued=False)
            waiting = find_ids(cluster, is_queued=True)  # these have waited when the others were let in
            overtaken.extend(early for early in waiting if any(late > early for late in let_in))
            return all(store.get_thread(thread.id).is_ended for thread in threads)

        wait_for(have_ended, timeout_s=120, what="the threads' end")
        ended = [store.get_thread(thread.id) for thread in threads]
        wait_for(lambda: not store.get_places().count, timeout_s=30, what="the places' being free")

    assert {thread.thread_status for thread in ended} == {ThreadStatus.COMPLETED}
    assert max(looks) == 3
    assert overtaken == []
