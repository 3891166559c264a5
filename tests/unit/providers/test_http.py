from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from orchestratex.errors import (
    CallUnwantedError,
    ContentRefusedError,
    ContextTooLongError,
    MalformedCompletionError,
    ProviderAuthenticationError,
    ProviderConnectionError,
    ProviderDisconnectedError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    RequestTooLargeError,
)
from orchestratex.local.ports import free_port
from orchestratex.providers.base import STILL_WANTED, TIME_LIMIT_S
from orchestratex.providers.http import HttpClient, whole_text
from tests.unit.providers.conftest import Answer, Endpoint, drip, hang_up, raw, reply, say_nothing

KEY = "sk-very-secret-key-1234"
HEADERS = {"Authorization": f"Bearer {KEY}"}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"


def post(http: HttpClient, endpoint: Endpoint, answer: Answer) -> dict[str, object]:
    endpoint.answer = answer
    return http.post_json("gpt4", endpoint.url, {"a": "é"}, HEADERS)


def fail(http: HttpClient, endpoint: Endpoint, answer: Answer) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        post(http, endpoint, answer)
    assert KEY not in str(caught.value)
    assert str(caught.value).startswith("gpt4: ")
    return caught.value


def error_body(message: str, code: str = "") -> str:
    return json.dumps({"error": {"message": message, "code": code}})


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_call_that_nobody_wants_after_a_long_handshake_is_not_sent(
    http: HttpClient, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, is_wanted: bool
) -> None:
    monkeypatch.setattr("orchestratex.providers.connections._QUICK_HANDSHAKE_S", -1.0)  # every handshake is a long one
    wish = STILL_WANTED.set(lambda: is_wanted)

    try:
        if is_wanted:
            post(http, endpoint, reply())
        else:
            assert isinstance(fail(http, endpoint, reply()), CallUnwantedError)
    finally:
        STILL_WANTED.reset(wish)

    assert len(endpoint.requests) == int(is_wanted)


def test_json_goes_out_and_comes_back(http: HttpClient, endpoint: Endpoint) -> None:
    body = post(http, endpoint, reply(body='{"b": 1}'))

    (path, headers, sent), *_ = endpoint.requests
    assert body == {"b": 1}
    assert (path, json.loads(sent)) == ("/v1", {"a": "é"})
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"


def test_headers_of_one_call_do_not_reach_the_next(http: HttpClient, endpoint: Endpoint) -> None:
    http.post_json("gpt4", endpoint.url, {}, {"X-One": "1"})
    http.post_json("gpt4", endpoint.url, {"longer": "body"}, {})
    http.get_json("gpt4", endpoint.url, {})

    assert ["X-One" in headers for _, headers, _ in endpoint.requests] == [True, False, False]
    assert [len(body) for _, _, body in endpoint.requests] == [2, 17, 0]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, error_body("bad key"), ProviderAuthenticationError),
        (403, error_body("not yours"), ProviderAuthenticationError),
        (404, error_body("no such model"), ProviderNotFoundError),
        (408, "", ProviderOverloadedError),
        (409, "", ProviderOverloadedError),
        (429, error_body("slow down"), ProviderRateLimitedError),
        (500, "<html>oops</html>", ProviderOverloadedError),
        (503, "", ProviderOverloadedError),
        (529, "[]", ProviderOverloadedError),
        (400, error_body("too many tokens", "context_length_exceeded"), ContextTooLongError),
        (400, error_body("prompt is too long: 9 tokens"), ContextTooLongError),
        (413, "", ContextTooLongError),
        (400, error_body("no", "content_policy_violation"), ContentRefusedError),
        (400, error_body("no", "content_filter"), ContentRefusedError),
        (400, error_body("unknown parameter", "invalid_request"), ProviderRejectedError),
        (400, '{"error": "a text"}', ProviderRejectedError),
        (400, '{"error": {"message": null, "code": 7}}', ProviderRejectedError),
        (400, '"text"', ProviderRejectedError),
        (400, b"\xff\xfe", ProviderRejectedError),
        (400, "[" * 9_000, ProviderRejectedError),
        (422, '{"detail": "x"}', ProviderRejectedError),
        (201, "{}", ProviderRejectedError),
    ],
)
def test_a_status_is_an_error_of_ours(
    http: HttpClient, endpoint: Endpoint, status: int, body: str | bytes, error: type[ProviderError]
) -> None:
    raised = fail(http, endpoint, reply(status, body))

    assert type(raised) is error
    assert f"HTTP {status}" in str(raised)


OPENAI_TPM = "Limit 30000, Requested 30601. The input or output tokens must be reduced in order to run successfully."
ANTHROPIC_TPM = "This request would exceed the rate limit for your organization of 20 input tokens per minute."


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (f"Request too large for gpt-4o in organization org-1 on tokens per min (TPM): {OPENAI_TPM}", True),
        ("Request too large for gpt-x on tokens per min (TPM): Limit 300, Requested 3627. Reduce the input.", True),
        (
            "Request too large for model `m` on tokens per minute (TPM): Limit 6,000, Requested 9,000, please reduce",
            True,
        ),
        ("Rate limit reached for m on tokens per minute (TPM): Limit 6000, Used 100, Requested 6001.", True),
        ("Requested 9000 tokens, over the limit of 6000.", True),
        (ANTHROPIC_TPM, True),
        ("Request too large.", True),
        ("The prompt tokens must be reduced.", True),
        ("Please reduce your message size and try again.", True),
        ("This request is larger than your organization's limit.", True),
        ("Rate limit reached for gpt-4 on tokens per min (TPM): Limit 10000, Used 9500, Requested 800.", False),
        (ANTHROPIC_TPM.replace("of 20", "of 20,000"), False),
        ("Requests have exceeded token rate limit of your current tier. Please retry after 26 seconds.", False),
        ("Too many requests: limit 60 per minute.", False),
        ("Rate limit exceeded, requested limit: none", False),
    ],
)
def test_a_429_for_a_request_that_no_minute_can_take_is_not_sent_again(
    http: HttpClient, endpoint: Endpoint, words: str, error: bool
) -> None:
    endpoint.answer = reply(429, error_body(words))

    with pytest.raises(ProviderError) as caught:
        http.post_json("gpt4", endpoint.url, {"text": "word " * 60}, HEADERS)

    assert type(caught.value) is (RequestTooLargeError if error else ProviderRateLimitedError)
    assert caught.value.is_retryable is not error
    assert not caught.value.may_be_charged


def test_a_providers_words_are_repeated_in_part(http: HttpClient, endpoint: Endpoint) -> None:
    raised = fail(http, endpoint, reply(400, error_body("a" * 5000)))

    assert "a" * 300 in str(raised)
    assert len(str(raised)) < 400


@pytest.mark.parametrize("status", [200, 400, 401])
@pytest.mark.parametrize("body", [f"Incorrect API key provided: {KEY}", error_body(f"wrong key {KEY}, sorry")])
def test_a_key_that_a_provider_repeats_is_not_repeated_by_us(
    http: HttpClient, endpoint: Endpoint, status: int, body: str
) -> None:
    if status == 200:
        body = body[1:]  # no JSON

    raised = fail(http, endpoint, reply(status, body))

    assert "***" in str(raised)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("1e9", 86_400),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0),
        (None, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_is_read_and_bounded(
    http: HttpClient, endpoint: Endpoint, status: int, value: str | None, seconds: float | None
) -> None:
    raised = fail(http, endpoint, reply(status, headers={"Retry-After": value} if value else {}))

    assert raised.retry_after_s == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_a_retry_after_may_be_a_date(http: HttpClient, endpoint: Endpoint, zone: str) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True).replace("GMT", zone)

    raised = fail(http, endpoint, reply(429, headers={"Retry-After": moment}))

    assert raised.retry_after_s is not None
    assert 540 < raised.retry_after_s <= 600


@pytest.mark.parametrize(
    "body", ["<html>", "", "[1]", '"text"', "null", '{"a": ', "{" * 9_000, b"\xff", '{"a":' * 1500]
)
def test_an_answer_that_is_no_json_object_is_malformed(http: HttpClient, endpoint: Endpoint, body: str) -> None:
    raised = fail(http, endpoint, reply(body=body))

    assert type(raised) is MalformedCompletionError
    assert raised.may_be_charged


@pytest.mark.parametrize(
    "content",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"a": 1',
        CHUNKED + b'30\r\n{"a": 1',
        CHUNKED + b'8\r\n{"a": 1}\r\n',
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_may_be_charged(http: HttpClient, endpoint: Endpoint, content: bytes) -> None:
    raised = fail(http, endpoint, raw(content))

    assert type(raised) in {ProviderDisconnectedError, MalformedCompletionError}
    assert raised.may_be_charged
    assert raised.is_retryable


def test_a_connection_dropped_after_the_request_may_be_charged(http: HttpClient, endpoint: Endpoint) -> None:
    raised = fail(http, endpoint, hang_up)

    assert type(raised) is ProviderDisconnectedError
    assert len(endpoint.requests) == 1  # nothing is sent twice behind our back


def test_a_refused_connection_was_not_sent(http: HttpClient) -> None:
    with pytest.raises(ProviderConnectionError) as caught:
        http.post_json("gpt4", f"http://127.0.0.1:{free_port()}/v1", {}, HEADERS)

    assert not caught.value.may_be_charged
    assert caught.value.is_retryable


def test_a_server_without_tls_gets_no_secret_and_no_money(http: HttpClient, endpoint: Endpoint) -> None:
    with pytest.raises(ProviderConnectionError) as caught:
        http.post_json("gpt4", endpoint.url.replace("http:", "https:"), {}, HEADERS)

    assert not caught.value.may_be_charged
    assert endpoint.requests == []


@pytest.mark.parametrize("url", ["", "example.org/v1", "ftp://127.0.0.1/v1", "http://", "http://[::1"])
def test_an_address_that_is_none_is_not_found(http: HttpClient, url: str) -> None:
    with pytest.raises(ProviderNotFoundError) as caught:
        http.post_json("gpt4", url, {}, HEADERS)

    assert not caught.value.is_retryable


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}…", f"{KEY}\r\nX: y"])
def test_a_key_that_no_header_may_hold_is_told_without_it(http: HttpClient, endpoint: Endpoint, key: str) -> None:
    with pytest.raises(ProviderAuthenticationError) as caught:
        http.post_json("gpt4", endpoint.url, {}, {"Authorization": f"Bearer {key}"})

    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert endpoint.requests == []


def test_silence_ends_by_timeout(hasty_http: HttpClient, endpoint: Endpoint) -> None:
    raised = fail(hasty_http, endpoint, say_nothing)

    assert type(raised) is ProviderTimeoutError
    assert raised.may_be_charged


def test_a_request_may_have_less_time_than_its_client(http: HttpClient, endpoint: Endpoint) -> None:
    token = TIME_LIMIT_S.set(0.2)
    try:
        raised = fail(http, endpoint, say_nothing)
    finally:
        TIME_LIMIT_S.reset(token)

    assert type(raised) is ProviderTimeoutError
    assert "0.2 s" in str(raised)


@pytest.mark.parametrize(
    ("head", "drop"),
    [(LONG_HEAD, b" "), (CHUNKED, b"1\r\n \r\n"), (b"HTTP/1.1 200 OK\r\n\r\n", b" ")],
    ids=["length", "chunked", "until closed"],
)
def test_a_slow_drip_ends_by_timeout(hasty_http: HttpClient, endpoint: Endpoint, head: bytes, drop: bytes) -> None:
    raised = fail(hasty_http, endpoint, drip(head, drop))

    assert type(raised) is ProviderTimeoutError


def test_a_body_that_stops_half_way_ends_by_timeout(hasty_http: HttpClient, endpoint: Endpoint) -> None:
    raised = fail(hasty_http, endpoint, drip(LONG_HEAD + b"{", b""))

    assert type(raised) is ProviderTimeoutError


@pytest.mark.parametrize("size", [10_001, 2_000_000])
def test_a_body_that_is_too_long_is_not_read_on(http: HttpClient, endpoint: Endpoint, size: int) -> None:
    raised = fail(http, endpoint, reply(body=" " * size))

    assert type(raised) is MalformedCompletionError
    assert "10000 bytes" in str(raised)


def test_a_body_of_the_longest_length_is_read(http: HttpClient, endpoint: Endpoint) -> None:
    assert post(http, endpoint, reply(body="{}".ljust(10_000))) == {}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(http: HttpClient, endpoint: Endpoint, status: int) -> None:
    raised = fail(http, endpoint, reply(status, headers={"Location": endpoint.url + "/elsewhere"}))

    assert type(raised) is ProviderRejectedError
    assert [path for path, _, _ in endpoint.requests] == ["/v1"]


def test_proxies_and_logins_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, http: HttpClient, endpoint: Endpoint
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)

    assert post(http, endpoint, reply()) == {}
    assert endpoint.requests[0][1]["Authorization"] == f"Bearer {KEY}"


def test_one_client_serves_many_threads(http: HttpClient, endpoint: Endpoint) -> None:
    seen: list[object] = []

    def call() -> None:
        seen.append(http.post_json("gpt4", endpoint.url, {}, HEADERS))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [{}] * 8


def test_a_port_that_never_shakes_hands_is_not_waited_for() -> None:
    http = HttpClient(pool_size=1, connect_timeout_s=0.2, read_timeout_s=30, max_bytes=1000)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(0)
        crowd = [socket.socket() for _ in range(4)]  # fill its queue, so that nobody else is let in
        for caller in crowd:
            caller.setblocking(False)
            caller.connect_ex(mute.getsockname())

        with pytest.raises(ProviderConnectionError, match="no connection within"):
            http.post_json("gpt4", f"http://127.0.0.1:{mute.getsockname()[1]}", {}, {})

        for caller in crowd:
            caller.close()
    http.close()


@pytest.mark.parametrize(("text", "whole"), [("a\ud800b", "a\ufffdb"), ("😀", "😀"), ("\ud83d\ude00", "😀"), ("", "")])
def test_texts_are_made_whole(text: str, whole: str) -> None:
    assert whole_text(text) == whole
