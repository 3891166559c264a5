"""A master, its replica and the Sentinel that watches them, on free ports."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from orchestratex.local.binaries import find_binary
from orchestratex.local.ports import LOOPBACK, free_port
from tests.cluster import wait_for

MASTER = "ox-master"
PASSWORD = "m4ster-pass"


class Watched:
    """What the Sentinel watches, and who is master."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._binary = str(find_binary("valkey-server"))
        self.ports = (free_port(), free_port())
        self.sentinel_port = free_port()
        common = ["--requirepass", PASSWORD, "--masterauth", PASSWORD]
        self._processes = [self._start("master", self.ports[0], common)]
        wait_for(lambda: self._ask(self.ports[0]), timeout_s=20, what="a master")
        replica = ["--replicaof", LOOPBACK, str(self.ports[0]), *common]
        self._processes.append(self._start("replica", self.ports[1], replica))
        wait_for(self._is_replicating, timeout_s=30, what="a replica")
        self._start_sentinel()  # last: it asks the master for its replicas at once, and then every ten seconds
        wait_for(lambda: self._state().get("num-slaves") == 1, timeout_s=30, what="a Sentinel that knows both")

    @property
    def url(self) -> str:
        """The Sentinels' address; one of them is away."""
        away = f"sentinel://{LOOPBACK}:{free_port()}"
        return f"sentinel://:{PASSWORD}@{LOOPBACK}:{self.sentinel_port};{away}/0"

    def kill_master(self) -> None:
        """kill -9; returns when the Sentinel has made the replica master."""
        self._processes[0].kill()
        self._processes[0].wait()
        wait_for(lambda: self._master_port() == self.ports[1], timeout_s=30, what="another master")
        wait_for(lambda: self._ask(self.ports[1]) == "master", timeout_s=30, what="a master that knows that it is one")

    def stop(self) -> None:
        """End all of them."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _start(self, name: str, port: int, options: list[str]) -> subprocess.Popen[bytes]:
        (self._home / name).mkdir()
        base = [self._binary, "--port", str(port), "--bind", LOOPBACK, "--dir", str(self._home / name), "--save", ""]
        return self._run([*base, *options], name)

    def _start_sentinel(self) -> None:
        path = self._home / "sentinel.conf"
        path.write_text(
            f"port {self.sentinel_port}\nbind {LOOPBACK}\ndir {self._home}\n"
            f"sentinel monitor {MASTER} {LOOPBACK} {self.ports[0]} 1\n"
            f"sentinel auth-pass {MASTER} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {MASTER} 1000\n"
            f"sentinel failover-timeout {MASTER} 5000\n"
        )
        self._processes.append(self._run([self._binary, str(path), "--sentinel"], "sentinel"))

    def _run(self, command: list[str], name: str) -> subprocess.Popen[bytes]:
        with (self._home / f"{name}.out").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def _ask(self, port: int) -> str | None:
        try:
            with redis.Redis(host=LOOPBACK, port=port, password=PASSWORD, socket_timeout=2) as client:
                return str(client.info("replication")["role"])
        except redis.RedisError:
            return None

    def _state(self) -> dict[str, Any]:
        try:
            with redis.Redis(host=LOOPBACK, port=self.sentinel_port, decode_responses=True, socket_timeout=2) as client:
                return dict(client.sentinel_master(MASTER))
        except redis.RedisError:
            return {}

    def _master_port(self) -> int:
        return int(self._state().get("port", 0))

    def _is_replicating(self) -> bool:
        with redis.Redis(host=LOOPBACK, port=self.ports[1], password=PASSWORD, socket_timeout=2) as client:
            try:
                return bool(client.info("replication").get("master_link_status") == "up")
            except redis.RedisError:
                return False


@contextmanager
def open_watched(home: Path) -> Iterator[Watched]:
    """Master, replica and Sentinel for as long as the block."""
    home.mkdir()
    watched = Watched(home)
    try:
        yield watched
    finally:
        watched.stop()
