"""Rolling deploys: versions side by side, and workers that are asked to end in the middle of a step."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestratex.bootstrap import make_queue
from orchestratex.domain.base import Step, ThreadStatus
from orchestratex.local.processes import process_commands
from orchestratex.queue import TASKS
from tests.cluster import Cluster, Servers, open_cluster, wait_for

pytestmark = pytest.mark.integration

PROMPT = "Explain how a bounded queue works, with an example."
QUICK: dict[str, Any] = {"lease_s": 4, "heartbeat_s": 1, "reconcile_s": 1, "resend_s": 1}


def read_log(cluster: Cluster, number: int) -> str:
    """What the cluster's process of this number printed."""
    (path,) = cluster.home.glob(f"*.{number}.log")
    return path.read_text(errors="replace")


def test_two_versions_side_by_side_lose_no_thread_and_pay_nothing_twice(
    servers: Servers, broker: dict[str, Any], tmp_path: Path
) -> None:
    with open_cluster(servers, tmp_path, **QUICK, **broker) as cluster:  # today's are numbers 0 and 1
        for kind in ("control", "worker"):
            cluster.start(kind, app="tests.newer")
        wait_for(lambda: cluster.log_text().count(" ready.") == 4, timeout_s=60, what="four workers")
        threads = cluster.submit([f"{PROMPT} Variant {number}." for number in range(4)], max_iterations=2)
        ended = cluster.await_ended(threads, timeout_s=120)
        summary = cluster.sandbox.state.ledger.summarise()
        responses = [r for thread in ended for r in cluster.services.store.responses_of(thread.id)]
        alive = [process.poll() for process in cluster.processes]
        today, later = (read_log(cluster, 0) + read_log(cluster, 1), read_log(cluster, 2) + read_log(cluster, 3))
        wait_for(lambda: cluster.services.queue.length() == 0, timeout_s=30, what="empty queues")

    assert {thread.thread_status for thread in ended} == {ThreadStatus.COMPLETED}
    assert summary["calls"] == len([each for each in responses if each.prompt_sent])  # stragglers may not have left
    assert summary["repeated_responses"] == 0
    assert alive == [None] * 4
    assert re.search(
        r"refused a message of ox\.\w+, (unknown task orchestratex\.answer|\S+ does not take these)", today
    )
    assert "refused" not in later
    assert "Traceback" not in today + later


def test_each_refusal_is_one_warning_and_the_thread_goes_on_without_it(
    servers: Servers, broker: dict[str, Any], tmp_path: Path
) -> None:
    with open_cluster(servers, tmp_path, **broker) as cluster:
        queue = make_queue(cluster.settings)
        (thread,) = cluster.await_ended(cluster.submit([PROMPT], max_iterations=1))
        send = queue._app.send_task
        send(TASKS[Step.EVALUATE], args=[str(thread.id)], queue="ox.evaluate")
        send(TASKS[Step.SELECT], args=[str(thread.id)], kwargs={"priority": 3}, queue="ox.control")
        send(TASKS[Step.SELECT], args=["no-id"], queue="ox.control")
        send(TASKS[Step.SELECT], args=[17], queue="ox.control")
        send("orchestratex.dream", args=[str(thread.id)], queue="ox.respond")
        wait_for(lambda: cluster.log_text().count("refused a message") == 5, timeout_s=30, what="five refusals")
        wait_for(lambda: queue.length() == 0, timeout_s=20, what="empty queues")
        (later,) = cluster.await_ended(cluster.submit([PROMPT], max_iterations=1))
        lines = [line for line in cluster.log_text().splitlines() if "refused a message" in line]
        queue.close()
        log = cluster.log_text()

    assert later.thread_status is ThreadStatus.COMPLETED
    assert all(" WARNING " in line for line in lines)
    for problem in (
        "orchestratex.evaluate does not take these arguments",
        "orchestratex.select does not take these arguments",
        "orchestratex.select takes ids only",
        "unknown task orchestratex.dream",
    ):
        assert any(problem in line for line in lines)
    assert "Traceback" not in log


def test_sigterm_in_the_middle_of_a_step_hands_it_to_another_control_worker(
    servers: Servers, broker: dict[str, Any], tmp_path: Path
) -> None:
    orders = tmp_path / "orders"
    orders.mkdir()
    options = QUICK | {"fault_points": orders, "control_shutdown_s": 1}
    with open_cluster(servers, tmp_path, **options, **broker) as cluster:
        (orders / "step_claimed.1").write_text("pause")
        threads = cluster.submit([PROMPT], max_iterations=1)
        wait_for(lambda: list(orders.glob("hit.step_claimed.1.*")), timeout_s=30, what="a step in hand")
        os.kill(cluster.processes[0].pid, signal.SIGTERM)
        cluster.processes[0].wait(timeout=30)
        handed_back = cluster.services.queue.length()
        cluster.start("control")
        (thread,) = cluster.await_ended(threads, timeout_s=60)
        log = read_log(cluster, 0)

    assert handed_back == 1
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert "Soft Shutdown" in log


def test_an_idle_control_worker_ends_at_once_on_sigterm(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path, workers=0, control_shutdown_s=600) as cluster:
        wait_for(lambda: " ready." in cluster.log_text(), timeout_s=30, what="a worker")
        os.kill(cluster.processes[0].pid, signal.SIGTERM)

        cluster.processes[0].wait(timeout=30)


def test_a_worker_of_threads_told_to_hand_back_does_not_start(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path, workers=0) as cluster:
        environment = {**os.environ, **cluster.environment, "REMAP_SIGTERM": "SIGQUIT"}
        command = process_commands(environment, instance="wrong")["worker"]

        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode != 0
    assert "REMAP_SIGTERM is for prefork only" in done.stderr
