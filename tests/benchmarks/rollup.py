"""What rolling up costs: a month that nobody rolled up, and one hour of it beside a short and a long history.

`python -m tests.benchmarks.rollup [--threads 10000] [--history 300000] [--an-hour 14]`
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestratex.local.binaries import find_binary
from orchestratex.local.mongod import start_mongod
from orchestratex.local.output import LogFiles
from orchestratex.store.migrations import init_db
from orchestratex.store.mongo import MongoStore, connect
from tests.generated import count_examined, write_threads
from tests.histories import BEGIN, History, StillClock


def main() -> None:
    """Start a mongod, fill it, roll up, and say what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--threads", 10_000), ("--history", 300_000), ("--an-hour", 14)):
        parser.add_argument(name, type=int, default=default)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rollup") as home:
        run(Path(home), threads=given.threads, history=given.history, an_hour=given.an_hour)


def run(home: Path, *, threads: int, history: int, an_hour: int) -> None:
    """Measure on a mongod of its own."""
    service = start_mongod(find_binary("mongod"), home / "data", logs=LogFiles(home))
    client = connect(service.uri)
    try:
        store = MongoStore(client, "rollup")
        init_db(store)
        measure_all(store, threads=threads, history=history, an_hour=an_hour)
    finally:
        client.close()
        service.child.stop(30)


def measure_all(store: MongoStore, *, threads: int, history: int, an_hour: int) -> None:
    """Roll a month up; then put the long history before it, and look at the same hours again."""
    begin = BEGIN.replace(minute=0) - timedelta(days=400)
    end = write_threads(store.database, threads, begin=begin, an_hour=an_hour)
    story = History(store, StillClock(end + timedelta(hours=1)))
    hours = (end - begin) // timedelta(hours=1)
    print(f"## {threads} threads in {hours} hours")
    took, written = timed(story.roll)
    print(f"caught up: {took:.1f} s, {1000 * took / hours:.0f} ms an hour, {written} windows written")
    took, written = timed(story.roll)
    print(f"again: {took:.2f} s, {written} windows written")
    thread: Any = store.database["conversation_threads"].find_one({"completed_at": {"$gt": begin + (end - begin) / 2}})
    store.set_thread(thread["_id"], {"user_accepted": not thread["user_accepted"]})
    took, written = timed(story.roll)
    print(f"after one acceptance: {took:.2f} s, {written} windows written")
    looked_at = {"in the middle": begin + hours // 2 * timedelta(hours=1), "the last": end - timedelta(hours=1)}
    before = {name: count_examined([hour], store.database, story.services) for name, hour in looked_at.items()}
    more = (history - threads) // an_hour * an_hour
    took, _ = timed(
        lambda: write_threads(store.database, more, begin=begin - more // an_hour * timedelta(hours=1), an_hour=an_hour)
    )
    print(f"## {threads + more} threads (written in {took:.0f} s)")
    for name, hour in looked_at.items():
        took, after = timed(lambda hour=hour: count_examined([hour], store.database, story.services))  # type: ignore[misc]
        print(f"an hour {name}: {describe(before[name])} before, {describe(after)} now, {1000 * took:.0f} ms")


def describe(examined: tuple[int, int]) -> str:
    """Documents and keys."""
    return f"{examined[0]} documents and {examined[1]} keys"


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """How many seconds it takes, and what it returns."""
    started = time.monotonic()
    result = act()
    return time.monotonic() - started, result


if __name__ == "__main__":
    main()
