"""An embedded Valkey (or redis-server): the broker, kept on disk about once a second."""

from __future__ import annotations

import hashlib
from pathlib import Path

import redis

from orchestratex.errors import LocalStackError
from orchestratex.local.access import USER, derive_password, take_key
from orchestratex.local.child import Command
from orchestratex.local.directory import make_private_directory, write_private
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
from orchestratex.local.versions import read_version
from orchestratex.local.writer import record_writer, refuse_other_writer

NAME = "redis"
# Celery and our scripts need neither; with CONFIG, MODULE, DEBUG or SHUTDOWN who has the password would own the server
RIGHTS = "+@all -@admin -@dangerous +info"
DISPOSABLE = f"or remove the directory {NAME}: messages that were lost with it are sent again"


def start_redis(binary: Path, data_dir: Path, port: int | None = None, *, logs: LogFiles) -> Service:
    """Start the server on loopback, with a password, and return it when it answers.

    Ports and errors as of `start_mongod`.
    """
    make_private_directory(data_dir)
    version = read_version(binary)
    refuse_other_writer(data_dir, binary, version, remedy=DISPOSABLE)
    _, key = take_key(data_dir)
    password = derive_password(key)
    write_private(data_dir / "users.acl", make_users(password))
    for _ in range(START_TRIES):
        chosen = choose_port(port, data_dir)
        try:
            service = _start_once(binary, data_dir, chosen, password, logs)
        except PortLostError:
            continue
        record_writer(data_dir, version)
        return service
    raise LocalStackError(f"{binary.name} found no port in {START_TRIES} tries: other programs took them first")


def make_users(password: str) -> str:
    """Return the access list: nobody without the password, and with it what messages and limits need."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user default off resetkeys resetchannels -@all\nuser {USER} on #{digest} ~* &* {RIGHTS}\n"


def make_url(port: int, password: str) -> str:
    """Address the broker's database."""
    return f"redis://{USER}:{password}@{LOOPBACK}:{port}/0"


def is_answering(url: str) -> bool:
    """Tell whether a server that has loaded its data answers at the address."""
    with redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:  # refused, or still loading its data
            return False


def _start_once(binary: Path, data_dir: Path, port: int, password: str, logs: LogFiles) -> Service:
    command, url = _make_command(binary, data_dir, port), make_url(port, password)
    child = launch(command, port, logs)
    try:
        wait_until(lambda: is_answering(url), child, command, logs)
    except BaseException:
        child.finish()
        raise
    write_port(data_dir, port)
    return Service(name=NAME, uri=url, port=port, command=command, child=child)


def _make_command(binary: Path, data_dir: Path, port: int) -> Command:
    argv = [str(binary), "--port", str(port), "--bind", LOOPBACK, "--dir", str(data_dir), "--daemonize", "no"]
    argv += ["--aclfile", str(data_dir / "users.acl")]
    argv += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    argv += ["--maxmemory-policy", "noeviction"]  # a full broker refuses messages, it does not forget them
    argv += ["--hz", "4"]  # a second it looks around: a BRPOP that gets nothing ends up to 0.25 s late
    return make_server_command(NAME, argv, data_dir)
