"""Make a mongod that started with a key file ready: initiate its replica set of one, and create or correct our user.

It logs in as `__system` with the key's text, so that there is no moment in which mongod answers without a password. The
address in the file `orchestratex_mongodb_uri` says host, set, user and password. It may run again.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

NOT_YET_INITIALIZED = 94
PATIENCE_S = 60.0


def main() -> None:
    """Read the two files and do it."""
    secrets = Path(os.environ.get("ORCHESTRATEX_SECRETS_DIR", "/run/secrets"))
    key = "".join((secrets / "mongo_keyfile").read_text().split())
    wanted = parse_uri((secrets / "orchestratex_mongodb_uri").read_text().strip())
    host, port = wanted["nodelist"][0]
    client: MongoClient[dict[str, Any]] = MongoClient(
        host,
        port,
        username="__system",
        password=key,
        authSource="local",
        directConnection=True,
        serverSelectionTimeoutMS=PATIENCE_S * 1000,
    )
    with client:
        initiate(client, wanted["options"]["replicaSet"], f"{host}:{port}")
        wait_for_primary(client)
        set_user(client, wanted)


def initiate(client: MongoClient[dict[str, Any]], name: str, member: str) -> None:
    """Make a replica set of this one member, unless it is one."""
    try:
        client.admin.command("replSetGetStatus")
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        client.admin.command("replSetInitiate", {"_id": name, "members": [{"_id": 0, "host": member}]})


def wait_for_primary(client: MongoClient[dict[str, Any]]) -> None:
    """Wait until it takes writes."""
    deadline = time.monotonic() + PATIENCE_S
    while not client.admin.command("hello")["isWritablePrimary"]:
        if time.monotonic() > deadline:
            sys.exit(f"mongod has no primary after {PATIENCE_S:.0f} s: look at its log")
        time.sleep(0.1)


def set_user(client: MongoClient[dict[str, Any]], wanted: dict[str, Any]) -> None:
    """Give the user its password and its rights: to read, write and shape one database."""
    database = client[wanted["options"]["authSource"]]
    name = os.environ.get("ORCHESTRATEX_MONGODB_DATABASE", "orchestratex")
    roles = [{"role": role, "db": name} for role in ("readWrite", "dbAdmin")]
    known = database.command("usersInfo", wanted["username"])["users"]
    verb = "updateUser" if known else "createUser"
    database.command(verb, wanted["username"], pwd=wanted["password"], roles=roles)


if __name__ == "__main__":
    main()
