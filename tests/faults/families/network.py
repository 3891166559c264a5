"""Two hosts of workers, each a network namespace of our own, of which one loses its way to Redis or to MongoDB.

The hub is a third namespace with a bridge on which the servers and the sandbox listen, each at its own address, so that
one can be cut off from a host and the others not. Packets vanish in both directions, as in a broken network: nobody is
refused. The other host goes on meanwhile, and takes over: recovery is counted from the beginning of the cut until every
call that was open then is closed and every running thread has moved.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from bson import ObjectId

from tests.faults.rig import STANDARD, Rig, open_rig
from tests.faults.servers import MongoServer, RedisServer
from tests.faults.trial import Row, Trial

CUT_LEASES = 1.5  # 30 s by default
SANDBOX, MONGO, REDIS = "10.77.0.1", "10.77.0.2", "10.77.0.3"  # only inside our own namespaces
HOSTS = ("10.77.0.11", "10.77.0.12")
_CLONE_NEWNET = 0x40000000


class Net:
    """The namespaces, and what is cut in them."""

    def __init__(self) -> None:
        self.name = f"ox{str(ObjectId())[-8:]}"
        self.hub = f"{self.name}h"
        self.hosts = [f"{self.name}{n}" for n in range(len(HOSTS))]

    def build(self) -> None:
        """Make the namespaces and their links."""
        for namespace in (self.hub, *self.hosts):
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", self.hub, "link", "add", "bridge0", "type", "bridge")
        _ip("-n", self.hub, "link", "set", "bridge0", "up")
        for address in (SANDBOX, MONGO, REDIS):
            _ip("-n", self.hub, "addr", "add", f"{address}/24", "dev", "bridge0")
        for n, (namespace, address) in enumerate(zip(self.hosts, HOSTS, strict=True)):
            peer = ("peer", "name", "eth0", "netns", namespace)
            _ip("-n", self.hub, "link", "add", f"host{n}", "type", "veth", *peer)
            _ip("-n", self.hub, "link", "set", f"host{n}", "master", "bridge0", "up")
            _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "eth0", "up")
        _ip("-n", self.hub, "rule", "add", "pref", "100", "lookup", "local")  # so that ours come before it
        _ip("-n", self.hub, "rule", "del", "pref", "0")

    def remove(self) -> None:
        """Take everything away; links go with their namespaces."""
        for namespace in (self.hub, *self.hosts):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", namespace)

    @contextmanager
    def cut(self, host: str, server: str) -> Iterator[None]:
        """No packet passes between a host and a server."""
        rules = [("pref", "10", "from", a, "to", b, "blackhole") for a, b in ((host, server), (server, host))]
        for rule in rules:
            _ip("-n", self.hub, "rule", "add", *rule)
        try:
            yield
        finally:
            for rule in rules:
                _ip("-n", self.hub, "rule", "del", *rule)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and what it starts meanwhile, lives in the hub."""
        with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{self.hub}", "rb") as hub:
            _enter(hub.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


_NETS: dict[int, Net] = {}  # by the id of the rig that lives in it


@contextmanager
def open_net_rig(home: Path, settings: Mapping[str, object]) -> Iterator[Rig]:
    """A worker and a control worker on each of two hosts; the beat is with the servers."""
    net = Net()
    try:
        net.build()
        with net.entered(), _servers(home) as (mongo, redis):
            shape = replace(STANDARD, workers=0, controls=0)
            with open_rig(shape, home / "rig", mongo, redis, settings=settings, host=SANDBOX) as rig:
                _NETS[id(rig)] = net
                for namespace in net.hosts:
                    rig.start("worker", host=namespace)
                    rig.start("control", host=namespace)
                rig.start("beat")
                rig.await_ready()
                yield rig
    finally:
        net.remove()


def cut_off(trial: Trial, server: str) -> None:
    """The first host cannot reach the server for 30 s, under load."""
    trial.submit()
    trial.await_load()
    began = time.time()
    takes_over = server != REDIS  # the other host makes the calls again: nobody there can know that they are under way
    with trial.fault(loses_answers=takes_over), _NETS[id(trial.rig)].cut(HOSTS[0], server):
        time.sleep(CUT_LEASES * trial.rig.settings.lease_s)
    trial.over = began


def lacks_namespaces() -> str | None:
    """Why there can be no namespaces here."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the program ip (iproute2)"
    net = Net()
    try:
        net.build()
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed here: {error.stderr.strip()}"
    finally:
        net.remove()
    return None


@contextmanager
def _servers(home: Path) -> Iterator[tuple[MongoServer, RedisServer]]:
    mongo = MongoServer(home / "mongo", host=MONGO)
    try:
        redis = RedisServer(home / "redis", host=REDIS)
        try:
            yield mongo, redis
        finally:
            redis.process.stop()
    finally:
        mongo.stop()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


ROWS = [
    Row(
        "network",
        f"one of two hosts cut off from {name}",
        "30 s, healed",
        lambda t, s=server: cut_off(t, s),  # type: ignore[misc]
        opens=open_net_rig,
        is_small=server == MONGO,
        why_not=lacks_namespaces,
    )
    for name, server in {"Redis": REDIS, "MongoDB": MONGO}.items()
]
