"""An embedded redis-server: the broker, kept on disk about once a second."""

from __future__ import annotations

from pathlib import Path

import redis

from orchestratex.errors import LocalStackError
from orchestratex.local.child import Child, Command
from orchestratex.local.output import LogFiles
from orchestratex.local.ports import LOOPBACK
from orchestratex.local.service import (
    START_TRIES,
    PortLostError,
    Service,
    choose_port,
    launch,
    make_server_command,
    wait_until,
    write_port,
)

NAME = "redis"


def start_redis(binary: Path, data_dir: Path, port: int | None = None, *, logs: LogFiles) -> Service:
    """Start redis-server on loopback and return it when it answers. Ports and errors as of `start_mongod`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    for _ in range(START_TRIES):
        chosen = choose_port(port, data_dir)
        try:
            return _start_once(binary, data_dir, chosen, logs)
        except PortLostError:
            continue
    raise LocalStackError(f"redis-server found no port in {START_TRIES} tries: other programs took them first")


def make_url(port: int) -> str:
    """Address the broker's database."""
    return f"redis://{LOOPBACK}:{port}/0"


def is_answering(port: int) -> bool:
    """Tell whether a Redis that has loaded its data answers on the port."""
    return _answering_pid(port) is not None


def _start_once(binary: Path, data_dir: Path, port: int, logs: LogFiles) -> Service:
    command = _make_command(binary, data_dir, port)
    child = launch(command, port, logs)
    try:
        wait_until(lambda: _is_ready(port, child), child, command, logs)
    except BaseException:
        child.finish()
        raise
    write_port(data_dir, port)
    return Service(name=NAME, uri=make_url(port), port=port, command=command, child=child)


def _make_command(binary: Path, data_dir: Path, port: int) -> Command:
    argv = [str(binary), "--port", str(port), "--bind", LOOPBACK, "--dir", str(data_dir), "--daemonize", "no"]
    argv += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    argv += ["--maxmemory-policy", "noeviction"]  # a full broker refuses messages, it does not forget them
    return make_server_command(NAME, argv, data_dir)


def _is_ready(port: int, child: Child) -> bool:
    pid = _answering_pid(port)
    if pid is not None and pid != child.main_pid():
        raise PortLostError
    return pid is not None


def _answering_pid(port: int) -> int | None:
    with redis.Redis(host=LOOPBACK, port=port, socket_connect_timeout=2, socket_timeout=2) as client:
        try:
            client.ping()
            return int(client.info("server")["process_id"])
        except redis.RedisError:  # refused, or still loading its data
            return None
