"""HTTP to providers: one pooled session a process, foreign errors mapped once."""

from __future__ import annotations

import json
import math
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from orchestratex.errors import (
    CallUnwantedError,
    ContentRefusedError,
    ContextTooLongError,
    InsecureConnectionError,
    MalformedCompletionError,
    ProviderAuthenticationError,
    ProviderConnectionError,
    ProviderDisconnectedError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    RequestTooLargeError,
)
from orchestratex.providers.addresses import is_forbidden
from orchestratex.providers.base import STILL_WANTED, TIME_LIMIT_S
from orchestratex.providers.sizes import is_too_large_alone

_CHUNK = 65_536
_QUICK_HANDSHAKE_S = 0.25  # after a longer one the call's thread may have been cancelled
_LONGEST_WAIT_S = 86_400.0  # a Retry-After beyond a day is not to be believed
_SHORTEST_KEY = 8  # shorter "keys" are placeholders and may be words
_NO_HANDSHAKE = {"CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"}  # OpenSSL's reasons: nothing was sent
_EXCERPT = 300  # characters of a provider's error text that we repeat
_SECRET_HEADERS = ("Authorization", "x-api-key", "x-goog-api-key")
_SENDABLE = re.compile(r"[ -~\x80-\xff]*")  # no control characters, and nothing beyond Latin-1
_REQUEST_IDS = ("x-request-id", "request-id")

# What providers write instead of a status of its own: as a code, a type, a status or a reason, or only in the text.
_NO_QUOTA = re.compile(r"insufficient_(?:quota|credits|balance|funds)|billing_|\barrearage\b")
_NO_MONEY = re.compile(
    r"credit balance is too low|insufficient (?:credits|balance|funds)|used all available credits|out of credits"
)
_REFUSED = re.compile(r"content\w*(?:policy|filter)|data_inspection_failed|invalid_prompt|prohibited_content")
_TOO_LONG = re.compile(r"context_length|exceed_context_size|request_too_large")
_TOO_LONG_TEXT = re.compile(
    r"too long|maximum context length|exceeds? (?:the )?context|exceeds the maximum number of tokens allowed"
)
_BAD_KEY = re.compile(r"api_key_invalid|invalid_api_key|authentication_error|permission_error")
_RETRY_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")


@dataclass(frozen=True)
class Reply:
    """A JSON object that a provider sent, and its name for the exchange where a header held one."""

    body: dict[str, Any]
    request_id: str | None


@dataclass(frozen=True)
class _Problem:
    """What an error body says, whatever its shape."""

    text: str
    codes: str = ""  # every code, type, status and reason, in lower case
    retry_after_s: float | None = None


class _ForbiddenAddressError(NewConnectionError):
    """Raised when a name led to an address that no model may have; nothing was sent."""


class _UnwantedError(NewConnectionError):
    """Raised when nobody wants the answer any more by the time that the connection stands; nothing was sent."""


class _Guarded(HTTPConnection):
    """Looks at the address that it reached, whatever name led there, before it sends a byte."""

    def _new_conn(self) -> socket.socket:
        return _guard(super()._new_conn(), self)

    def connect(self) -> None:
        started = time.monotonic()
        super().connect()
        _look_again(self, started)


class _GuardedTls(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _guard(super()._new_conn(), self)

    def connect(self) -> None:
        started = time.monotonic()
        super().connect()
        _look_again(self, started)


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _GuardedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTls


_GUARDED_POOLS = {"http": _GuardedPool, "https": _GuardedTlsPool}


class _GuardedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _GUARDED_POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _GUARDED_POOLS
        return manager


class HttpClient:
    """A requests session that is bounded in time and size, follows no redirects and reads no proxy settings.

    Timeouts in seconds: `connect_timeout_s` for the handshake, `read_timeout_s` for the whole answer. `proxy` is the
    address of a proxy for all calls; none is read from the environment.
    """

    def __init__(
        self,
        *,
        pool_size: int,
        connect_timeout_s: float,
        read_timeout_s: float,
        max_bytes: int,
        proxy: str | None = None,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._max_bytes = max_bytes
        self._session = requests.Session()
        self._session.trust_env = False
        if proxy is not None:
            self._session.proxies = {"http": proxy, "https": proxy}
        adapter = _GuardedAdapter(pool_connections=32, pool_maxsize=pool_size, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._templates: dict[tuple[str, str], requests.PreparedRequest] = {}

    def post(self, model: str, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        """Send JSON, return the JSON object that came back. Raises ProviderError."""
        prepared = self._prepare(model, "POST", url, headers)
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        prepared.headers["Content-Length"] = str(len(content))
        prepared.body = content
        return self._send(model, prepared)

    def post_json(self, model: str, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Send JSON, return the JSON object that came back. Raises ProviderError."""
        return self.post(model, url, body, headers).body

    def get_json(self, model: str, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Fetch a JSON object. Raises ProviderError."""
        return self._send(model, self._prepare(model, "GET", url, headers)).body

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def _prepare(self, model: str, method: str, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
        """Preparing costs as much as sending: done once an address, copied for each call."""
        if not all(map(_SENDABLE.fullmatch, headers.values())):  # http.client would raise an error that repeats the key
            raise ProviderAuthenticationError(model, "the key holds a character that no header may hold")
        template = self._templates.get((method, url))
        if template is None:
            fixed = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "orchestratex"}
            try:
                template = requests.Request(method, url, headers=fixed).prepare()
            except requests.RequestException as error:
                raise ProviderNotFoundError(model, f"{url!r} is no address: {error}") from error
            self._templates[method, url] = template
        prepared = template.copy()
        prepared.headers.update(headers)
        return prepared

    def _send(self, model: str, prepared: requests.PreparedRequest) -> Reply:
        limit_s = min(self._read_timeout_s, TIME_LIMIT_S.get() or math.inf)
        deadline = time.monotonic() + limit_s
        timeouts = (self._connect_timeout_s, limit_s)
        try:
            with self._session.send(prepared, stream=True, timeout=timeouts, allow_redirects=False) as reply:
                content = self._read(model, reply, deadline, limit_s)
        except requests.exceptions.InvalidSchema as error:
            raise ProviderNotFoundError(model, f"{prepared.url!r} is no HTTP address") from error
        except requests.exceptions.ProxyError as error:  # raised only before the proxy has taken the request
            found = _connection_error(model, error)
            if isinstance(found, CallUnwantedError):
                raise found from error
            raise ProviderConnectionError(model, "the proxy refused or cannot be reached") from error
        except requests.ConnectTimeout as error:
            raise ProviderConnectionError(model, f"no connection within {self._connect_timeout_s:g} s") from error
        except requests.Timeout as error:
            raise ProviderTimeoutError(model, f"no answer within {limit_s:g} s") from error
        except requests.ConnectionError as error:
            raise _connection_error(model, error) from error
        except ReadTimeoutError as error:
            raise ProviderTimeoutError(model, f"no complete answer within {limit_s:g} s") from error
        except (requests.RequestException, HTTPError) as error:
            raise ProviderDisconnectedError(model, f"the answer broke off ({type(error).__name__})") from error
        if reply.status_code != requests.codes.ok:
            raise _status_error(model, reply, _hide_key(content, prepared))
        return Reply(_parse_object(model, content, prepared), _request_id(reply))

    def _read(self, model: str, reply: requests.Response, deadline: float, limit_s: float) -> bytes:
        """The whole body, bounded in size and in time.

        A read timeout alone lets a slow drip go on for ever, and so does every read that waits for a full chunk.
        """
        parts: list[bytes] = []
        size = 0
        while part := reply.raw.read1(_CHUNK, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > self._max_bytes:
                raise MalformedCompletionError(model, f"the answer is longer than {self._max_bytes} bytes")
            if time.monotonic() > deadline:
                raise ProviderTimeoutError(model, f"no complete answer within {limit_s:g} s")
        return b"".join(parts)


def _look_again(connection: HTTPConnection, started: float) -> None:
    """A handshake that took its time may have outlived the wish for the call."""
    is_wanted = STILL_WANTED.get()
    if is_wanted is not None and time.monotonic() - started > _QUICK_HANDSHAKE_S and not is_wanted():
        connection.close()
        raise _UnwantedError(connection, "the call is not wanted any more")


def _guard(connected: socket.socket, connection: HTTPConnection) -> socket.socket:
    try:
        peer = str(connected.getpeername()[0])
    except OSError:  # it has gone again: sending will say so
        return connected
    if is_forbidden(peer):
        connected.close()
        raise _ForbiddenAddressError(connection, f"{peer} is a link-local or metadata address")
    return connected


def _connection_error(model: str, error: requests.ConnectionError) -> ProviderError:
    cause: BaseException | None = error
    while cause is not None:
        reason = getattr(cause, "reason", None) or getattr(cause, "original_error", None)
        reason = reason or (cause.args[0] if cause.args else None)
        if isinstance(cause, _UnwantedError):
            return CallUnwantedError(model, "its thread went on without it; nothing was sent")
        if isinstance(cause, _ForbiddenAddressError):
            return ProviderNotFoundError(model, "the address is a link-local or metadata address: nothing was sent")
        if isinstance(cause, NewConnectionError):
            return ProviderConnectionError(model, "the connection was refused or the address is unknown")
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_HANDSHAKE:
            return InsecureConnectionError(model, f"no secure connection ({cause.reason})")
        cause = reason if isinstance(reason, BaseException) and reason is not cause else None
    return ProviderDisconnectedError(model, "the connection broke after the request was sent")


def _request_id(reply: requests.Response) -> str | None:
    """The provider's name for the exchange, from a header."""
    return next((reply.headers[name][:_EXCERPT] for name in _REQUEST_IDS if reply.headers.get(name)), None)


def whole_text(text: str) -> str:
    """The text with halves of surrogate pairs replaced: JSON can spell them, UTF-8 and MongoDB cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _hide_key(content: bytes, sent: requests.PreparedRequest) -> bytes:
    """What a provider said, without the key that it may have repeated."""
    for name in _SECRET_HEADERS:
        key = str(sent.headers.get(name, "")).rpartition(" ")[2].encode()
        if len(key) >= _SHORTEST_KEY:
            content = content.replace(key, b"***")
    return content


def _status_error(model: str, reply: requests.Response, content: bytes) -> ProviderError:
    """The one place where a status, and what the body says beside it, becomes one of our errors."""
    status, said = reply.status_code, _read_problem(content)
    name = _request_id(reply)
    problem = f"HTTP {status}: {said.text}" + (f" [request {name}]" if name else "")
    kind = _find_kind(status, said)
    if kind is ProviderRateLimitedError and is_too_large_alone(said.text, sent_bytes=len(reply.request.body or b"")):
        kind = RequestTooLargeError
    if not kind.is_retryable:
        return kind(model, problem)
    wait_s = _retry_after(reply.headers)
    return kind(model, problem, retry_after_s=said.retry_after_s if wait_s is None else wait_s)


_KIND_BY_STATUS: dict[int, type[ProviderError]] = {
    401: ProviderAuthenticationError,
    402: ProviderQuotaError,
    403: ProviderAuthenticationError,
    404: ProviderNotFoundError,
    408: ProviderOverloadedError,
    409: ProviderOverloadedError,
    413: ContextTooLongError,
    429: ProviderRateLimitedError,
}


def _find_kind(status: int, said: _Problem) -> type[ProviderError]:
    """The status says who is at fault; where it is the caller, the words say more exactly with what."""
    if status >= 500:
        return ProviderOverloadedError
    kind, text = _KIND_BY_STATUS.get(status, ProviderRejectedError), said.text.lower()
    if _NO_QUOTA.search(said.codes) or _NO_MONEY.search(text):
        return ProviderQuotaError
    if _REFUSED.search(said.codes):
        return ContentRefusedError
    if kind is not ProviderRejectedError:
        return kind
    if _BAD_KEY.search(said.codes):
        return ProviderAuthenticationError
    if _TOO_LONG.search(said.codes) or _TOO_LONG_TEXT.search(text):
        return ContextTooLongError
    return kind


def _read_problem(content: bytes) -> _Problem:
    """The message, codes and wait of an error body, whatever its shape."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return _Problem(content[:_EXCERPT].decode(errors="replace"))
    body = body[0] if isinstance(body, list) and body else body  # Google's streams wrap it
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return _Problem(whole_text(str(error))[:_EXCERPT])
    details = error.get("details")
    parts = [error, *(part for part in (details if isinstance(details, list) else []) if isinstance(part, dict))]
    codes = " ".join(str(part[name]) for part in parts for name in ("code", "type", "status", "reason") if name in part)
    text = whole_text(str(error.get("message", error)))[:_EXCERPT]
    return _Problem(text, codes.lower(), _find_delay(parts))


def _find_delay(parts: Iterable[Mapping[str, Any]]) -> float | None:
    """Seconds to wait, from Google's RetryInfo."""
    for part in parts:
        found = _RETRY_DELAY.fullmatch(str(part.get("retryDelay", "")))
        if found:
            return min(_LONGEST_WAIT_S, float(found[1]))
    return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: from retry-after-ms, else from Retry-After in seconds or as a date."""
    milliseconds = _to_wait(headers.get("retry-after-ms"), unit_s=0.001)
    if milliseconds is not None:
        return milliseconds
    value = headers.get("Retry-After")
    if value is None:
        return None
    seconds = _to_wait(value, unit_s=1)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # HTTP dates are UTC, whether they say so or not
    return min(_LONGEST_WAIT_S, max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def _to_wait(value: str | None, *, unit_s: float) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return min(_LONGEST_WAIT_S, max(0.0, number * unit_s)) if math.isfinite(number) else None


def _parse_object(model: str, content: bytes, sent: requests.PreparedRequest) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        excerpt = _hide_key(content, sent)[:80]
        raise MalformedCompletionError(model, f"the answer is not JSON: {excerpt!r}") from error
    if not isinstance(body, dict):
        raise MalformedCompletionError(model, "the answer is not a JSON object")
    return body
