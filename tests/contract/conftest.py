from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from orchestratex.errors import LocalStackError
from orchestratex.local.binaries import find_binary
from orchestratex.local.mongod import start_mongod
from orchestratex.local.output import LogFiles
from orchestratex.store.base import Store
from orchestratex.store.memory import MemoryStore
from orchestratex.store.migrations import init_db
from orchestratex.store.mongo import MongoStore, connect
from tests.support import FakeClock

Client = MongoClient[dict[str, Any]]
PATIENCE_S = 60


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a real mongod, a replica set of one on a free port, one for each test process."""
    home: Path = tmp_path_factory.mktemp("mongod")
    try:
        binary = find_binary("mongod")
    except LocalStackError as error:
        pytest.skip(str(error))
    service = start_mongod(binary, home / "data", logs=LogFiles(home))
    opened = connect(service.uri)
    try:
        yield opened
    finally:
        opened.close()
        service.child.stop(10)


@pytest.fixture
def empty_store(client: Client) -> Iterator[MongoStore]:
    """A database that nothing has been done to."""
    made = MongoStore(client, f"test_{secrets.token_hex(6)}")
    yield made
    client.drop_database(made.database.name)


@pytest.fixture
def mongo_store(empty_store: MongoStore) -> MongoStore:
    init_db(empty_store)
    return empty_store


@pytest.fixture
def database(mongo_store: MongoStore) -> Database[dict[str, Any]]:
    """What another program sees."""
    return mongo_store.database


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest, clock: FakeClock) -> Store:
    """Each test runs on both stores."""
    if request.param == "memory":
        return MemoryStore(clock)
    made: MongoStore = request.getfixturevalue("mongo_store")
    made.database["ai_model_profiles"].delete_many({})  # the shipped ones: tests bring their own
    return made


@pytest.fixture
def pass_time(store: Store, clock: FakeClock) -> Callable[[float], None]:
    """Let the store's own clock go on: the fake one at once, a server's by waiting for it."""
    if not isinstance(store, MongoStore):
        return clock.pass_time
    admin = store.client.admin

    def server_time() -> datetime:
        moment: datetime = admin.command("hello")["localTime"]
        return moment.replace(tzinfo=None)

    def wait(seconds: float) -> None:
        until = server_time() + timedelta(seconds=seconds, milliseconds=2)
        deadline = time.monotonic() + PATIENCE_S
        while server_time() < until:
            assert time.monotonic() < deadline, "the server's clock stands still"
            threading.Event().wait(0.005)

    return wait
