"""Shared rate limits through the whole engine: `python -m tests.benchmarks.limits_e2e [--seconds N] [--tokens N]`.

Three worker processes want a model three times as often as its limits allow. Counts, from the sandbox's own ledger, the
most requests and tokens in any 60 s, and how much of what is allowed was used.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from orchestratex.domain.profile import RateLimits
from orchestratex.sandbox.server import Running
from orchestratex.steps.submit import SessionRequest, ThreadRequest, open_session, submit
from tests.benchmarks.bench import PROMPT, read_admin, sandbox_process
from tests.cluster import Cluster, open_servers

MODEL, AUTHOR = "gpt4", "qwen"
WINDOW_S = 60.0
WARM_UP_S = 30.0  # starting workers and learning how long answers are


def read_calls(address: str) -> list[dict[str, Any]]:
    """All calls to the limited model, as the sandbox saw them."""
    entries = read_admin(f"{address}/sandbox/ledger")["entries"]
    return [entry for entry in entries if entry["model"] == MODEL]


def most_in_window(events: list[tuple[float, int]]) -> int:
    """The largest sum in any window of 60 s that begins with an event."""
    return max((sum(n for at, n in events if start <= at < start + WINDOW_S) for start, _ in events), default=0)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=20_000)
    options = parser.parse_args()
    with open_servers() as servers, tempfile.TemporaryDirectory() as home, sandbox_process(1.0) as address:
        sandbox = Running(address, None)  # type: ignore[arg-type]
        cluster = Cluster(servers, sandbox, Path(home), panel_deadline_s=3600, worker_concurrency=64)
        limits = RateLimits(requests_per_minute=options.requests, tokens_per_minute=options.tokens)
        cluster.services.store.update_profile(MODEL, {"rate_limits": limits})
        for kind in ("control", "worker", "worker", "worker"):
            cluster.start(kind)
        wanted = round(3 * options.requests * (options.seconds + WARM_UP_S) / 60)
        session = open_session(SessionRequest(preferred_models=[AUTHOR], evaluators=[MODEL]), cluster.services)
        prompts = [ThreadRequest(prompt=PROMPT.format(n), max_iterations=1) for n in range(wanted)]
        submit(session.id, prompts, cluster.services)
        time.sleep(WARM_UP_S + options.seconds)
        calls = read_calls(address)
        cluster.stop()
    starts = sorted(entry["started"] for entry in calls)
    requests = [(entry["started"], 1) for entry in calls]
    tokens = [(entry["started"], entry["input_tokens"] + entry["output_tokens"]) for entry in calls]
    first, last = starts[0] + WARM_UP_S, starts[-1]
    steady = [each for each in tokens if first <= each[0] < last]
    minutes = (last - first) / 60
    print(
        f"{len(calls)} calls in {starts[-1] - starts[0]:.0f} s, limits {options.requests} and {options.tokens} a minute"
    )
    print(f"most requests in any 60 s: {most_in_window(requests)}")
    print(f"most tokens in any 60 s: {most_in_window(tokens)}; largest call {max(n for _, n in tokens)}")
    used = [len(steady) / minutes / options.requests, sum(n for _, n in steady) / minutes / options.tokens]
    print(f"used after the first {WARM_UP_S:.0f} s: {used[0]:.1%} of requests, {used[1]:.1%} of tokens")


if __name__ == "__main__":
    main()
