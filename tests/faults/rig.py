"""What a fault is done to: servers, worker processes, beats, and the models' sandbox, all our own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bson import ObjectId

from orchestratex.bootstrap import make_services, make_store
from orchestratex.domain.profile import RateLimits
from orchestratex.local.ports import LOOPBACK
from orchestratex.local.processes import process_commands
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.ledger import Entry
from orchestratex.sandbox.server import Running, serve
from orchestratex.settings import Settings
from orchestratex.steps.services import Services
from orchestratex.store.migrations import init_db
from tests.cluster import ROOT, wait_for
from tests.faults.proxy import SlowProxy
from tests.faults.servers import MongoServer, Process, RedisServer

DEFAULT: Final[Mapping[str, object]] = {}  # the engine's own settings: they promise 30 s
QUICK: Final[Mapping[str, object]] = {"lease_s": 6, "heartbeat_s": 1, "reconcile_s": 1, "resend_s": 3}
READY_S: Final = 90.0


@dataclass(frozen=True)
class Shape:
    """Which processes there are, and over which servers. Rows of one shape share a rig."""

    workers: int = 2
    controls: int = 2
    beats: int = 1
    app: str = "workers.app"
    pool: str = "threads"  # of the workers; control is prefork
    members: int = 1  # of the replica set
    is_slow_redis: bool = False  # Redis behind a proxy that can delay
    worker_environment: tuple[tuple[str, str], ...] = ()  # of the first worker only
    control_environment: tuple[tuple[str, str], ...] = ()  # of the first control worker only
    settings: tuple[tuple[str, object], ...] = ()


STANDARD: Final = Shape()


class Servers:
    """The servers of a run, each started when the first row asks for it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._mongo: dict[int, MongoServer] = {}
        self._redis: RedisServer | None = None

    def mongo(self, members: int) -> MongoServer:
        """The replica set of so many members."""
        if members not in self._mongo:
            self._mongo[members] = MongoServer(self._home / f"mongo{members}", members=members)
        return self._mongo[members]

    def redis(self) -> RedisServer:
        """The broker."""
        if self._redis is None:
            self._redis = RedisServer(self._home / "redis")
        return self._redis

    def stop(self) -> None:
        """End all of them."""
        for server in self._mongo.values():
            server.stop()
        if self._redis is not None:
            self._redis.process.stop()


@dataclass
class Member:
    """A worker, control worker, or beat, and how it was started."""

    kind: str
    process: Process
    host: str | None = None  # the network namespace that it lives in

    @property
    def is_ready(self) -> bool:
        """Whether a worker takes messages; beats say nothing of the kind."""
        return self.kind in {"beat", "api"} or " ready." in self.process.text()


class Rig:
    """The processes over the servers. `points` is where orders for the fault points are put."""

    def __init__(
        self,
        shape: Shape,
        home: Path,
        sandbox: Running,
        mongo: MongoServer,
        redis: RedisServer,
        settings: Mapping[str, object],
    ) -> None:
        self.shape, self.home, self.sandbox = shape, home, sandbox
        self.mongo, self.redis = mongo, redis
        self.points = home / "points"
        self.points.mkdir(parents=True)
        self.database = f"t{ObjectId()}"
        self.proxy = SlowProxy(redis.host, redis.port) if shape.is_slow_redis else None
        self.environment = self._environment({**settings, **dict(shape.settings)})
        fields = {key.removeprefix("ORCHESTRATEX_").lower(): value for key, value in self.environment.items()}
        straight = {**fields, "redis_url": redis.url, "fault_points": None}  # who judges is not to suffer
        self.settings = Settings.model_validate({k: v for k, v in straight.items() if v is not None})
        store = make_store(self.settings)
        init_db(store)
        store.close()
        self.services: Services = make_services(self.settings)
        self._lift_rate_limits()
        self.members: list[Member] = []

    def start(self, kind: str, *, environment: Mapping[str, str] | None = None, host: str | None = None) -> Member:
        """Start a process of the Procfile."""
        number = len(self.members)
        env = {**os.environ, **self.environment, **(environment or {}), "PYTHONPATH": str(ROOT)}
        command = process_commands(env, instance=f"{self.database}-{number}")[kind]
        swaps = {"workers.app": self.shape.app, **({"threads": self.shape.pool} if kind == "worker" else {})}
        command = [swaps.get(part, part) for part in command]
        where = ["ip", "netns", "exec", host] if host else []
        member = Member(kind, Process(f"{kind}{number}", [*where, *command], home=self.home, env=env), host)
        self.members.append(member)
        return member

    def start_all(self) -> None:
        """Start what the shape says, and wait until it is ready."""
        for n in range(self.shape.workers):
            self.start("worker", environment=dict(self.shape.worker_environment) if n == 0 else None)
        for n in range(self.shape.controls):
            self.start("control", environment=dict(self.shape.control_environment) if n == 0 else None)
        for _ in range(self.shape.beats):
            self.start("beat")
        self.await_ready()

    def await_ready(self) -> None:
        """Wait until every worker takes messages."""
        wait_for(lambda: all(member.is_ready for member in self.members), timeout_s=READY_S, what="ready workers")

    def of(self, *kinds: str) -> list[Member]:
        """The members of some kinds that are alive."""
        return [member for member in self.members if member.kind in kinds and member.process.is_alive]

    def supervise(self) -> int:
        """Start again what has ended, as a supervisor would; returns how many."""
        dead = [member for member in self.members if not member.process.is_alive]
        for member in dead:
            member.process.restart()
        return len(dead)

    def play(self, *, latency_s: float, faults: tuple[Any, ...] = ()) -> None:
        """Tell the sandbox how long its models think, and what they do wrong."""
        state = self.sandbox.state
        state.config = state.config.model_copy(update={"fixed_latency_s": latency_s})
        state.plan.replace(faults)

    def entries(self, since: int) -> list[Entry]:
        """The sandbox's calls from a number on, probes left out."""
        return [entry for entry in self.sandbox.state.ledger.entries[since:] if _is_of_a_response(entry)]

    def stop(self) -> None:
        """End all processes."""
        for order in self.points.iterdir():
            order.unlink()
        for member in self.members:
            member.process.kill()
        with contextlib.suppress(Exception):  # its servers may be gone already
            self.services.close()
        if self.proxy:
            self.proxy.close()

    def _environment(self, settings: Mapping[str, object]) -> dict[str, str]:
        return {
            "ORCHESTRATEX_MONGODB_URI": self.mongo.uri,
            "ORCHESTRATEX_MONGODB_DATABASE": self.database,
            "ORCHESTRATEX_REDIS_URL": self.proxy.url if self.proxy else self.redis.url,
            "ORCHESTRATEX_BROKER_PREFIX": f"{self.database}:",
            "ORCHESTRATEX_MODELS_BASE_URL": self.sandbox.base_url,
            "ORCHESTRATEX_MODELS_API_KEY": "sandbox",
            "ORCHESTRATEX_FAULT_POINTS": str(self.points),
            "ORCHESTRATEX_CONTROL_CONCURRENCY": "1",
            "ORCHESTRATEX_PANEL_SIZE": "7",  # every other model evaluates: more that can go wrong
            **{f"ORCHESTRATEX_{key.upper()}": str(value) for key, value in settings.items()},
        }

    def _lift_rate_limits(self) -> None:
        limits = RateLimits(requests_per_minute=10**6, tokens_per_minute=10**9)  # faults are about something else
        for profile in self.services.store.profiles():
            self.services.store.update_profile(profile.model_name, {"rate_limits": limits})


class Rigs:
    """One rig at a time: kept for the next row when that wants the same shape, else ended."""

    def __init__(self, home: Path, settings: Mapping[str, object], *, slack_s: float = 0.0) -> None:
        """`slack_s` is granted beyond the limit for standing."""
        self.home, self.settings, self.slack_s = home, settings, slack_s
        self._servers = Servers(home)
        self._stack = ExitStack()
        self._rig: Rig | None = None
        self._number = 0

    def of(self, shape: Shape) -> Rig:
        """A rig of the shape, whole and ready."""
        if self._rig is None or self._rig.shape != shape:
            self.drop()
            self._rig = self._stack.enter_context(self._open(shape))
        if self._rig.supervise():
            self._rig.await_ready()
        return self._rig

    def drop(self) -> None:
        """End the present rig: what a broken row left must not break the next one."""
        self._stack.close()
        self._stack, self._rig = ExitStack(), None

    def close(self) -> None:
        """End everything."""
        self.drop()
        self._servers.stop()

    @contextmanager
    def _open(self, shape: Shape) -> Iterator[Rig]:
        self._number += 1
        home = self.home / f"rig{self._number}"
        servers = (self._servers.mongo(shape.members), self._servers.redis())
        with open_rig(shape, home, *servers, settings=self.settings) as rig:
            rig.start_all()
            yield rig


@contextmanager
def open_rig(
    shape: Shape,
    home: Path,
    mongo: MongoServer,
    redis: RedisServer,
    *,
    settings: Mapping[str, object],
    host: str = LOOPBACK,
) -> Iterator[Rig]:
    """A rig without processes over given servers."""
    with serve(SandboxConfig(fixed_latency_s=0.5), host=host) as sandbox:
        rig = Rig(shape, home, sandbox, mongo, redis, settings)
        try:
            yield rig
        finally:
            rig.stop()


def _is_of_a_response(entry: Entry) -> bool:
    return ObjectId.is_valid(entry.response_id)
