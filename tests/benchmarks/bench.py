"""How fast the engine is on this machine: `python -m tests.benchmarks.bench [--threads N] [--in-flight N]`.

Prints ratios and shares from one run; absolute times wander on shared machines. The sandbox runs in a process of its
own and is left out of the CPU figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from orchestratex.domain.base import Purpose, Role
from orchestratex.domain.thread import Thread
from orchestratex.local.ports import free_port
from orchestratex.sandbox.server import Running
from tests.cluster import Cluster, Servers, open_servers, wait_for
from tests.support import ADMIN, ADMIN_KEY

PROMPT = "Explain how a bounded queue works, with an example and the pitfalls. Variant {}."
SANDBOX = """
import sys
from pydantic import SecretStr
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.server import run
run("127.0.0.1", int(sys.argv[1]), SandboxConfig(fixed_latency_s=float(sys.argv[2]), admin_key=SecretStr(sys.argv[3])))
"""


@contextmanager
def sandbox_process(latency_s: float) -> Iterator[str]:
    """The sandbox in a process of its own; yields its address."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", SANDBOX, str(port), str(latency_s), ADMIN_KEY], stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(lambda: is_up(port), timeout_s=20, what="the sandbox")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def is_up(port: int) -> bool:
    """Whether the sandbox answers."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).close()
    except OSError:
        return False
    return True


def read_ledger(base_url: str) -> dict[str, Any]:
    """The sandbox's own count."""
    return read_admin(f"{base_url}/sandbox/ledger?summary=1")


def read_admin(address: str) -> dict[str, Any]:
    """What the sandbox shows to who has its admin key."""
    with urllib.request.urlopen(urllib.request.Request(address, headers=ADMIN)) as reply:
        return dict(json.load(reply))


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time of processes and their children so far."""
    family = [child for process in processes for child in (process, *process.children(recursive=True))]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def critical_path(cluster: Cluster, thread: Thread) -> float:
    """Seconds that a thread needs if the engine took no time: its answers, and the slowest evaluator of each panel."""
    total_ms = 0.0
    for iteration in range(1, thread.current_iteration + 1):
        responses = cluster.services.store.responses_of(thread.id, iteration=iteration)
        answers = [r.response_time or 0 for r in responses if r.purpose is Purpose.ANSWER]
        panel = [r.response_time or 0 for r in responses if r.role is Role.EVALUATOR]
        total_ms += sum(answers) + max(panel, default=0)
    return total_ms / 1000


def seconds(start: datetime, end: datetime | None) -> float:
    """Between two moments."""
    return (end - start).total_seconds() if end else 0.0


def run(servers: Servers, *, count: int, latency_s: float, workers: int, concurrency: int, title: str) -> None:
    """Submit `count` threads at once and report."""
    with tempfile.TemporaryDirectory() as home, sandbox_process(latency_s) as base_url:
        cluster = Cluster(servers, Running(base_url, None), Path(home), worker_concurrency=concurrency)  # type: ignore[arg-type]
        try:
            measure(cluster, servers, base_url, count=count, workers=workers, title=title)
        finally:
            cluster.stop()


def measure(cluster: Cluster, servers: Servers, base_url: str, *, count: int, workers: int, title: str) -> None:
    """One run over running workers."""
    cluster.start("control")
    for _ in range(workers):
        cluster.start("worker")
    cluster.await_ended(cluster.submit([PROMPT.format("warm-up")]))
    engine = [psutil.Process(process.pid) for process in cluster.processes]
    brokers = [psutil.Process(servers.redis.child.pid)]
    stores = [psutil.Process(servers.mongod.child.pid)]
    before = [cpu_seconds(group) for group in (engine, brokers, stores)]
    calls_before = read_ledger(base_url)["calls"]
    started = time.perf_counter()
    threads = cluster.await_ended(cluster.submit([PROMPT.format(n) for n in range(count)]), timeout_s=900)
    wall = time.perf_counter() - started
    after = [cpu_seconds(group) for group in (engine, brokers, stores)]
    ledger = read_ledger(base_url)
    calls = ledger["calls"] - calls_before
    spent = [1000 * (b - a) / calls for a, b in zip(before, after, strict=True)]
    overheads = [
        1000 * (seconds(t.created_at, t.completed_at) - critical_path(cluster, t)) / t.current_iteration
        for t in threads
    ]
    gaps = stall(cluster, threads)
    print(f"## {title}")
    print(f"{count} threads, {calls} calls, {workers} worker processes, {wall:.1f} s: {calls / wall:.0f} calls/s")
    print(f"CPU a call: {sum(spent):.1f} ms = workers {spent[0]:.1f} + redis {spent[1]:.1f} + mongod {spent[2]:.1f}")
    print(f"overhead an iteration over its critical path: median {statistics.median(overheads):.0f} ms")
    print(f"longest time that a thread stood still beyond one call: {gaps:.1f} s")
    print(f"calls in flight at once, at most: {ledger['max_concurrency']}; repeated: {ledger['repeated_responses']}")
    print(f"completed: {sum(t.thread_status == 'completed' for t in threads)} of {count}\n")


def stall(cluster: Cluster, threads: Sequence[Thread]) -> float:
    """The longest gap between two events of a thread, in seconds."""
    longest = 0.0
    for thread in threads:
        times = [event.timestamp for event in cluster.services.store.logs_of(thread.id)]
        longest = max([longest, *(seconds(a, b) for a, b in itertools.pairwise(times))])
    return longest


def main() -> None:
    """Run the three scenarios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=1000)
    options = parser.parse_args()
    with open_servers() as servers:
        run(servers, count=1, latency_s=0.2, workers=2, concurrency=64, title="one thread alone, 200 ms a call")
        run(
            servers, count=options.threads, latency_s=0.0, workers=2, concurrency=64, title="throughput, models at once"
        )
        if options.in_flight:
            title = f"{options.in_flight} threads in flight, 1 s a call"
            run(servers, count=options.in_flight, latency_s=1.0, workers=2, concurrency=250, title=title)


if __name__ == "__main__":
    main()
