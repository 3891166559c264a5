"""What a connection may carry to the next call: nothing of this one."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from orchestratex.errors import MalformedCompletionError, ProviderDisconnectedError, ProviderError, ProviderTimeoutError
from orchestratex.providers.connections import GuardedAdapter, keep
from orchestratex.providers.http import HttpClient
from tests.tls import TlsDoor, open_tls_door
from tests.unit.providers.conftest import Answer, Endpoint, drip, reply

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UNKNOWN_INTERIM = b"HTTP/1.1 199 Whatever\r\nContent-Length: 5\r\n\r\n"


def final(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", *(headers or (f"Content-Length: {len(body)}",)), "", ""]
    return "\r\n".join(head).encode() + body


def chunked(body: bytes, *, trailer: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x;ext=1\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailer)


def write(*parts: bytes, pause_s: float = 0.0, then: bytes = b"") -> Answer:
    """Bytes as they are, on a connection that stays open."""

    def answer(endpoint: Endpoint, request: BaseHTTPRequestHandler) -> None:
        for number, part in enumerate(parts):
            if number and pause_s:
                endpoint.is_over.wait(pause_s)
            request.wfile.write(part)
            request.wfile.flush()
        if then:
            endpoint.is_over.wait(pause_s)
            request.wfile.write(then)
            request.wfile.flush()

    return answer


def echo(*before: bytes, pause_s: float = 0.0) -> Answer:
    """What was asked, after some interim answers."""

    def answer(endpoint: Endpoint, request: BaseHTTPRequestHandler) -> None:
        asked = endpoint.requests_of(request)
        write(*before, final(json.dumps({"asked": asked}).encode()), pause_s=pause_s)(endpoint, request)

    return answer


def ask(http: HttpClient, endpoint: Endpoint, number: int) -> object:
    return http.post_json("gpt4", endpoint.url, {"n": number}, {})["asked"]


@pytest.mark.parametrize(
    "interim",
    [
        [EARLY_HINTS],
        [PROCESSING],
        [CONTINUE],
        [UNKNOWN_INTERIM.replace(b"Content-Length: 5\r\n", b"")],
        [CONTINUE, EARLY_HINTS, PROCESSING, PROCESSING],
        [PROCESSING * 900],
    ],
)
def test_every_interim_answer_is_skipped(http: HttpClient, endpoint: Endpoint, interim: list[bytes]) -> None:
    endpoint.answer = echo(*interim)

    assert [ask(http, endpoint, number) for number in range(3)] == [0, 1, 2]
    assert endpoint.connections == 1


@pytest.mark.parametrize("interim", [EARLY_HINTS, PROCESSING])
def test_the_final_answer_may_come_half_a_second_after_an_interim_one(
    http: HttpClient, endpoint: Endpoint, interim: bytes
) -> None:
    endpoint.answer = echo(interim, pause_s=0.5)

    with ThreadPoolExecutor(6) as pool:  # more than the pool has connections
        asked = list(pool.map(lambda number: ask(http, endpoint, number), range(12)))

    assert asked == list(range(12))


@pytest.mark.parametrize("endless", [PROCESSING * 1001 + final(b"{}"), PROCESSING * 5000])
def test_interim_answers_are_bounded(http: HttpClient, endpoint: Endpoint, endless: bytes) -> None:
    endpoint.answer = write(endless)

    with pytest.raises(ProviderDisconnectedError):
        http.post_json("gpt4", endpoint.url, {}, {})


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", PROCESSING),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        (b"HTTP/1.1 2", b"0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n"),
    ],
    ids=["interim", "header", "status", "size of a chunk", "trailer"],
)
def test_a_head_or_frame_that_drips_ends_by_timeout(
    hasty_http: HttpClient, endpoint: Endpoint, head: bytes, drop: bytes
) -> None:
    endpoint.answer = drip(head, drop)
    started = time.monotonic()

    with pytest.raises(ProviderError) as caught:
        hasty_http.post_json("gpt4", endpoint.url, {}, {})

    assert isinstance(caught.value, ProviderTimeoutError | ProviderDisconnectedError)
    assert time.monotonic() - started < 5


def test_protocols_are_not_switched(http: HttpClient, endpoint: Endpoint) -> None:
    endpoint.answer = write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + final(b'{"asked": "other"}'))
    with pytest.raises(ProviderError, match="HTTP 101"):
        http.post_json("gpt4", endpoint.url, {}, {})
    endpoint.answer = echo()

    assert ask(http, endpoint, 2) == 2


OTHERS = final(b'{"asked": "another call"}')
ONE = b'{"asked": 1}'


@pytest.mark.parametrize(
    "content",
    [
        final(ONE) + OTHERS,
        final(ONE) + b"\r\n",
        final(ONE + b" " * 9, "Content-Length: 12"),
        final(ONE + OTHERS, "Content-Length: 5"),
        final(ONE, "Content-Length: 12", "Content-Length: 12"),
        final(ONE, "Content-Length: +12"),
        final(ONE, "Content-Length: 1_2"),
        final(ONE, "Content-Length: 12, 12"),
        final(b"c\r\n" + ONE + b"\r\n0\r\n\r\n", "Content-Length: 12", "Transfer-Encoding: chunked"),
        final(ONE, "Content-Length: 12", "Transfer-Encoding: identity"),
        final(ONE, "Content-Length: 12", "Connection: close"),
        final(ONE, "Content-Length: 12", "No colon here"),
        final(ONE, "Content-Length: 12").replace(b"HTTP/1.1", b"HTTP/1.0"),
        chunked(ONE) + OTHERS,
        final(b"0xc\r\n" + ONE + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        final(b"-c\r\n" + ONE + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        final(b"no JSON at all"),
        final(b"", status="204 No Content") + OTHERS,
        final(ONE, status="304 Not Modified"),
        final(ONE, status="500 Oops"),
        final(ONE, status="404 Not Found"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_a_connection_that_may_owe_something_is_not_used_again(
    http: HttpClient, endpoint: Endpoint, content: bytes
) -> None:
    endpoint.answer = write(content)
    with contextlib.suppress(ProviderError):
        assert http.post_json("gpt4", endpoint.url, {}, {}) == {"asked": 1}
    endpoint.answer = echo()

    assert ask(http, endpoint, 2) == 2
    assert endpoint.connections == 2


@pytest.mark.parametrize(
    "content",
    [
        final(ONE),
        chunked(ONE),
        chunked(ONE, trailer=b"X-Sum: 1\r\n"),
        final(zipped := zlib.compress(ONE), "Content-Encoding: deflate", f"Content-Length: {len(zipped)}"),
        EARLY_HINTS + final(ONE),
    ],
)
def test_a_connection_whose_answer_is_beyond_doubt_is_used_again(
    http: HttpClient, endpoint: Endpoint, content: bytes
) -> None:
    endpoint.answer = write(content)
    assert http.post_json("gpt4", endpoint.url, {}, {}) == {"asked": 1}
    endpoint.answer = echo()

    assert ask(http, endpoint, 2) == 2
    assert endpoint.connections == 1


def test_what_comes_after_an_answer_while_its_connection_rests_is_nobodys(http: HttpClient, endpoint: Endpoint) -> None:
    is_written = threading.Event()

    def answer(endpoint: Endpoint, request: BaseHTTPRequestHandler) -> None:
        write(final(ONE), pause_s=0.2, then=OTHERS)(endpoint, request)
        is_written.set()

    endpoint.answer = answer
    assert http.post_json("gpt4", endpoint.url, {}, {}) == {"asked": 1}
    assert is_written.wait(10)
    endpoint.answer = echo()

    assert ask(http, endpoint, 2) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Location": "http://[::1"},
        {"Location": "https://\ud800.example".encode("utf-8", "replace").decode()},
        {"Location": "//" + "a" * 5000},
        {"Set-Cookie": "a=b; expires=" + "9" * 5000},
        {"Set-Cookie": "=;" * 3000},
        {"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"},
        {"Retry-After": "9" * 5000},
        {"Content-Type": "a/b; charset=nonsense"},
        {"Content-Encoding": "gzip, gzip, gzip, gzip, gzip, gzip, gzip"},
        {"Content-Encoding": "gzip"},
        {"x-request-id": "\x1b]0;title\x07 \x85\xff"},
        {"Link": "<" * 5000},
        {"Date": "yesterday", "Age": "-1", "Keep-Alive": "timeout=nan"},
    ],
)
@pytest.mark.parametrize("status", [200, 302, 429, 503])
def test_no_header_raises_anything_but_our_errors(
    http: HttpClient, endpoint: Endpoint, status: int, headers: dict[str, str]
) -> None:
    endpoint.answer = reply(status, "{}", headers)

    said = ""
    try:
        assert http.post_json("gpt4", endpoint.url, {}, {}) == {}
    except ProviderError as error:
        said = str(error)

    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", said)


def test_the_body_of_a_redirect_is_not_read_without_a_bound(http: HttpClient, endpoint: Endpoint) -> None:
    endpoint.answer = reply(302, " " * 2_000_000, {"Location": endpoint.url})

    with pytest.raises(MalformedCompletionError, match="10000 bytes"):
        http.post_json("gpt4", endpoint.url, {}, {})


def measure(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def test_a_long_answer_in_small_pieces_is_read_in_linear_time(endpoint: Endpoint) -> None:
    patient = HttpClient(pool_size=1, connect_timeout_s=5, read_timeout_s=60, max_bytes=9_000_000)

    def read(size: int) -> float:
        piece = b"20\r\n" + b" " * 32 + b"\r\n"
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        endpoint.answer = write(head + piece * (size // 32) + b"2\r\n{}\r\n0\r\n\r\n")
        return measure(lambda: patient.post_json("gpt4", endpoint.url, {}, {"x-api-key": "sk-very-secret-key"}))

    read(100_000)
    small, large = read(800_000), read(8_000_000)
    patient.close()

    assert large < 40 * small


@pytest.fixture(scope="module")
def tls_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.mark.parametrize(
    ("content", "connections"), [(final(ONE), 1), (EARLY_HINTS + chunked(ONE), 1), (final(ONE) + OTHERS, 2)]
)
def test_over_tls_too_a_connection_is_used_again_only_when_nothing_is_left_in_it(
    endpoint: Endpoint, tls_home: Path, content: bytes, connections: int
) -> None:
    adapter = GuardedAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
    port = urlsplit(endpoint.url).port
    assert port is not None

    def ask_over_tls(door: TlsDoor, answer: Answer) -> bytes:
        endpoint.answer = answer
        prepared = requests.Request("POST", f"https://localhost:{door.port}/v1", data=b"{}").prepare()
        with adapter.send(prepared, stream=True, timeout=(5, 5), verify=str(door.certificate)) as answered:
            read = b"".join(iter(lambda: bytes(answered.raw.read1(9, decode_content=True)), b""))
            keep(answered)
        return read

    with open_tls_door(tls_home, to_port=port) as door:
        first = ask_over_tls(door, write(content))
        second = ask_over_tls(door, write(final(b"{}")))
        adapter.close()

    assert (first, second) == (ONE, b"{}")
    assert endpoint.connections == connections
