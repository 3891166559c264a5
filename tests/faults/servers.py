"""MongoDB and Redis whose processes a test may kill, stop and start again at the same address."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from orchestratex.local.binaries import find_binary
from orchestratex.local.child import Child, Command, start_child
from orchestratex.local.ports import LOOPBACK, free_port
from tests.cluster import wait_for

SET_NAME = "faults"
START_S = 60.0
ELECTION_MS = 4000  # the default of 10 s, shortened: elections are awaited, not measured


class Process:
    """One guarded process that ends with us; it can be started again."""

    def __init__(self, name: str, argv: Sequence[str], *, home: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = home / f"{name}.log"
        self._command = Command(name=name, argv=tuple(argv), env=dict(env or os.environ), cwd=home)
        self.child = self._start()

    @property
    def name(self) -> str:
        """What it is known as."""
        return self._command.name

    @property
    def pid(self) -> int | None:
        """The process's own id, and that of its group; None when it has ended."""
        return self.child.main_pid() if self.is_alive else None

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.child.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def kill(self) -> None:
        """kill -9 of the whole process group, and wait for its end."""
        child = self.child  # a supervisor may put another one there at once
        if (pid := child.main_pid() if child.poll() is None else None) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        child.finish()

    def restart(self) -> None:
        """Start it again with the same command line."""
        self.child.finish()
        self.child = self._start()

    def stop(self, grace_s: float = 10.0) -> None:
        """Ask it to end, then make it."""
        self.signal(signal.SIGCONT)
        self.child.stop(grace_s)

    def text(self) -> str:
        """What it printed, in all its lives."""
        return self.log.read_text(errors="replace")

    def _start(self) -> Child:
        output = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            return start_child(self._command, output_fd=output)
        finally:
            os.close(output)


class RedisServer:
    """A Valkey that keeps its data about once a second, as ours does."""

    def __init__(self, home: Path, *, host: str = LOOPBACK) -> None:
        home.mkdir(parents=True)
        self.host, self.port = host, free_port(host)
        argv = [str(find_binary("valkey-server")), "--port", str(self.port), "--bind", host, "--dir", str(home)]
        argv += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--protected-mode", "no"]
        self.process = Process("redis", argv, home=home)
        self.await_answer()

    @property
    def url(self) -> str:
        """The broker's address."""
        return f"redis://{self.host}:{self.port}/0"

    def client(self) -> redis.Redis:
        """A client that does not wait long."""
        return redis.Redis(host=self.host, port=self.port, socket_timeout=5, socket_connect_timeout=2)

    def await_answer(self) -> None:
        """Wait until it has loaded its data."""
        wait_for(self._answers, timeout_s=START_S, what="an answer of Redis")

    def flush(self) -> None:
        """FLUSHALL."""
        with self.client() as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class MongoServer:
    """A replica set of one member or three."""

    def __init__(
        self, home: Path, *, members: int = 1, host: str = LOOPBACK, data: Path | None = None, extra: Sequence[str] = ()
    ) -> None:
        home.mkdir(parents=True)
        self.host, self.disk = host, data or home
        self.ports = [free_port(host) for _ in range(members)]
        self.members = [
            Process(f"mongod{n}", [*_mongod(data or home / f"data{n}", host, port), *extra], home=home)
            for n, port in enumerate(self.ports)
        ]
        wait_for(lambda: all(map(self._listens, self.ports)), timeout_s=START_S, what="mongod")
        self._initiate()
        self.await_primary()

    @property
    def uri(self) -> str:
        """The set's address."""
        hosts = ",".join(f"{self.host}:{port}" for port in self.ports)
        return f"mongodb://{hosts}/?replicaSet={SET_NAME}"

    def client(self, *, patience_s: float = 30.0) -> MongoClient[dict[str, Any]]:
        """A client for looking and for judging."""
        return MongoClient(
            self.uri, tz_aware=True, serverSelectionTimeoutMS=round(patience_s * 1000), socketTimeoutMS=30_000
        )

    def primary(self) -> int | None:
        """The place of the member that is primary now, if there is one."""
        return next((n for n, port in enumerate(self.ports) if self._hello(port).get("isWritablePrimary")), None)

    def await_primary(self, *, other_than: int | None = None) -> int:
        """Wait for an election's end."""

        def find() -> int | None:
            place = self.primary()
            return None if place is None or place == other_than else place + 1

        return int(wait_for(find, timeout_s=START_S, what="a primary")) - 1

    def step_down(self, seconds: int) -> None:
        """Make the primary give up its office; a set of one has none for so long."""
        place = self.await_primary()
        with self._direct(self.ports[place]) as client, contextlib.suppress(PyMongoError):
            client.admin.command("replSetStepDown", seconds, secondaryCatchUpPeriodSecs=1, force=True)

    def kill_primary(self) -> Process:
        """kill -9 of the primary; returns its process, to be started again."""
        member = self.members[self.await_primary()]
        member.kill()
        return member

    def await_whole(self) -> None:
        """Wait until every member is primary or secondary."""

        def is_whole() -> bool:
            states = [self._hello(port) for port in self.ports]
            return all(state.get("isWritablePrimary") or state.get("secondary") for state in states)

        wait_for(is_whole, timeout_s=START_S, what="a whole replica set")
        self.await_primary()

    def stop(self) -> None:
        """End all members."""
        for member in self.members:
            member.stop(5.0)

    def _initiate(self) -> None:
        members = [{"_id": n, "host": f"{self.host}:{port}"} for n, port in enumerate(self.ports)]
        settings = {"electionTimeoutMillis": ELECTION_MS}
        with self._direct(self.ports[0]) as client:
            client.admin.command("replSetInitiate", {"_id": SET_NAME, "members": members, "settings": settings})

    def _listens(self, port: int) -> bool:
        return bool(self._hello(port))

    def _hello(self, port: int) -> dict[str, Any]:
        try:
            with self._direct(port) as client:
                return client.admin.command("hello")
        except PyMongoError:
            return {}

    def _direct(self, port: int) -> MongoClient[dict[str, Any]]:
        return MongoClient(self.host, port, directConnection=True, serverSelectionTimeoutMS=1000, socketTimeoutMS=5000)


def frozen_for(processes: Sequence[Process], seconds: float, begun: Callable[[], None] = lambda: None) -> None:
    """SIGSTOP for a time: connections stay open, nobody answers. `begun` is called when it has begun."""
    for process in processes:
        process.signal(signal.SIGSTOP)
    try:
        begun()
        time.sleep(seconds)
    finally:
        for process in processes:
            process.signal(signal.SIGCONT)


def _mongod(data: Path, host: str, port: int) -> list[str]:
    data.mkdir(parents=True, exist_ok=True)
    argv = [str(find_binary("mongod")), "--replSet", SET_NAME, "--port", str(port), "--bind_ip", host]
    argv += ["--dbpath", str(data), "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "256", "--nounixsocket"]
    return [*argv, "--setParameter", "diagnosticDataCollectionEnabled=false", "--quiet"]
