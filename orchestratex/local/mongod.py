"""An embedded mongod: a replica set of one, so that transactions and majority writes are real.

Nobody talks to it without the data directory's key: it starts with it, and is set up with it as `__system`, the user as
whom the members of a set know each other. There is no moment in which the first to come may do everything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure

from orchestratex.errors import LocalStackError
from orchestratex.local.access import USER, derive_password, take_key
from orchestratex.local.child import Command
from orchestratex.local.directory import make_private_directory
from orchestratex.local.mongo_user import EVERY_DATABASE, ensure_user
from orchestratex.local.output import LogFiles
from orchestratex.local.pids import describe_process
from orchestratex.local.ports import LOOPBACK
from orchestratex.local.service import (
    START_TRIES,
    PortLostError,
    Service,
    choose_port,
    launch,
    make_server_command,
    read_port,
    wait_until,
    write_port,
)
from orchestratex.local.versions import ServerVersion, read_version
from orchestratex.local.writer import record_writer, refuse_other_writer

NAME = "mongodb"
REPLICA_SET = "ox0"
CACHE_GB = 0.25  # mongod's smallest; the default is half of the machine
OPLOG_MB = 256  # nobody replicates from us
JOURNAL_MS = 500  # the longest; our writes wait for the journal, and each of them flushes it at once
NOT_INITIALIZED = 94
PASSING_CODES = {  # a member that starts or elects answers so for a moment
    10107,  # NotWritablePrimary
    11600,  # InterruptedAtShutdown
    11602,  # InterruptedDueToReplStateChange
    13436,  # NotPrimaryOrSecondary
    23,  # AlreadyInitialized: its own configuration was still being read
    109,  # ConfigurationInProgress
    NOT_INITIALIZED,
}

Client = MongoClient[dict[str, Any]]


def start_mongod(
    binary: Path, data_dir: Path, port: int | None = None, *, logs: LogFiles, database: str = EVERY_DATABASE
) -> Service:
    """Start mongod on loopback and return it when it is primary; its address holds a user of `database` alone.

    Without a wish for a port it takes the last one of the data directory, or a free one. A directory from before there
    were passwords gets one. Raises LocalStackError when the port or the data directory is in use (by whom), a newer
    server wrote the directory, or mongod ends (with the end of its log).
    """
    make_private_directory(data_dir)
    refuse_used_directory(data_dir)
    version = read_version(binary)
    refuse_other_writer(data_dir, binary, version, remedy="nothing in it was changed")
    _, key = take_key(data_dir)
    for _ in range(START_TRIES):
        chosen = choose_port(port, data_dir)
        try:
            return _start_once(binary, data_dir, chosen, logs, version=version, key=key, database=database)
        except PortLostError:
            continue
    raise LocalStackError(f"mongod found no port in {START_TRIES} tries: other programs took them first")


def refuse_used_directory(data_dir: Path) -> None:
    """Raise LocalStackError when a living mongod holds the data directory; its lock file names it."""
    try:
        pid = int((data_dir / "mongod.lock").read_text())
        name = psutil.Process(pid).name()
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):  # ValueError: empty after a clean stop
        return
    if name.startswith("mongod"):
        raise LocalStackError(
            f"The data directory {data_dir} is in use by {describe_process(pid)}: stop it, or set ORCHESTRATEX_HOME."
        )


def make_uri(port: int, password: str) -> str:
    """Address the set by name, not directly: then clients wait for a primary while mongod starts again."""
    return f"mongodb://{USER}:{password}@{LOOPBACK}:{port}/?replicaSet={REPLICA_SET}&authSource=admin"


def is_answering(uri: str) -> bool:
    """Tell whether a primary answers at the address."""
    with _connect(uri, replicaSet=None) as client:
        try:
            return bool(client.admin.command("hello")["isWritablePrimary"])
        except (ConnectionFailure, OperationFailure):
            return False


def _connect(host: str, **options: Any) -> Client:
    """Open a client to this one server, whatever its set says."""
    limits: dict[str, Any] = {"serverSelectionTimeoutMS": 2000, "socketTimeoutMS": 5000}
    return MongoClient(host, directConnection=True, **limits, **options)


def _start_once(
    binary: Path, data_dir: Path, port: int, logs: LogFiles, *, version: ServerVersion, key: str, database: str
) -> Service:
    command = _make_command(binary, data_dir, port)
    is_new = read_port(data_dir) is None
    child = launch(command, port, logs)
    password = derive_password(key)
    try:
        with _connect(LOOPBACK, port=port, username="__system", password=key, authSource="local") as client:
            wait_until(lambda: _is_primary(client, port, is_new), child, command, logs)
            ensure_user(client, password, database)
            form = client.admin.command("getParameter", featureCompatibilityVersion=1)
    except BaseException:
        child.finish()
        raise
    major, minor = map(int, form["featureCompatibilityVersion"]["version"].split("."))
    record_writer(data_dir, version, feature_version=(major, minor))
    write_port(data_dir, port)
    return Service(name=NAME, uri=make_uri(port, password), port=port, command=command, child=child)


def _make_command(binary: Path, data_dir: Path, port: int) -> Command:
    argv = [str(binary), "--replSet", REPLICA_SET, "--port", str(port), "--bind_ip", LOOPBACK, "--nounixsocket"]
    argv += ["--dbpath", str(data_dir), "--wiredTigerCacheSizeGB", str(CACHE_GB), "--oplogSize", str(OPLOG_MB)]
    argv += ["--keyFile", str(data_dir / "key"), "--setParameter", "enableLocalhostAuthBypass=false"]
    argv += ["--networkMessageCompressors", "disabled"]  # whoever reaches the port could read memory through them
    argv += ["--setParameter", "diagnosticDataCollectionEnabled=false", "--quiet"]
    argv += ["--journalCommitInterval", str(JOURNAL_MS)]  # at 100 ms it was a third of what an idle mongod takes
    return make_server_command(NAME, argv, data_dir)


def _is_primary(client: Client, port: int, is_new: bool) -> bool:
    """Move the set one step towards a primary at this address."""
    try:
        _configure(client, f"{LOOPBACK}:{port}", is_new)
        return bool(client.admin.command("hello")["isWritablePrimary"])
    except ConnectionFailure:
        return False
    except OperationFailure as exc:
        if exc.code in PASSING_CODES:
            return False
        raise LocalStackError(f"mongod on port {port} refuses to become a replica set: {exc}") from exc


def _configure(client: Client, host: str, is_new: bool) -> None:
    """Initiate a new set, or correct its only member's address when the port has changed.

    A set that exists says NOT_INITIALIZED, too, while mongod still asks the old address whether it is itself.
    """
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as exc:
        if exc.code != NOT_INITIALIZED or not is_new:
            raise
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": host}]})
        return
    if [member["host"] for member in config["members"]] != [host]:
        moved = {**config, "version": config["version"] + 1, "members": [{**config["members"][0], "host": host}]}
        client.admin.command("replSetReconfig", moved, force=True)
