"""Many cancels at random moments over HTTP, and what came of each: `python -m tests.cancels --count 100 --seed 1`."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import requests
from bson import ObjectId

from orchestratex.domain.base import CostSource, StopReason
from orchestratex.domain.thread import Thread
from orchestratex.local.ports import free_port
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.steps.submit import ThreadRequest, submit
from tests.cluster import Cluster, open_cluster, open_servers, wait_for

PROMPT = "Explain how a bounded queue works, with an example and its pitfalls. Variant {number}."
LATEST_S = 6.0  # a cancel comes at most so long after its thread's submission
SETTLING_S = 60


@dataclass(frozen=True)
class Cancelled:
    """One cancel, as its caller saw it."""

    thread_id: ObjectId
    sent_at: float  # seconds since the epoch
    took_s: float
    answered_at: float  # seconds since the epoch
    status: str
    stop_reason: str | None


@dataclass(frozen=True)
class Figures:
    """What many cancels showed."""

    cancels: int  # that found their thread running
    ended_before: int  # threads that ended by themselves just before theirs
    by_outcome: dict[str, int]
    median_s: float  # until the answer
    slowest_s: float
    ended_median_s: float  # until the thread had ended, by its own document
    ended_slowest_s: float
    calls: int
    latest_call_s: float | None  # after the cancel of its thread was answered; None: none left after it
    unsettled: int  # reservations that are left
    is_money_exact: bool  # what is not marked as estimated is what the models charged
    overcharge_nanos: int  # what estimates add to the models' own ledger; never below zero


def run_cancels(cluster: Cluster, *, count: int, seed: int) -> Figures:
    """Submit threads, cancel each at a random moment through the API, and compare with the models' ledger.

    A thread that ended by itself before its cancel came shows nothing: another takes its place.
    """
    rng = random.Random(seed)
    threads = cluster.submit([PROMPT.format(number=number) for number in range(count)], max_iterations=5)
    session_id = threads[0].session_id
    due, cancelled = threads, list[Cancelled]()
    with ThreadPoolExecutor(count) as pool:
        while due:
            started = time.monotonic()
            moments = [started + rng.uniform(0, LATEST_S) for _ in due]
            asked = pool.map(lambda pair: _cancel(cluster, *pair), zip(due, moments, strict=True))
            cancelled += [each for each in asked if each.stop_reason == StopReason.CANCELLED]
            numbers = range(len(threads), len(threads) + count - len(cancelled))
            requested = [ThreadRequest(prompt=PROMPT.format(number=number)) for number in numbers]
            due = submit(session_id, requested, cluster.services) if requested else []
            threads += due
    store = cluster.services.store
    wait_for(lambda: not store.get_session(session_id).reservations, timeout_s=SETTLING_S, what="settling")
    return _judge(cluster, threads, cancelled)


def _cancel(cluster: Cluster, thread: Thread, moment: float) -> Cancelled:
    time.sleep(max(0.0, moment - time.monotonic()))  # the moment is what is tried here
    sent, sent_at = time.monotonic(), time.time()
    port = cluster.environment["ORCHESTRATEX_API_PORT"]
    answer = requests.post(f"http://127.0.0.1:{port}/v1/threads/{thread.id}/cancel", timeout=30)
    answer.raise_for_status()
    body = answer.json()
    return Cancelled(thread.id, sent_at, time.monotonic() - sent, time.time(), body["status"], body["stop_reason"])


def _judge(cluster: Cluster, threads: list[Thread], cancelled: list[Cancelled]) -> Figures:
    store, ledger = cluster.services.store, cluster.sandbox.state.ledger
    responses = [r for thread in threads for r in store.responses_of(thread.id)]
    thread_of = {str(response.id): response.thread_id for response in responses}
    answered = {each.thread_id: each.answered_at for each in cancelled}
    calls = [(thread_of[entry.response_id], entry.started_wall) for entry in ledger.entries]
    delays = [started - answered[thread_id] for thread_id, started in calls if thread_id in answered]
    late = [delay for delay in delays if delay > 0]
    charged = {entry.idempotency_key: entry.cost_nanos for entry in ledger.entries if entry.is_charged}
    known = {
        f"{response.id}.{attempt}": cost.nanos
        for response in responses
        for attempt, cost in response.attempt_costs.items()
        if cost.source is not CostSource.ESTIMATED
    }
    session = store.get_session(threads[0].session_id)
    ends = {thread.id: store.get_thread(thread.id).completed_at for thread in threads}
    ended = [end.timestamp() - each.sent_at for each in cancelled if (end := ends[each.thread_id]) is not None]
    totals = sum(store.get_thread(thread.id).total_cost_nanos for thread in threads)
    sums = {session.total_cost_nanos, totals, sum(response.cost_nanos for response in responses)}
    return Figures(
        cancels=len(cancelled),
        ended_before=len(threads) - len(cancelled),
        by_outcome=dict(Counter(f"{each.status} {each.stop_reason}" for each in cancelled)),
        median_s=round(statistics.median(each.took_s for each in cancelled), 3),
        slowest_s=round(max(each.took_s for each in cancelled), 3),
        ended_median_s=round(statistics.median(ended), 3),
        ended_slowest_s=round(max(ended), 3),
        calls=len(ledger.entries),
        latest_call_s=round(max(late), 3) if late else None,
        unsettled=len(session.reservations),
        is_money_exact=len(sums) == 1 and all(charged.get(key) == nanos for key, nanos in known.items()),
        overcharge_nanos=session.total_cost_nanos - sum(charged.values()),
    )


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    config = SandboxConfig(fixed_latency_s=1.0)
    with (
        tempfile.TemporaryDirectory() as home,
        open_servers() as servers,
        open_cluster(servers, Path(home), config=config, workers=2, api_port=free_port()) as cluster,
    ):
        start_api(cluster)
        print(json.dumps(asdict(run_cancels(cluster, count=options.count, seed=options.seed)), indent=2))


def start_api(cluster: Cluster) -> None:
    """Start the API and wait until it answers."""
    cluster.start("api")
    address = f"http://127.0.0.1:{cluster.environment['ORCHESTRATEX_API_PORT']}/healthz"

    def is_up() -> bool:
        try:
            return requests.get(address, timeout=2).ok
        except requests.ConnectionError:
            return False

    wait_for(is_up, timeout_s=60, what="the start of the API")


if __name__ == "__main__":
    main()
