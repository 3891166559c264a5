"""Three processes under three times a model's limit, in real time over Redis: what is granted, what a question costs.

    python -m tests.benchmarks.limits [seconds]

Each process has 60 callers whose calls take 1-3 s and use up to half of their estimate; a waiting call comes back when
it was told to. The demand of 180 callers is about three times 60 requests and 20,000 tokens per minute.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from pathlib import Path
from statistics import median, quantiles

from orchestratex.limits.shared import RedisLimiter, connect
from orchestratex.local.binaries import find_binary
from orchestratex.local.output import LogFiles
from orchestratex.local.redis_server import start_redis
from tests.limits import MODEL, Granted, most_in_window

RPM, TPM = 60, 20_000
PROCESSES, CALLERS = 3, 60
QUESTIONS = 5000
Row = tuple[float, float, int, int]  # granted by Redis' clock, sent by this machine's, estimated, actual


def work(uri: str, worker: int, seconds: float, rows: Queue[list[Row]]) -> None:
    """One process of callers."""
    client = connect(uri)
    limiter = RedisLimiter(client, prefix="b:")
    end = time.monotonic() + seconds
    found: list[Row] = []

    def call(caller: int) -> None:
        rng = random.Random(worker * 1000 + caller)
        number = 0
        while time.monotonic() < end:
            number += 1
            call_id, estimate = f"{worker}-{caller}-{number}", rng.randint(200, 700)
            actual = round(estimate * rng.uniform(0.5, 1))
            while wait_s := limiter.book(
                MODEL, call_id=call_id, requests_per_minute=RPM, tokens_per_minute=TPM, tokens=estimate
            ):
                if time.monotonic() + wait_s > end:
                    return
                time.sleep(wait_s)
            sent = time.time()
            found.append((float(client.zscore(f"b:limit:{{{MODEL}}}:log", call_id) or 0), sent, estimate, actual))
            time.sleep(rng.uniform(1, 3))
            limiter.correct(MODEL, call_id=call_id, estimated=estimate, actual=actual)

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, range(CALLERS)))
    rows.put(found)


def measure_demand(uri: str, seconds: float) -> None:
    """Run the processes and report the fullest windows."""
    context = multiprocessing.get_context("spawn")
    rows: Queue[list[Row]] = context.Queue()
    processes = [context.Process(target=work, args=(uri, worker, seconds, rows)) for worker in range(PROCESSES)]
    for process in processes:
        process.start()
    found = sorted(row for _ in processes for row in rows.get())
    for process in processes:
        process.join()
    by_grant = most_in_window([Granted(at, actual) for at, _, _, actual in found], 60)
    by_sending = most_in_window([Granted(sent, actual) for _, sent, _, actual in found], 60)
    first, last = found[0][0] + 60, found[-1][0]
    later = [row for row in found if row[0] > first]
    minutes = (last - first) / 60
    requests, tokens = len(later) / minutes, sum(row[3] for row in later) / minutes
    span_s = found[-1][0] - found[0][0]
    print(f"{len(found)} grants in {span_s:.0f} s to {PROCESSES} processes of {CALLERS} callers")
    print(f"most in any 60 s: granted {by_grant[0]} calls, {by_grant[1]} tokens; sent {by_sending[0]}, {by_sending[1]}")
    print(f"after the first minute: {requests:.1f} rpm ({requests / RPM:.1%}), {tokens:.0f} tpm ({tokens / TPM:.1%})")


def measure_questions(uri: str) -> None:
    """The cost of one `book`, granted and waiting, with a queue of thousands."""
    limiter = RedisLimiter(connect(uri), prefix="q:")
    for name, rpm in (("granted", 10_000_000), ("booked", 60)):
        times = []
        for number in range(QUESTIONS):
            start = time.perf_counter()
            limiter.book(name, call_id=f"c{number}", requests_per_minute=rpm, tokens_per_minute=10**12, tokens=500)
            times.append((time.perf_counter() - start) * 1e6)
        print(f"book, {name}: median {median(times):.0f} us, p99 {quantiles(times, n=100)[98]:.0f} us")


def main() -> None:
    """Measure both."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 200.0
    with tempfile.TemporaryDirectory() as home:
        service = start_redis(find_binary("valkey-server"), Path(home) / "redis", logs=LogFiles(Path(home)))
        try:
            measure_questions(service.uri)
            measure_demand(service.uri, seconds)
        finally:
            service.child.stop(10)


if __name__ == "__main__":
    main()
