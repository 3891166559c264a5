"""HTTP to providers: one pooled session a process, foreign errors mapped once."""

from __future__ import annotations

import json
import math
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from orchestratex.errors import (
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
)

_CHUNK = 65_536
_LONGEST_WAIT_S = 86_400.0  # a Retry-After beyond a day is not to be believed
_SHORTEST_KEY = 8  # shorter "keys" are placeholders and may be words
_NO_HANDSHAKE = {"CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"}  # OpenSSL's reasons: nothing was sent
_EXCERPT = 300  # characters of a provider's error text that we repeat


class HttpClient:
    """A requests session that is bounded in time and size, follows no redirects and reads no proxy settings.

    Timeouts in seconds: `connect_timeout_s` for the handshake, `read_timeout_s` for the whole answer.
    """

    def __init__(self, *, pool_size: int, connect_timeout_s: float, read_timeout_s: float, max_bytes: int) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._max_bytes = max_bytes
        self._session = requests.Session()
        self._session.trust_env = False
        adapter = HTTPAdapter(pool_connections=32, pool_maxsize=pool_size, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._templates: dict[tuple[str, str], requests.PreparedRequest] = {}

    def post_json(self, model: str, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Send JSON, return the JSON object that came back. Raises ProviderError."""
        prepared = self._prepare(model, "POST", url)
        prepared.headers.update(headers)
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        prepared.headers["Content-Length"] = str(len(content))
        prepared.body = content
        return self._send(model, prepared)

    def get_json(self, model: str, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Fetch a JSON object. Raises ProviderError."""
        prepared = self._prepare(model, "GET", url)
        prepared.headers.update(headers)
        return self._send(model, prepared)

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def _prepare(self, model: str, method: str, url: str) -> requests.PreparedRequest:
        """Preparing costs as much as sending: done once an address, copied for each call."""
        template = self._templates.get((method, url))
        if template is None:
            headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "orchestratex"}
            try:
                template = requests.Request(method, url, headers=headers).prepare()
            except requests.RequestException as error:
                raise ProviderNotFoundError(model, f"{url!r} is no address: {error}") from error
            self._templates[method, url] = template
        return template.copy()

    def _send(self, model: str, prepared: requests.PreparedRequest) -> dict[str, Any]:
        deadline = time.monotonic() + self._read_timeout_s
        timeouts = (self._connect_timeout_s, self._read_timeout_s)
        try:
            with self._session.send(prepared, stream=True, timeout=timeouts, allow_redirects=False) as reply:
                content = self._read(model, reply, deadline)
        except requests.exceptions.InvalidSchema as error:
            raise ProviderNotFoundError(model, f"{prepared.url!r} is no HTTP address") from error
        except requests.ConnectTimeout as error:
            raise ProviderConnectionError(model, f"no connection within {self._connect_timeout_s:g} s") from error
        except requests.Timeout as error:
            raise ProviderTimeoutError(model, f"no answer within {self._read_timeout_s:g} s") from error
        except requests.ConnectionError as error:
            raise _connection_error(model, error) from error
        except ReadTimeoutError as error:
            raise ProviderTimeoutError(model, f"no complete answer within {self._read_timeout_s:g} s") from error
        except (requests.RequestException, HTTPError) as error:
            raise ProviderDisconnectedError(model, f"the answer broke off ({type(error).__name__})") from error
        except ValueError:  # http.client's, whose text and cause hold the header: the key
            raise ProviderAuthenticationError(model, "the key holds a character that no header may hold") from None
        if reply.status_code != requests.codes.ok:
            raise _status_error(model, reply, _hide_key(content, prepared))
        return _parse_object(model, content, prepared)

    def _read(self, model: str, reply: requests.Response, deadline: float) -> bytes:
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
                raise ProviderTimeoutError(model, f"no complete answer within {self._read_timeout_s:g} s")
        return b"".join(parts)


def _connection_error(model: str, error: requests.ConnectionError) -> ProviderError:
    cause: BaseException | None = error
    while cause is not None:
        reason = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        if isinstance(cause, NewConnectionError):
            return ProviderConnectionError(model, "the connection was refused or the address is unknown")
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_HANDSHAKE:
            return ProviderConnectionError(model, f"no secure connection ({cause.reason})")
        cause = reason if isinstance(reason, BaseException) and reason is not cause else None
    return ProviderDisconnectedError(model, "the connection broke after the request was sent")


def whole_text(text: str) -> str:
    """The text with what is no character replaced: JSON can spell halves of surrogate pairs, UTF-8 and MongoDB cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _hide_key(content: bytes, sent: requests.PreparedRequest) -> bytes:
    """What a provider said, without the key that it may have repeated."""
    key = str(sent.headers.get("Authorization", "")).rpartition(" ")[2].encode()
    return content.replace(key, b"***") if len(key) >= _SHORTEST_KEY else content


def _status_error(model: str, reply: requests.Response, content: bytes) -> ProviderError:
    status, text, code = reply.status_code, *_error_text(content)
    problem = f"HTTP {status}: {text}"
    if status in {401, 403}:
        return ProviderAuthenticationError(model, problem)
    if status == 404:
        return ProviderNotFoundError(model, problem)
    if status == 429:
        return ProviderRateLimitedError(model, problem, retry_after_s=_retry_after(reply))
    if status in {408, 409} or status >= 500:
        return ProviderOverloadedError(model, problem, retry_after_s=_retry_after(reply))
    if status == 413 or "context_length" in code or "too long" in text.lower():
        return ContextTooLongError(model, problem)
    if "content" in code and ("policy" in code or "filter" in code):
        return ContentRefusedError(model, problem)
    return ProviderRejectedError(model, problem)


def _error_text(content: bytes) -> tuple[str, str]:
    """The message and code of an error body, whatever its shape."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return content[:_EXCERPT].decode(errors="replace"), ""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return whole_text(str(error))[:_EXCERPT], ""
    text = whole_text(str(error.get("message", error)))
    return text[:_EXCERPT], str(error.get("code") or error.get("type") or "")


def _retry_after(reply: requests.Response) -> float | None:
    """Seconds to wait, from a Retry-After header in seconds or as a date."""
    value = reply.headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
        return min(_LONGEST_WAIT_S, max(0.0, seconds)) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # HTTP dates are UTC, whether they say so or not
    return min(_LONGEST_WAIT_S, max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def _parse_object(model: str, content: bytes, sent: requests.PreparedRequest) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        excerpt = _hide_key(content, sent)[:80]
        raise MalformedCompletionError(model, f"the answer is not JSON: {excerpt!r}") from error
    if not isinstance(body, dict):
        raise MalformedCompletionError(model, "the answer is not a JSON object")
    return body
