"""A soak: threads are kept in flight while faults of all families come at random, by seed.

    python -m tests.faults.soak --minutes 60 --seed 1 --threads-in-flight 200

Threads are submitted through the API. A session's threads are judged as soon as all have ended, so that a long soak
needs no more memory than a short one; the history is read from the oplog while it happens. A worker, a control worker,
the beat and the API are never killed: their memory is watched, and must be flat after warm-up.

The limit for standing is one lease longer than that of single faults: after an outage of MongoDB nobody's lease is
freed for one lease period, and that may begin when a lease has nearly run out for another reason.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from bson import ObjectId, Timestamp
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from orchestratex.local.ports import free_port
from orchestratex.sandbox.ledger import Entry
from orchestratex.store.base import COLLECTIONS
from tests.cluster import wait_for
from tests.faults.chaos import Chaos
from tests.faults.history import RESPONSES, THREADS, History, Write, read_oplog
from tests.faults.invariants import Evidence, check
from tests.faults.memory import Track, describe, find_growth
from tests.faults.rig import DEFAULT, QUICK, Rig, Rigs, Shape
from tests.faults.trial import TASKS, read_call, stand_limit_s

SESSION_THREADS = 10
FEEDERS = 8
HTTP_S = 60.0
CALM_S = (10.0, 30.0)  # between faults
SAMPLE_S = 5.0
LOOK_S = 1.0
END_S = 300.0
STARTED_S = 120.0
LEAST_FAULTS = 0.8  # a minute
PANEL = ("claude", "gemini")  # two evaluations an iteration: more threads for the same number of calls


class Recorder(threading.Thread):
    """Reads the oplog while it is written: it is kept for some minutes only."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(name="recorder", daemon=True)
        self.session_of: dict[str, str] = {}  # by thread and response
        self.parents: dict[str, str] = {}
        self.writes: dict[str, list[Write]] = defaultdict(list)  # by session
        self.read_to = 0.0
        self.is_whole = True
        self._rig = rig
        self._client = rig.mongo.client(patience_s=5)
        self._last: Timestamp = (self._newest() or {}).get("ts", Timestamp(0, 0))
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def run(self) -> None:
        """Follow until told to stop, through every outage."""
        while not self._ended.wait(LOOK_S / 2):
            with contextlib.suppress(PyMongoError):
                self._read()

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self.join()
        self._client.close()

    def take(self, session_id: str) -> list[Write]:
        """A session's writes, which are then forgotten."""
        with self._lock:
            return self.writes.pop(session_id, [])

    def _read(self) -> None:
        now = time.time()
        oplog = self._client["local"]["oplog.rs"]
        oldest = oplog.find_one(sort=[("$natural", 1)])
        if oldest is not None and self._last.time and oldest["ts"] > self._last:
            self.is_whole = False  # written over before it was read
        entries = list(oplog.find({"ts": {"$gt": self._last}}))
        for write in read_oplog(entries, self._rig.database):
            self._keep(write)
        if entries:
            self._last = entries[-1]["ts"]
        self.read_to = now

    def _keep(self, write: Write) -> None:
        if "session_id" in write.fields:
            self.session_of[write.id] = str(write.fields["session_id"])
        if "thread_id" in write.fields:
            self.parents[write.id] = str(write.fields["thread_id"])
        brief = {name: write.fields[name] for name in write.fields.keys() & _TOLD}
        if brief.get("completion") is not None:
            brief["completion"] = True
        with self._lock:
            self.writes[self.session_of.get(write.id, "")].append(Write(write.at, write.collection, write.id, brief))

    def _newest(self) -> dict[str, Any] | None:
        return self._client["local"]["oplog.rs"].find_one(sort=[("$natural", -1)])


_TOLD = {"attempt", "completion", "not_before", "status", "thread_status", "moves"}  # what a history is judged by


@dataclass
class Soak:
    """What a soak knows of itself."""

    rig: Rig
    api: str
    chaos: Chaos
    recorder: Recorder
    in_flight: int
    open_sessions: dict[str, set[str]] = field(default_factory=dict)  # accepted threads by session
    broken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    longest_s: float = 0.0
    _calls: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    _seen: int = 0

    def __post_init__(self) -> None:
        self._client = self.rig.mongo.client(patience_s=5)
        self._database = self._client[self.rig.database]
        self._pool = ThreadPoolExecutor(FEEDERS)
        self._pending: set[Future[None]] = set()
        self._lock = threading.Lock()

    def feed(self) -> None:
        """Submit as many threads as are missing."""
        self._pending = {future for future in self._pending if not future.done()}
        running = self._database[THREADS].count_documents({"thread_status": {"$nin": ["completed", "failed"]}})
        missing = self.in_flight - running - SESSION_THREADS * len(self._pending)
        for _ in range(min(missing // SESSION_THREADS, 2 * FEEDERS - len(self._pending))):
            self._pending.add(self._pool.submit(self._submit_session))

    def stop_feeding(self) -> None:
        """Wait for submissions under way."""
        self._pool.shutdown(wait=True)

    def judge_ended(self) -> None:
        """Judge the sessions in which nothing is left to happen."""
        with self._lock:
            candidates = list(self.open_sessions)
        busy = self._busy_sessions()
        horizon = time.time()
        for session_id in candidates:
            if session_id not in busy and self._database["user_sessions"].find_one(_settled(session_id)):
                wait_for(lambda: self.recorder.read_to > horizon, timeout_s=60, what="the history of a session")
                self._judge(session_id)

    def judge_rest(self) -> None:
        """Judge what is open at the end, as it is, and look for calls that belong to nothing."""
        horizon = time.time()
        wait_for(lambda: self.recorder.read_to > horizon, timeout_s=60, what="the rest of the history")
        for session_id in list(self.open_sessions):
            self._judge(session_id)
        self._busy_sessions()  # reads the models' ledger to its end
        for response_id, calls in self._calls.items():
            problem = f"{len(calls)} calls of response {response_id} came after its session was judged, or have none"
            self.broken["no call without a response"].append(problem)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _submit_session(self) -> None:
        """A session of some threads, through the API. What it does not answer is not counted as accepted."""
        settings = {"max_iterations": 2, "evaluators": list(PANEL), "cost_limit": 100}
        try:
            opened = requests.post(f"{self.api}/v1/sessions", json=settings, timeout=HTTP_S)
            opened.raise_for_status()
        except requests.RequestException:
            self.counts["submissions refused"] += 1
            return
        session_id = _read_id(opened)
        accepted: set[str] = set()
        for n in range(SESSION_THREADS):
            prompt = f"Explain how to {TASKS[n % len(TASKS)]}. Variant {ObjectId()}."
            body = {"session_id": session_id, "prompt": prompt}
            try:
                answer = requests.post(f"{self.api}/v1/threads", json=body, timeout=HTTP_S)
                answer.raise_for_status()
            except requests.RequestException:
                self.counts["submissions refused"] += 1
                continue
            accepted.add(_read_id(answer))
        with self._lock:
            self.open_sessions[session_id] = accepted

    def _busy_sessions(self) -> set[str]:
        queries: dict[str, dict[str, Any]] = {
            THREADS: {"$or": [{"thread_status": {"$nin": ["completed", "failed"]}}, {"lease_token": {"$type": 2}}]},
            RESPONSES: {"lease_token": {"$type": 2}},
        }
        found = {
            str(key) for name, query in queries.items() for key in self._database[name].distinct("session_id", query)
        }
        ledger = self.rig.sandbox.state.ledger.entries
        for entry in ledger[self._seen :]:
            self._seen += 1
            if ObjectId.is_valid(entry.response_id):
                self._calls[entry.response_id].append(entry)
        open_calls = [key for key, entries in self._calls.items() if any(e.ended is None for e in entries)]
        return found | {self.recorder.session_of.get(key, "") for key in open_calls}

    def _judge(self, session_id: str) -> None:
        with self._lock:
            accepted = self.open_sessions[session_id]
        key = ObjectId(session_id)
        queries = {name: {"session_id": key} for name in COLLECTIONS if "session_id" in COLLECTIONS[name].model_fields}
        queries["user_sessions"] = {"_id": key}
        documents = {name: list(self._database[name].find(query)) for name, query in queries.items()}
        with self._lock:
            del self.open_sessions[session_id]  # not earlier: without MongoDB it is judged later
        accepted |= {str(thread["_id"]) for thread in documents[THREADS]}  # also of answers that did not arrive
        responses = {str(response["_id"]) for response in documents[RESPONSES]}
        history = History(self.recorder.take(session_id), self.recorder.parents)
        evidence = Evidence(
            submitted=sorted(accepted),
            documents=documents,
            calls=[read_call(entry) for response in responses for entry in self._calls.pop(response, ())],
            saved=history.saved(),
            stands=history.stands(self.chaos.outages),
            windows=self.chaos.windows,
            stand_limit_s=stand_limit_s(self.rig.settings) + self.rig.settings.lease_s,
        )
        for name, problems in check(evidence).items():
            self.broken[name] += problems
            for problem in problems:
                print(f"BROKEN {name}: {problem}", flush=True)
        self._count(evidence)

    def _count(self, evidence: Evidence) -> None:
        self.counts["threads"] += len(evidence.threads)
        self.counts["paid calls"] += sum(map(len, evidence.charged.values()))
        self.counts["repeated calls"] += len(evidence.repeats)
        self.counts["calls in flight at faults"] += len(evidence.in_flight)
        self.longest_s = max([self.longest_s, *(stand.seconds for stand in evidence.stands)])
        for thread in evidence.threads:
            self.counts[str(thread.thread_status)] += 1


def main(arguments: list[str] | None = None) -> int:
    """Soak; returns 1 when an invariant is broken or a process grows."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="orchestratex-soak-") as home:
        rigs = Rigs(Path(options.home or home), QUICK if options.quick else DEFAULT)
        try:
            return run(rigs, options)
        finally:
            rigs.close()


def run(rigs: Rigs, options: argparse.Namespace) -> int:
    """Keep threads in flight and break things, then wait for the end and judge."""
    switch = rigs.home / "doubling"
    environment = (("ORCHESTRATEX_TEST_DOUBLING", str(switch)),)
    shape = Shape(
        workers=0, controls=0, beats=1, app="tests.faults.apps.switched", is_slow_redis=True, members=options.members
    )
    rig = rigs.of(shape)
    rig.play(latency_s=options.latency)
    port = free_port()
    api = rig.start("api", environment={"ORCHESTRATEX_API_PORT": str(port)})
    started = [
        rig.start(kind, environment=dict(environment)) for kind in ("worker", "worker", "worker", "control", "control")
    ]
    kept = [api, started[0], started[3], *rig.of("beat")]
    rig.await_ready()
    address = f"http://127.0.0.1:{port}"
    wait_for(lambda: _is_up(address), timeout_s=STARTED_S, what="the API")
    pids = [member.process.pid for member in kept]  # not earlier: a guard comes first
    chaos = Chaos(rig, kept, switch, random.Random(options.seed))
    recorder = Recorder(rig)
    recorder.start()
    soak = Soak(rig, address, chaos, recorder, options.threads_in_flight)
    tracks = [Track(f"{member.process.name} (kept)") for member in kept]
    try:
        _keep_going(soak, kept, tracks, options.minutes * 60)
        _await_end(soak)
    finally:
        recorder.stop()
    died = [m.process.name for m, pid in zip(kept, pids, strict=True) if m.process.pid != pid]
    soak.broken["kept processes live"] += [f"{name} died by itself" for name in died]
    return _report(soak, tracks, options)


def _keep_going(soak: Soak, kept: list[Any], tracks: list[Track], seconds: float) -> None:
    began = time.monotonic()
    ended = threading.Event()
    striker = threading.Thread(target=_strike, args=(soak.chaos, ended), name="chaos", daemon=True)
    striker.start()
    next_sample = next_word = 0.0
    while (elapsed := time.monotonic() - began) < seconds:
        soak.rig.supervise()
        with contextlib.suppress(PyMongoError):
            soak.feed()
            soak.judge_ended()
        if elapsed >= next_sample:
            next_sample = elapsed + SAMPLE_S
            for member, track in zip(kept, tracks, strict=True):
                track.sample(elapsed, member.process.pid)
        if elapsed >= next_word:
            next_word = elapsed + 60
            print(f"{elapsed / 60:5.1f} min: {dict(soak.counts)}, {len(soak.chaos.done)} faults", flush=True)
        time.sleep(LOOK_S)
    ended.set()
    while striker.is_alive():  # the last fault takes its time, and what it kills is started again
        soak.rig.supervise()
        time.sleep(LOOK_S)


def _strike(chaos: Chaos, ended: threading.Event) -> None:
    while not ended.wait(chaos.rng.uniform(*CALM_S)):
        began = time.monotonic()
        try:
            name = chaos.strike()
        except (AssertionError, OSError, IndexError, PyMongoError, RedisError) as error:  # told, and not counted
            print(f"       a fault was not done: {error!r}", flush=True)
            continue
        print(f"       {name} for {time.monotonic() - began:.1f} s", flush=True)


def _await_end(soak: Soak) -> None:
    soak.stop_feeding()
    deadline = time.monotonic() + END_S
    while soak.open_sessions and time.monotonic() < deadline:
        soak.rig.supervise()
        with contextlib.suppress(PyMongoError):
            soak.judge_ended()
        time.sleep(LOOK_S)
    soak.judge_rest()


def _report(soak: Soak, tracks: Sequence[Track], options: argparse.Namespace) -> int:
    growths = [growth for track in tracks if (growth := find_growth(track)) is not None]
    growing = [growth.name for growth in growths if not growth.is_flat]
    if len(growths) < len(tracks):
        soak.broken["memory is watched"].append("too few samples of a process")
    if len(soak.chaos.done) < options.minutes * LEAST_FAULTS:
        soak.broken["faults happen"].append(f"only {len(soak.chaos.done)} in {options.minutes:g} minutes")
    soak.broken = {name: problems for name, problems in soak.broken.items() if problems}
    if not soak.recorder.is_whole:
        soak.broken["the history is whole"].append("the oplog was written over before it was read")
    faults = Counter(name for _, name in soak.chaos.done)
    print(f"\nseed {options.seed}, {options.minutes:g} minutes, {options.threads_in_flight} threads in flight")
    print("faults:", ", ".join(f"{count} {name}" for name, count in sorted(faults.items())))
    print("counts:", ", ".join(f"{count} {name}" for name, count in sorted(soak.counts.items())))
    print(f"longest standing outside of outages: {soak.longest_s:.1f} s")
    print("broken:", {name: len(problems) for name, problems in soak.broken.items()} or "nothing")
    print(describe(growths))
    if options.json:
        found = {"faults": faults, "counts": soak.counts, "broken": soak.broken, "longest_stand_s": soak.longest_s}
        options.json.write_text(json.dumps({**found, "memory": {t.name: t.samples for t in tracks}}))
    soak.close()
    return int(bool(soak.broken or growing))


def _settled(session_id: str) -> dict[str, Any]:
    return {"_id": ObjectId(session_id), "held_nanos": 0}


def _read_id(answer: requests.Response) -> str:
    return str(answer.headers["Location"].rpartition("/")[2])


def _is_up(address: str) -> bool:
    try:
        return requests.get(f"{address}/healthz", timeout=5).status_code < 500
    except requests.RequestException:
        return False


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.faults.soak", description="Break everything, for a long time.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads-in-flight", type=int, default=200)
    parser.add_argument("--latency", type=float, default=5.0, help="seconds that the models think")
    parser.add_argument("--members", type=int, default=1, choices=(1, 3), help="of the replica set")
    parser.add_argument("--quick", action="store_true", help="short leases")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep counts, what was broken, and all samples")
    parser.add_argument("--home", type=Path, help="keep data and logs here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
