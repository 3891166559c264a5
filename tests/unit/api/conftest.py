from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import uvicorn
from starlette.types import ASGIApp

from orchestratex.api.app import create_app
from orchestratex.api.connections import ConnectionLimits, make_protocol
from orchestratex.settings import Settings
from orchestratex.steps.services import Services
from tests.support import World


@dataclass(frozen=True)
class Client:
    """Real requests over a socket."""

    address: str
    world: World

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, self.address + path, timeout=10, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> requests.Response:
        return self.call("POST", path, json=body, **options)

    def patch(self, path: str, body: object) -> requests.Response:
        return self.call("PATCH", path, json=body)


Serve = Callable[[Services], str]


@contextmanager
def serve(services: Services, limits: ConnectionLimits | None = None) -> Iterator[str]:
    with serve_app(create_app(services), limits or ConnectionLimits()) as address:
        yield address


@contextmanager
def serve_app(app: ASGIApp, limits: ConnectionLimits) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = make_protocol(limits)
    config = uvicorn.Config(app, http=protocol, log_level="warning", log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


ServeSettings = Callable[..., AbstractContextManager[Client]]


@pytest.fixture
def serve_settings() -> ServeSettings:
    """A client of a world with some settings of its own."""

    @contextmanager
    def open_client(**settings: object) -> Iterator[Client]:
        world = World(settings=Settings.model_validate(settings))
        with serve(world.services) as address:
            yield Client(address, world)

    return open_client


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    with serve(world.services) as address:
        yield Client(address, world)
