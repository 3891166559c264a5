"""Real servers and workers for integration tests, each test with a database and broker keys of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from bson import ObjectId
from pymongo.database import Database

from orchestratex.bootstrap import make_services, make_store
from orchestratex.domain.base import to_nanos
from orchestratex.domain.profile import RateLimits
from orchestratex.domain.thread import Thread
from orchestratex.local.binaries import find_binary
from orchestratex.local.mongod import start_mongod
from orchestratex.local.output import LogFiles
from orchestratex.local.processes import process_commands
from orchestratex.local.redis_server import start_redis
from orchestratex.local.service import Service
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.server import Running, serve
from orchestratex.settings import Settings
from orchestratex.steps.services import Services
from orchestratex.steps.submit import SessionRequest, ThreadRequest, open_session, submit
from orchestratex.store.migrations import init_db, shipped_profiles
from orchestratex.store.mongo import MongoStore

ROOT = Path(__file__).parents[1]
POLL_S = 0.05


def wait_for(condition: Callable[[], Any], *, timeout_s: float, what: str) -> Any:
    """Poll until the condition holds; returns what it returned."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(POLL_S)
    return found


class Servers:
    """One mongod and one Valkey for a whole test session."""

    def __init__(self, home: Path) -> None:
        (home / "logs").mkdir()
        logs = LogFiles(home / "logs")
        self.mongod: Service = start_mongod(find_binary("mongod"), home / "mongodb", logs=logs)
        self.redis: Service = start_redis(find_binary("valkey-server"), home / "redis", logs=logs)

    def stop(self) -> None:
        """Stop both."""
        for service in (self.redis, self.mongod):
            service.child.finish()


class Cluster:
    """Workers over the servers, and the sandbox that answers them."""

    def __init__(self, servers: Servers, sandbox: Running, home: Path, **settings: object) -> None:
        self.sandbox = sandbox
        self.home = home
        name = f"t{ObjectId()}"
        self.environment = {
            "ORCHESTRATEX_MONGODB_URI": servers.mongod.uri,
            "ORCHESTRATEX_MONGODB_DATABASE": name,
            "ORCHESTRATEX_REDIS_URL": servers.redis.uri,
            "ORCHESTRATEX_BROKER_PREFIX": f"{name}:",
            "ORCHESTRATEX_MODELS_BASE_URL": sandbox.base_url,
            "ORCHESTRATEX_MODELS_API_KEY": "sandbox",
            # every other model evaluates, and the choice of the answering one does not wander: more that can go wrong
            "ORCHESTRATEX_PANEL_SIZE": "7",
            "ORCHESTRATEX_EXPLORATION": "0",
            **{f"ORCHESTRATEX_{key.upper()}": str(value) for key, value in settings.items()},
        }
        fields = {key.removeprefix("ORCHESTRATEX_").lower(): value for key, value in self.environment.items()}
        self.settings = Settings.model_validate(fields)
        store = make_store(self.settings)
        init_db(store)
        store.close()
        self.services: Services = make_services(self.settings)
        self.set_rate_limits(requests_per_minute=10**6, tokens_per_minute=10**9)  # most tests are not about these
        self.processes: list[subprocess.Popen[bytes]] = []

    def set_rate_limits(self, *, requests_per_minute: int, tokens_per_minute: int) -> None:
        """The same limits for every model."""
        limits = RateLimits(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
        for profile in self.services.store.profiles():
            self.services.store.update_profile(profile.model_name, {"rate_limits": limits})

    def start(self, kind: str, *, app: str = "workers.app") -> subprocess.Popen[bytes]:
        """Start a process of the Procfile in a session of its own."""
        number = len(self.processes)
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(ROOT)}
        command = process_commands(environment, instance=f"{self.settings.mongodb_database}-{number}")[kind]
        command = [app if part == "workers.app" else part for part in command]
        with (self.home / f"{kind}.{number}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=self.home, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process

    @property
    def database(self) -> Database[dict[str, Any]]:
        """What another program sees."""
        store = self.services.store
        assert isinstance(store, MongoStore)
        return store.database

    def dump_store(self) -> str:
        """Every document of every collection, as text."""
        database = make_store(self.settings).database
        names = database.list_collection_names()
        text = "\n".join(repr(document) for name in names for document in database[name].find())
        database.client.close()
        return text

    def dump_broker(self) -> str:
        """Every value of this cluster's keys in Redis, as text."""
        prefix = self.environment["ORCHESTRATEX_BROKER_PREFIX"]
        readers = {"list": "lrange", "zset": "zrange"}
        with redis.Redis.from_url(self.environment["ORCHESTRATEX_REDIS_URL"], decode_responses=True) as client:
            values: list[object] = []
            for key in client.scan_iter(match=f"{prefix}*", count=1000):
                kind = str(client.type(key))
                if kind in readers:
                    values.append(getattr(client, readers[kind])(key, 0, -1))
                else:
                    values.append({"hash": client.hgetall, "set": client.smembers}.get(kind, client.get)(key))
        return repr(values)

    def flush_broker(self) -> None:
        """Delete every key of this cluster's broker, as a FLUSHALL would."""
        prefix = self.environment["ORCHESTRATEX_BROKER_PREFIX"]
        with redis.Redis.from_url(self.environment["ORCHESTRATEX_REDIS_URL"]) as client:
            for key in client.scan_iter(match=f"{prefix}*", count=1000):
                client.delete(key)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9 of a process and all its children."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def submit(self, prompts: Sequence[str], **session: object) -> list[Thread]:
        """All prompts as threads of one session."""
        opened = open_session(SessionRequest.model_validate(session), self.services)
        return submit(opened.id, [ThreadRequest(prompt=prompt) for prompt in prompts], self.services)

    def await_ended(self, threads: Sequence[Thread], *, timeout_s: float = 120) -> list[Thread]:
        """The threads once all have ended."""

        deadline = time.monotonic() + timeout_s
        ended: list[Thread] = []
        for thread in threads:  # one at a time: asking for all of them is work for mongod

            def find_ended(thread_id: ObjectId = thread.id) -> Thread | None:
                now = self.services.store.get_thread(thread_id)
                return now if now.is_ended else None

            left_s = max(1.0, deadline - time.monotonic())
            ended.append(wait_for(find_ended, timeout_s=left_s, what=f"the end of thread {thread.id}"))
        return ended

    def log_text(self) -> str:
        """What all processes printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.home.glob("*.log")))

    def stop(self) -> None:
        """End all processes: politely, then not."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()
        self.services.close()


@contextmanager
def open_servers() -> Iterator[Servers]:
    """Servers for one test session."""
    with tempfile.TemporaryDirectory(prefix="orchestratex-") as home:
        servers = Servers(Path(home))
        try:
            yield servers
        finally:
            servers.stop()


def _todays_prices() -> dict[str, tuple[int, int]]:
    """What the shipped profiles cost today, in nano-dollars per token: the models' own ledger counts alike."""
    profiles = shipped_profiles(datetime.now(UTC))
    return {
        each.model_name: (to_nanos(each.cost_per_input_token), to_nanos(each.cost_per_output_token))
        for each in profiles
    }


@contextmanager
def open_cluster(
    servers: Servers, home: Path, *, config: SandboxConfig | None = None, workers: int = 1, **settings: object
) -> Iterator[Cluster]:
    """A control worker and some model workers, over a sandbox of their own."""
    config = config or SandboxConfig(latency_scale=0.05)
    with serve(config.model_copy(update={"prices": {**_todays_prices(), **config.prices}})) as sandbox:
        cluster = Cluster(servers, sandbox, home, **settings)
        try:
            cluster.start("control")
            for _ in range(workers):
                cluster.start("worker")
            yield cluster
        finally:
            cluster.stop()
