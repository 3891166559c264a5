"""One run of one row: submit, wait for the moment, do the fault, wait for the end, judge."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bson import ObjectId, Timestamp
from pymongo.errors import PyMongoError

from orchestratex.domain.thread import Thread
from orchestratex.faultpoints import Action, FaultPoint
from orchestratex.sandbox.ledger import OK, OPEN, Entry
from orchestratex.settings import Settings
from orchestratex.steps.submit import SessionRequest, ThreadRequest, open_session, submit
from orchestratex.store.base import COLLECTIONS
from tests.cluster import wait_for
from tests.faults.history import RESPONSES, THREADS, History, Outage, read_oplog
from tests.faults.invariants import FLIGHT_S, MONEY, Call, Evidence, Window, check
from tests.faults.rig import STANDARD, Rig, Rigs, Shape

MOMENT_S: Final = 90.0  # a moment that has not come by then does not come
PATIENT_S: Final = 3.0  # on a busy machine calls end as fast as others begin: then fewer at once will do
END_S: Final = 240.0
QUIET_S: Final = 90.0  # what is left over is settled within a lease and an outage's amnesty
COST_LIMIT: Final = 1000.0  # US dollars: the account has a limit, no row comes near it
TASKS: Final = (
    "sort a linked list in Python",
    "translate a letter into French",
    "prove that the square root of two is irrational",
    "write a short poem about autumn",
    "tell whether a review is positive",
    "name the capital of each Nordic country",
)


Open = Callable[[Path, Mapping[str, object]], AbstractContextManager[Rig]]  # of a home and the engine's settings


def stand_limit_s(settings: Settings) -> float:
    """The stall limit, within which a crash is mended (30 s by default), and one interval of reconcile."""
    return settings.lease_s + 2 * settings.reconcile_s + settings.reconcile_s


@dataclass(frozen=True)
class Row:
    """One fault at one moment."""

    family: str
    fault: str
    moment: str
    run: Callable[[Trial], None]  # submits, waits for the moment, does the fault, says when it was over
    shape: Shape = STANDARD
    opens: Open | None = None  # how its own servers are made, where the rigs' servers do not do
    latency_s: float = 0.5  # of the models
    iterations: int = 2
    preferred_models: tuple[str, ...] = ()
    is_fresh: bool = False  # on a rig of its own: the engine must not remember an earlier row
    is_small: bool = False  # part of the small version
    why_not: Callable[[], str | None] = lambda: None  # what this machine lacks for it

    @property
    def name(self) -> str:
        """What `--rows` is matched with."""
        return f"{self.family}: {self.fault}, {self.moment}"


@dataclass(frozen=True)
class Order:
    """An order for a fault point."""

    directory: Path
    name: str

    @property
    def hit(self) -> Path | None:
        """The file of the process that took it."""
        return next(self.directory.glob(f"hit.{self.name}.*"), None)

    def await_hit(self) -> float:
        """Wait until a process has reached the point; returns when it did."""
        found: Path = wait_for(lambda: self.hit, timeout_s=MOMENT_S, what=f"a process at {self.name}")
        return found.stat().st_ctime

    def pid(self) -> int:
        """The process that took it."""
        return int(str(self.hit).rpartition(".")[2])

    def release(self) -> None:
        """Let a paused process go on."""
        if (hit := self.hit) is not None:
            hit.unlink()


@dataclass
class Result:
    """What one run showed; a row of the table sums these up."""

    family: str
    fault: str
    moment: str
    threads: int = 0
    lost: int = 0
    stuck: int = 0
    overspent: int = 0
    paid_after_save: int = 0
    repeated: int = 0
    in_flight: int = 0
    recovery_s: float | None = None
    longest_stand_s: float = 0.0
    seconds: float = 0.0
    broken: dict[str, list[str]] = field(default_factory=dict)
    skipped: str | None = None

    def dump(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


class Trial:
    """What a row's function works with."""

    def __init__(self, row: Row, rig: Rig, threads: int, *, slack_s: float = 0.0) -> None:
        self.row, self.rig, self.count = row, rig, threads
        self._slack_s = slack_s
        self.threads: list[Thread] = []
        self.windows: list[Window] = []
        self.outages: list[Outage] = []
        self.over: float | None = None  # when the fault was over; None: it was there for the whole run
        self.may_fail = False
        self.problems: list[str] = []
        self._since = len(rig.sandbox.state.ledger.entries)
        self._client = rig.mongo.client()
        self._database = self._client[rig.database]
        self._began = self._client["local"]["oplog.rs"].find_one(sort=[("$natural", -1)]) or {}
        session = SessionRequest(
            max_iterations=row.iterations, cost_limit=COST_LIMIT, preferred_models=list(row.preferred_models) or None
        )
        self._session_id = open_session(session, rig.services).id
        rig.play(latency_s=row.latency_s)

    # -- moments

    def submit(self, count: int | None = None) -> None:
        """Submit the row's threads, or so many."""
        first = len(self.threads)
        requests = [
            ThreadRequest(prompt=f"Explain how to {TASKS[n % len(TASKS)]}, with an example. Variant {n}.")
            for n in range(first, first + (count or self.count))
        ]
        self.threads += submit(self._session_id, requests, self.rig.services)

    def arm(self, point: FaultPoint, action: Action) -> Order:
        """Order the next process that reaches a point to do something."""
        name = f"{point}.{ObjectId()}"
        draft = self.rig.points / f"draft.{name}"
        draft.write_text(action)
        draft.rename(self.rig.points / name)  # whole at once: a process must not read half an order
        return Order(self.rig.points, name)

    def open_calls(self, task: str = "") -> int:
        """The models' calls under way, of a task or all: answer, evaluate, refine."""
        return sum(e.ended is None and e.task.startswith(task) for e in self.rig.entries(self._since))

    def answered_calls(self) -> int:
        """Calls that the models have answered."""
        return sum(e.ended is not None for e in self.rig.entries(self._since))

    def await_calls(self, task: str = "", *, least: int | None = None) -> None:
        """Wait until so many calls of a task are under way, half of the threads' by default; later, any."""
        wanted = least or max(1, self.count // 2)
        patient_until = time.monotonic() + PATIENT_S

        def are_enough() -> bool:
            found = self.open_calls(task)
            return found >= wanted or (found > 0 and time.monotonic() > patient_until)

        wait_for(are_enough, timeout_s=MOMENT_S, what=f"calls {task}")

    def await_load(self) -> None:
        """Wait until work is under way in every way: some calls answered, others open."""
        wait_for(lambda: self.answered_calls() >= self.count and self.open_calls(), timeout_s=MOMENT_S, what="load")

    def await_fan_in(self) -> None:
        """Wait until a panel has some of its evaluations, and not all."""

        def is_mixed() -> bool:
            query = {"session_id": self._session_id, "role": "evaluator"}
            closed = {r["thread_id"] for r in self._database[RESPONSES].find({**query, "status": "completed"})}
            open_ = {r["thread_id"] for r in self._database[RESPONSES].find({**query, "status": "pending"})}
            return bool(closed & open_)

        wait_for(is_mixed, timeout_s=MOMENT_S, what="a panel half full")

    def pause_at_step(self, step: str) -> Order:
        """Have a process stand still that has claimed this step, and done nothing of it."""
        order = self.arm(FaultPoint.STEP_CLAIMED, Action.PAUSE)
        deadline = time.monotonic() + MOMENT_S
        while True:
            order.await_hit()
            query = {"session_id": self._session_id, "due_step": step, "lease_token": {"$type": "string"}}
            if self._database[THREADS].find_one(query):
                return order
            if time.monotonic() > deadline:
                raise AssertionError(f"no thread came to {step} within {MOMENT_S:g} s")
            following = self.arm(FaultPoint.STEP_CLAIMED, Action.PAUSE)
            order.release()
            order = following

    def spoiled_calls(self) -> int:
        """Calls that the models did wrong."""
        return sum(e.outcome not in {OK, OPEN} for e in self.rig.entries(self._since))

    # -- what happened

    @contextmanager
    def fault(self, *, is_outage: bool = False, loses_answers: bool = False) -> Iterator[None]:
        """The time of the fault; an outage is one in which nobody can work."""
        started = time.time()
        yield
        self.note_fault(started, is_outage=is_outage, loses_answers=loses_answers)

    def note_fault(
        self, started: float, *, is_outage: bool = False, seconds: float = FLIGHT_S, loses_answers: bool = True
    ) -> None:
        """A fault that began then is over now; where it loses answers, it loses those of its first seconds."""
        ended = time.time()
        self.windows.append(Window(started, min(ended, started + seconds), loses_answers))
        if is_outage:
            self.outages.append(Outage(started, ended))
        self.over = ended

    def expect(self, is_so: bool, otherwise: str) -> None:
        """What the row itself promises."""
        if not is_so:
            self.problems.append(otherwise)

    # -- the end

    def await_end(self) -> None:
        """Wait until every thread has ended and nothing is left over, or the time for it is past."""
        with _patience():
            wait_for(self._have_all_ended, timeout_s=END_S, what="the end of all threads")
        with _patience():
            wait_for(self._is_quiet, timeout_s=QUIET_S, what="the end of all leases and reservations")

    def judge(self) -> Result:
        """Check the invariants."""
        evidence, history = self._gather()
        broken = check(evidence)
        if self.problems:
            broken["what the row itself promises"] = self.problems
        longest = max((stand.seconds for stand in evidence.stands), default=0.0)
        recovery = longest if self.over is None else history.recovery_s(self.over)
        return Result(
            family=self.row.family,
            fault=self.row.fault,
            moment=self.row.moment,
            threads=len(self.threads),
            lost=len(broken.get("every thread ends", ())),
            stuck=len(broken.get("nothing stands", ())),
            overspent=sum(len(broken.get(name, ())) for name in MONEY),
            paid_after_save=len(broken.get("no saved call is paid again", ())),
            repeated=len(evidence.repeats),
            in_flight=len(evidence.in_flight),
            recovery_s=recovery,
            longest_stand_s=longest,
            broken=broken,
        )

    def close(self) -> None:
        """Let go of what it held; nothing that it ordered is carried out later."""
        for order in self.rig.points.iterdir():
            order.unlink(missing_ok=True)
        self._client.close()

    def _gather(self) -> tuple[Evidence, History]:
        documents = {name: list(self._database[name].find(self._query(name))) for name in COLLECTIONS}
        parents = {str(r["_id"]): str(r["thread_id"]) for r in documents[RESPONSES]}
        known = {*parents, *(str(thread["_id"]) for thread in documents[THREADS])}
        since = {"ts": {"$gt": self._began.get("ts", Timestamp(0, 0))}}
        entries = self._client["local"]["oplog.rs"].find(since)
        history = History((w for w in read_oplog(entries, self.rig.database) if w.id in known), parents)
        evidence = Evidence(
            submitted=[str(thread.id) for thread in self.threads],
            documents=documents,
            calls=[read_call(entry) for entry in self.rig.entries(self._since)],
            saved=history.saved(),
            stands=history.stands(self.outages),
            windows=self.windows,
            stand_limit_s=stand_limit_s(self.rig.settings) + self._slack_s,
            may_fail=self.may_fail,
        )
        return evidence, history

    def _query(self, collection: str) -> dict[str, Any]:
        if collection == "user_sessions":
            return {"_id": self._session_id}
        has_session = "session_id" in COLLECTIONS[collection].model_fields
        return {"session_id": self._session_id} if has_session else {}

    def _have_all_ended(self) -> bool:
        query = {"session_id": self._session_id, "thread_status": {"$nin": ["completed", "failed"]}}
        return self._ask(lambda: self._database[THREADS].find_one(query) is None)

    def _is_quiet(self) -> bool:
        leased = {"session_id": self._session_id, "lease_token": {"$type": "string"}}

        def look() -> bool:
            session = self._database["user_sessions"].find_one({"_id": self._session_id}) or {}
            busy = any(self._database[name].find_one(leased) for name in (THREADS, RESPONSES))
            return not (busy or session.get("reservations") or self.open_calls())

        return self._ask(look)

    def _ask(self, question: Callable[[], bool]) -> bool:
        try:
            return question()
        except PyMongoError:
            return False


def run_row(row: Row, rigs: Rigs, *, threads: int) -> Result:
    """Run a row once. Whatever goes wrong is part of the result."""
    missing = row.why_not()
    if missing:
        return Result(row.family, row.fault, row.moment, skipped=missing)
    if row.is_fresh:
        rigs.drop()
    if row.opens is None:
        result = _run_on(row, rigs.of(row.shape), threads, rigs.slack_s)
        if result.broken:
            rigs.drop()
        return result
    rigs.drop()  # two rigs at once are too much for a small machine
    with row.opens(rigs.home / f"own-{ObjectId()}", rigs.settings) as rig:
        return _run_on(row, rig, threads, rigs.slack_s)


def _run_on(row: Row, rig: Rig, threads: int, slack_s: float) -> Result:
    began = time.monotonic()
    trial = Trial(row, rig, threads, slack_s=slack_s)
    try:
        row.run(trial)
        trial.await_end()
    except AssertionError as error:  # a moment did not come, a server did not come back
        trial.problems.append(str(error))
    finally:
        result = trial.judge()
        trial.close()
    result.seconds = round(time.monotonic() - began, 1)
    return result


def median(values: Sequence[float]) -> float | None:
    """The middle one, where there is any."""
    return statistics.median(values) if values else None


@contextmanager
def _patience() -> Iterator[None]:
    """What has not ended by then is found by the invariants, which say what it is."""
    try:
        yield
    except AssertionError:
        return


def read_call(entry: Entry) -> Call:
    """A call as the sandbox has it."""
    ended = None if entry.ended is None else entry.started_wall + (entry.ended - entry.started)
    return Call(
        response_id=entry.response_id,
        attempt=int(entry.idempotency_key.rpartition(".")[2]),
        started=entry.started_wall,
        ended=ended,
        outcome=entry.outcome,
        is_charged=entry.is_charged,
        cost_nanos=entry.cost_nanos,
    )
