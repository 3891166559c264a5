"""Clients at the socket: cut off, slow, many, and not speaking HTTP."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

import pytest
from starlette.types import Receive, Scope, Send

from orchestratex.api.connections import ConnectionLimits
from orchestratex.api.seldom import Seldom
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from tests.unit.api.conftest import serve, serve_app

if TYPE_CHECKING:
    from tests.support import World

BODY = b'{"prompt": "What is a monad?"}'
QUICK = ConnectionLimits(connections=8, header_s=0.3, body_s=0.3, answer_s=0.3)
PATIENCE_S = 10.0


def head(path: str = "/v1/threads", method: str = "POST", **headers: str) -> bytes:
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


Connect = Callable[[], socket.socket]


@pytest.fixture
def connect(world: World) -> Iterator[Connect]:
    """Connections to a server with short limits."""
    with serve(world.services, QUICK) as address, ExitStack() as stack:
        host, port = address.removeprefix("http://").split(":")

        def open_connection() -> socket.socket:
            return stack.enter_context(closing(socket.create_connection((host, int(port)), timeout=PATIENCE_S)))

        yield open_connection


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def written(world: World) -> list[object]:
    return [*world.store._all(Session), *world.store._all(Thread)]


@pytest.mark.parametrize(
    "request_",
    [
        head(Content_Length=str(len(BODY) + 1)) + BODY,
        head(Content_Length=str(len(BODY))) + BODY[:-1],
        head(Transfer_Encoding="chunked") + b"%x\r\n%s\r\n" % (len(BODY), BODY),
        head(Transfer_Encoding="chunked") + b"%x\r\n%s" % (len(BODY) + 9, BODY),
        head(Content_Length=str(len(BODY))),
        head()[:-2],
    ],
    ids=["one byte less", "half an object", "no last chunk", "half a chunk", "no body", "half a header"],
)
@pytest.mark.parametrize("ends", [True, False], ids=["closed", "half-closed"])
def test_a_request_that_is_cut_off_changes_nothing(world: World, connect: Connect, request_: bytes, ends: bool) -> None:
    connection = connect()
    connection.sendall(request_)
    if ends:
        connection.close()
    else:
        connection.shutdown(socket.SHUT_WR)
        read_to_end(connection)
    other = connect()
    other.sendall(head("/healthz", "GET", Connection="close"))

    assert b"200 OK" in read_to_end(other)
    assert written(world) == []


@pytest.mark.parametrize("path", ["cancel", "retry"])
def test_a_change_without_a_body_that_is_cut_off_changes_nothing(world: World, connect: Connect, path: str) -> None:
    thread = world.store.get_thread(world.submit("What is a monad?").id)
    connection = connect()
    connection.sendall(head(f"/v1/threads/{thread.id}/{path}", Content_Length="2") + b"{")
    connection.shutdown(socket.SHUT_WR)
    read_to_end(connection)

    assert world.store.get_thread(thread.id) == thread


@pytest.mark.parametrize("sent", [b"", b"GET", head()[:-2]], ids=["nothing", "a word", "a header"])
def test_who_sends_no_whole_header_is_closed(connect: Connect, sent: bytes) -> None:
    connection = connect()
    connection.sendall(sent)

    answer = read_to_end(connection)

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in answer


def test_who_sends_its_second_header_by_halves_is_closed(connect: Connect) -> None:
    connection = connect()
    connection.sendall(head("/healthz", "GET") + b"GET /healthz HTTP/1.1\r\n")

    answer = read_to_end(connection)

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer


def test_drops_of_a_header_do_not_keep_a_connection_open(connect: Connect) -> None:
    connection = connect()
    connection.settimeout(0.05)
    answer = b""
    for _ in range(int(PATIENCE_S / 0.05)):
        try:
            connection.sendall(b"a")
            answer += connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        if answer:
            break

    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "sent",
    [head(Content_Length="900") + BODY, head(Transfer_Encoding="chunked") + b"1\r\n{\r\n"],
    ids=["announced", "chunked"],
)
def test_who_sends_no_whole_body_is_closed(world: World, connect: Connect, sent: bytes) -> None:
    connection = connect()
    connection.sendall(sent)

    assert read_to_end(connection).startswith(b"HTTP/1.1 408")
    assert written(world) == []


def test_who_does_not_take_its_answer_is_closed() -> None:
    size, is_gone = 40_000_000, threading.Event()  # more than the system keeps for a client

    async def answer(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            is_gone.set()

    with (
        serve_app(answer, QUICK) as address,
        closing(socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))) as connection,
    ):
        connection.sendall(head("/", "GET"))

        assert is_gone.wait(PATIENCE_S)
        assert len(read_to_end(connection)) < size


def test_who_takes_its_answer_in_time_gets_all_of_it(connect: Connect) -> None:
    connection = connect()
    connection.sendall(head("/docs/swagger-ui-bundle.js", "GET", Connection="close"))

    header, _, body = read_to_end(connection).partition(b"\r\n\r\n")

    assert f"content-length: {len(body)}".encode() in header.lower()


def test_who_is_refused_before_its_body_is_closed_too(connect: Connect) -> None:
    connection = connect()
    connection.sendall(head(Content_Length="6000000") + b"{")

    assert read_to_end(connection).startswith(b"HTTP/1.1 413")


def test_headers_are_small(connect: Connect) -> None:
    for more in ({"X": "y" * 40_000}, {f"X{n}": "y" for n in range(200)}):
        connection = connect()
        connection.sendall(head("/healthz", "GET", Connection="close", **more))

        assert read_to_end(connection).startswith(b"HTTP/1.1 431")


def test_many_requests_share_a_connection(connect: Connect) -> None:
    connection = connect()
    connection.sendall(head("/healthz", "GET") * 4 + head("/healthz", "GET", Connection="close"))

    assert read_to_end(connection).count(b"HTTP/1.1 200") == 5


def test_above_the_limit_connections_are_refused_until_others_end(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    held = [connect() for _ in range(QUICK.connections)]
    for connection in held:
        connection.sendall(head("/healthz", "GET"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    refused = [read_to_end(connect()) for _ in range(5)]
    for connection in held:
        connection.close()

    def is_let_in() -> bool:
        connection = connect()
        connection.sendall(head("/healthz", "GET", Connection="close"))
        return b"200 OK" in read_to_end(connection)

    assert all(answer.startswith(b"HTTP/1.1 503") for answer in refused if answer)
    assert any(is_let_in() for _ in range(50))
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/x\r\n\r\n",
        b"POST /v1/threads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/threads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        head("/healthz", "GET", X="y" * 100_000),
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(20_000)),
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        head(Transfer_Encoding="chunked") + b"zz\r\n{}\r\n0\r\n\r\n",
    ],
    ids=["TLS", "version", "length", "lengths", "header", "headers", "hosts", "chunk"],
)
def test_what_is_no_http_is_refused_without_a_traceback(
    world: World, connect: Connect, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    connection = connect()
    with suppress(OSError):  # refused before all of it was read
        connection.sendall(sent)

    answer = read_to_end(connection)

    assert not answer or answer[9:12] in {b"400", b"408", b"431"}
    assert not [record for record in caplog.records if record.exc_info]
    assert written(world) == []


@pytest.mark.parametrize("files", [64, 256, 1024, 5000, 8192, 1_000_000])
def test_clients_never_take_all_the_files_that_a_process_may_open(files: int) -> None:
    limits = ConnectionLimits.within(files)

    assert 1 <= limits.connections <= 4000
    assert limits.connections + limits.backlog <= files - files // 5


def test_a_line_that_clients_cause_is_written_once_a_minute_with_how_often_it_came() -> None:
    now = [0.0]
    seldom = Seldom(period_s=60, clock=lambda: now[0])

    def write(message: str, *, level: int = logging.WARNING, exc_info: object = None) -> logging.LogRecord | None:
        record = logging.LogRecord("uvicorn.error", level, "", 0, message, None, exc_info)  # type: ignore[arg-type]
        return record if seldom.filter(record) else None

    first = write("Invalid HTTP request received.")
    flood = [write("Invalid HTTP request received.") for _ in range(1000)]
    other = write("refusing connections")
    error = (ValueError, ValueError("x"), None)
    ours = [write("Exception in ASGI application\n", level=logging.ERROR, exc_info=error) for _ in range(2)]
    accepting = write("socket.accept() out of system resource\nsocket: ...", level=logging.ERROR, exc_info=error)
    now[0] = 61
    later = write("Invalid HTTP request received.")

    assert first
    assert not any(flood)
    assert other
    assert all(ours)
    assert accepting is not None
    assert accepting.exc_info is None
    assert later is not None
    assert "1000 more" in later.getMessage()
