from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestratex.providers.http import HttpClient

Answer = Callable[["Endpoint", BaseHTTPRequestHandler], None]


class Endpoint:
    """A little real server on a free port. `answer` is what it does with the next requests."""

    def __init__(self) -> None:
        self.answer: Answer = reply()
        self.requests: list[tuple[str, Mapping[str, str], bytes]] = []
        self._connections: list[socket.socket] = []
        self.is_over = threading.Event()  # lets answers that wait go home
        self._asked: dict[Any, Any] = {}
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                endpoint.requests.append((self.path, dict(self.headers.items()), body))
                with contextlib.suppress(ValueError, AttributeError):
                    endpoint._asked[self.client_address] = json.loads(body).get("n")
                endpoint.answer(endpoint, self)

            do_GET = do_POST  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing to tell."""

        class Server(ThreadingHTTPServer):
            daemon_threads = False

            def process_request(self, request: Any, client_address: Any) -> None:
                endpoint._connections.append(request)
                super().process_request(request, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Clients hang up on purpose here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def connections(self) -> int:
        """How many were made."""
        return len(self._connections)

    def requests_of(self, request: BaseHTTPRequestHandler) -> Any:
        """The number `n` that the last request of a connection asked with."""
        return self._asked[request.client_address]

    def close(self) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._thread.join()
        for connection in self._connections:  # clients keep theirs open for the next request
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


def reply(status: int = 200, body: str | bytes = "{}", headers: Mapping[str, str] | None = None) -> Answer:
    """An honest answer."""

    def answer(_: Endpoint, request: BaseHTTPRequestHandler) -> None:
        content = body.encode() if isinstance(body, str) else body
        request.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def raw(content: bytes) -> Answer:
    """Bytes as they are, then the connection ends."""

    def answer(_: Endpoint, request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(content)
        request.wfile.flush()
        request.close_connection = True

    return answer


def hang_up(_: Endpoint, request: BaseHTTPRequestHandler) -> None:
    """Take the request and go."""
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


def say_nothing(endpoint: Endpoint, request: BaseHTTPRequestHandler) -> None:
    """Take the request and never answer."""
    endpoint.is_over.wait(30)
    request.close_connection = True


def drip(head: bytes, drop: bytes) -> Answer:
    """An answer that never ends, a little at a time, always faster than a read timeout."""

    def answer(endpoint: Endpoint, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.wfile.write(head)
        while not endpoint.is_over.wait(0.02):
            request.wfile.write(drop)
            request.wfile.flush()

    return answer


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture
def http(endpoint: Endpoint) -> Iterator[HttpClient]:
    """Patient; closed before its server, which waits for its connections."""
    made = HttpClient(pool_size=4, connect_timeout_s=5, read_timeout_s=30, max_bytes=10_000)
    yield made
    made.close()


@pytest.fixture
def hasty_http(endpoint: Endpoint) -> Iterator[HttpClient]:
    """Waits no longer than a moment."""
    made = HttpClient(pool_size=4, connect_timeout_s=5, read_timeout_s=0.3, max_bytes=10_000)
    yield made
    made.close()
