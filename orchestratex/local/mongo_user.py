"""The user of our processes in an embedded mongod: it may read, write and shape one database, and nothing else."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from pymongo import MongoClient

from orchestratex.local.access import USER

EVERY_DATABASE: Final = ""  # for tests, each of which has a database of its own
ANY_ROLES = [{"role": "readWriteAnyDatabase", "db": "admin"}, {"role": "dbAdminAnyDatabase", "db": "admin"}]


def ensure_user(client: MongoClient[dict[str, Any]], password: str, database: str) -> None:
    """Create the user, or change it where its password or rights differ; asking alone costs a few milliseconds."""
    roles: Any = _roles(database)
    mark = {"password": hashlib.sha256(password.encode()).hexdigest()}
    users = client.admin.command("usersInfo", USER)["users"]
    if users and _sort(users[0]["roles"]) == _sort(roles) and users[0].get("customData") == mark:
        return
    command = "updateUser" if users else "createUser"
    client.admin.command(command, USER, pwd=password, mechanisms=["SCRAM-SHA-256"], roles=roles, customData=mark)


def _roles(database: str) -> list[dict[str, str]]:
    if database == EVERY_DATABASE:
        return ANY_ROLES
    return [{"role": role, "db": database} for role in ("readWrite", "dbAdmin")]


def _sort(roles: list[dict[str, str]]) -> list[tuple[str, str]]:
    return sorted((role["role"], role["db"]) for role in roles)
