"""The slow proxy passes everything on, and is as slow as it is told to be."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from orchestratex.local.ports import LOOPBACK
from tests.faults.proxy import SlowProxy

DELAY_S = 0.1


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server of one connection that says what it hears."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while heard := connection.recv(1024):
                    connection.sendall(heard)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join(5)
        assert not thread.is_alive()  # the end of the client has reached the server


def ask(client: socket.socket) -> float:
    """Seconds until an answer."""
    began = time.monotonic()
    client.sendall(b"ping")
    assert client.recv(1024) == b"ping"
    return time.monotonic() - began


def test_each_piece_waits_as_long_as_it_is_told_to(echo_port: int) -> None:
    proxy = SlowProxy(LOOPBACK, echo_port)
    with socket.create_connection((LOOPBACK, proxy.port)) as client:
        client.settimeout(10)
        ask(client)
        proxy.delay_s = DELAY_S

        assert ask(client) >= DELAY_S
    proxy.close()
