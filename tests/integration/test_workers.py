"""What workers survive: Redis dying under a running task, Redis forgetting everything, a polite end in mid-call."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from orchestratex.domain.base import ThreadStatus
from orchestratex.local.binaries import find_binary
from orchestratex.local.output import LogFiles
from orchestratex.local.redis_server import start_redis
from orchestratex.sandbox.config import SandboxConfig
from tests.cluster import Servers, open_cluster, open_servers, wait_for

pytestmark = pytest.mark.integration

PROMPT = "Explain how a bounded queue works, with an example."
SLOW = SandboxConfig(fixed_latency_s=2.0)
QUICK = {"lease_s": 4, "heartbeat_s": 1, "reconcile_s": 1, "resend_s": 2}


def test_workers_outlive_redis_dying_under_a_running_task(tmp_path: Path) -> None:
    with open_servers() as servers, open_cluster(servers, tmp_path, config=SLOW, **QUICK) as cluster:
        threads = cluster.submit([PROMPT])
        ledger = cluster.sandbox.state.ledger
        wait_for(lambda: ledger.summarise()["calls"], timeout_s=30, what="the first call")
        server = psutil.Process(servers.redis.child.main_pid() or 0)
        server.kill()
        wait_for(lambda: not server.is_running(), timeout_s=10, what="the end of Redis")
        wait_for(lambda: ledger.summarise()["charged"], timeout_s=30, what="the answer to the first call")
        again = start_redis(
            find_binary("valkey-server"), servers.redis.command.cwd, servers.redis.port, logs=LogFiles(tmp_path)
        )
        try:
            (thread,) = cluster.await_ended(threads, timeout_s=90)
            alive = [process.poll() is None for process in cluster.processes]
        finally:
            cluster.stop()
            again.child.finish()

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert alive == [True, True]
    assert ledger.summarise()["repeated_responses"] == 0


def test_a_redis_that_forgets_everything_loses_no_thread(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path, config=SandboxConfig(fixed_latency_s=0.5), **QUICK) as cluster:
        threads = cluster.submit([f"{PROMPT} Variant {number}." for number in range(5)])
        ledger = cluster.sandbox.state.ledger
        wait_for(lambda: ledger.summarise()["calls"] > 5, timeout_s=30, what="some calls")
        cluster.flush_broker()
        ended = cluster.await_ended(threads, timeout_s=90)

    assert {thread.thread_status for thread in ended} == {ThreadStatus.COMPLETED}
    assert ledger.summarise()["repeated_responses"] == 0


def test_a_worker_that_is_asked_to_end_finishes_its_calls(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path, config=SLOW, workers=2, **QUICK) as cluster:
        threads = cluster.submit([f"{PROMPT} Variant {number}." for number in range(4)])
        ledger = cluster.sandbox.state.ledger
        wait_for(lambda: ledger.summarise()["calls"] >= 4, timeout_s=30, what="calls in flight")
        os.kill(cluster.processes[1].pid, signal.SIGTERM)
        ended = cluster.await_ended(threads, timeout_s=90)
        code = cluster.processes[1].wait(timeout=30)
        crashes = sum(r.crashes for t in ended for r in cluster.services.store.responses_of(t.id))

    assert code == 0
    assert {thread.thread_status for thread in ended} == {ThreadStatus.COMPLETED}
    assert crashes == 0
    assert ledger.summarise()["repeated_responses"] == 0


def test_only_control_holds_the_model_of_languages(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path) as cluster:
        cluster.await_ended(cluster.submit([PROMPT]))
        control, worker = (psutil.Process(process.pid) for process in cluster.processes)
        loads_it = [
            {
                Path(region.path).name
                for each in (parent, *parent.children(recursive=True))
                for region in each.memory_maps()
            }
            for parent in (control, worker)
        ]

    in_control, in_worker = (any("_multiarray_umath" in name for name in names) for names in loads_it)
    assert (in_control, in_worker) == (True, False)
