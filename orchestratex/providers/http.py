"""HTTP to providers: one pool of connections a process, foreign errors mapped once."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import requests
from urllib3.exceptions import HTTPError, LocationValueError, ReadTimeoutError

from orchestratex.domain.response import SIMULATED_HEADER
from orchestratex.errors import (
    CallUnwantedError,
    InputError,
    MalformedCompletionError,
    ProviderAuthenticationError,
    ProviderConnectionError,
    ProviderDisconnectedError,
    ProviderError,
    ProviderNotFoundError,
    ProviderTimeoutError,
)
from orchestratex.providers.addresses import find_forbidden
from orchestratex.providers.base import TIME_LIMIT_S
from orchestratex.providers.connections import GuardedAdapter, find_reason, keep
from orchestratex.providers.masking import Mask
from orchestratex.providers.origins import KEY_ORIGINS_VARIABLE, read_origin
from orchestratex.providers.problems import find_error, status_error
from orchestratex.providers.waits import read_retry_after

_CHUNK = 65_536
_SECRET_HEADERS: Final = ("Authorization", "x-api-key", "x-goog-api-key")
_SENDABLE: Final = re.compile(r"[ -~\x80-\xff]*")  # no control characters, and nothing beyond Latin-1
_REQUEST_IDS: Final = ("x-request-id", "request-id")
_FIXED: Final = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "orchestratex"}


@dataclass(frozen=True)
class Reply:
    """A JSON object that a provider sent, and its name for the exchange where a header held one."""

    body: dict[str, Any]
    request_id: str | None
    is_simulated: bool = False  # a header says that it comes from the sandbox


@dataclass(frozen=True)
class _Received:
    """An answer as it was read."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    body: Any  # of a 200, with the keys hidden in it


class HttpClient:
    """Sends to providers, bounded in time and size; follows no redirects, keeps no cookies, reads no proxy settings.

    Timeouts in seconds: `connect_timeout_s` for the handshake, `read_timeout_s` for the whole answer. `proxy` is the
    address of a proxy for all calls; none is read from the environment. Behind it we do not see which address a name
    leads to: it is looked up here first, unless its origin (see `read_origin`) is one of `known_origins`.
    """

    def __init__(
        self,
        *,
        pool_size: int,
        connect_timeout_s: float,
        read_timeout_s: float,
        max_bytes: int,
        proxy: str | None = None,
        known_origins: Collection[str] = (),
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._max_bytes = max_bytes
        self._proxies = {} if proxy is None else {"http": proxy, "https": proxy}
        self._known_origins = frozenset(known_origins)
        self._proxy_secret = unquote(urlsplit(proxy).password or "") if proxy else ""
        self._adapter = GuardedAdapter(pool_connections=32, pool_maxsize=pool_size, max_retries=0)
        self._templates: dict[tuple[str, str], requests.PreparedRequest] = {}

    def post(self, model: str, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        """Send JSON, return the JSON object that came back. Raises ProviderError, for an error in a 200 too."""
        prepared = self._prepare(model, "POST", url, headers)
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        prepared.headers["Content-Length"] = str(len(content))
        prepared.body = content
        return self._ask(model, prepared)

    def post_json(self, model: str, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Send JSON, return the JSON object that came back. Raises ProviderError."""
        return self.post(model, url, body, headers).body

    def get_json(self, model: str, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Fetch a JSON object. Raises ProviderError."""
        return self._ask(model, self._prepare(model, "GET", url, headers)).body

    def get_any(self, model: str, url: str, headers: Mapping[str, str]) -> Any:
        """Fetch a JSON value of whatever kind. Raises ProviderError."""
        return self._exchange(model, self._prepare(model, "GET", url, headers))[0].body

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    def _prepare(self, model: str, method: str, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
        """Preparing costs as much as sending: done once an address, copied for each call."""
        if not all(map(_SENDABLE.fullmatch, headers.values())):  # http.client would raise an error that repeats the key
            raise ProviderAuthenticationError(model, "the key holds a character that no header may hold")
        template = self._templates.get((method, url))
        if template is None:
            try:
                template = requests.Request(method, url, headers=_FIXED).prepare()
            except (requests.RequestException, ValueError) as error:
                raise ProviderNotFoundError(model, f"{url!r} is no address: {error}") from error
            if urlsplit(str(template.url)).scheme not in {"http", "https"}:
                raise ProviderNotFoundError(model, f"{url!r} is no HTTP address")
            self._templates[method, url] = template
        prepared = template.copy()
        prepared.headers.update(headers)
        return prepared

    def _ask(self, model: str, prepared: requests.PreparedRequest) -> Reply:
        received, request_id = self._exchange(model, prepared)
        if not isinstance(received.body, dict):
            raise MalformedCompletionError(model, "the answer is not a JSON object")
        return Reply(received.body, request_id, is_simulated=SIMULATED_HEADER in received.headers)

    def _exchange(self, model: str, prepared: requests.PreparedRequest) -> tuple[_Received, str | None]:
        """What came back, with its JSON value, and the provider's name for the exchange."""
        mask = Mask([*_find_keys(prepared), self._proxy_secret])
        received = self._send(model, prepared, mask)
        request_id = _find_request_id(received.headers, mask)
        sent_bytes = len(prepared.body or b"")
        if received.status != requests.codes.ok:
            raise status_error(
                model,
                received.status,
                received.content,
                mask,
                sent_bytes=sent_bytes,
                request_id=request_id,
                retry_after_s=read_retry_after(received.headers),
            )
        error = find_error(model, received.body, mask, sent_bytes=sent_bytes, request_id=request_id)
        if error is not None:
            raise error
        return received, request_id

    def _send(self, model: str, prepared: requests.PreparedRequest, mask: Mask) -> _Received:
        limit_s = min(self._read_timeout_s, TIME_LIMIT_S.get() or math.inf)
        deadline = time.monotonic() + limit_s
        timeouts = (self._connect_timeout_s, limit_s)
        if self._proxies:
            self._look_up(model, str(prepared.url))
        try:
            # past requests' Session, which reads where a redirect leads, its body without a bound, and cookies
            with self._adapter.send(prepared, stream=True, timeout=timeouts, proxies=self._proxies) as reply:
                content = self._read(model, reply, deadline, limit_s)
                is_ok = reply.status_code == requests.codes.ok
                body = mask.hide_all(content, _parse(model, content, mask)) if is_ok else None
                keep(reply)  # it was understood
        except (requests.RequestException, HTTPError) as error:
            raise self._translate(model, error, limit_s) from error
        return _Received(reply.status_code, reply.headers, content, body)

    def _translate(self, model: str, error: requests.RequestException | HTTPError, limit_s: float) -> ProviderError:
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema | LocationValueError):
            return ProviderNotFoundError(model, "its address is no HTTP address")
        if isinstance(error, requests.exceptions.ProxyError):  # raised only before the proxy has taken the request
            found = find_reason(model, error)
            is_unwanted = isinstance(found, CallUnwantedError)
            return found if is_unwanted else ProviderConnectionError(model, "the proxy refused or cannot be reached")
        if isinstance(error, requests.ConnectTimeout):
            return ProviderConnectionError(model, f"no connection within {self._connect_timeout_s:g} s")
        if isinstance(error, requests.Timeout | ReadTimeoutError):
            return ProviderTimeoutError(model, f"no complete answer within {limit_s:g} s")
        if isinstance(error, requests.ConnectionError):
            return find_reason(model, error)
        return ProviderDisconnectedError(model, f"the answer broke off ({type(error).__name__})")

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

    def _look_up(self, model: str, url: str) -> None:
        """Look where a name leads, which the proxy will not tell. Raises ProviderNotFoundError; nothing was sent."""
        try:
            origin = read_origin(url.partition("?")[0])
        except InputError as error:
            raise ProviderNotFoundError(model, f"{error.problem}: nothing was sent") from error
        if origin in self._known_origins:
            return
        parts = urlsplit(origin)
        try:
            forbidden = find_forbidden(parts.hostname or "", parts.port or 0)
        except (OSError, UnicodeError) as error:
            problem = (
                f"{parts.hostname} cannot be looked up, so nobody knows where the proxy would go: nothing was sent; "
                f"an origin that {KEY_ORIGINS_VARIABLE} names is not looked up"
            )
            raise ProviderNotFoundError(model, problem) from error
        if forbidden:
            raise ProviderNotFoundError(model, "the address is a link-local or metadata address: nothing was sent")


def whole_text(text: str) -> str:
    """The text with halves of surrogate pairs replaced: JSON can spell them, UTF-8 and MongoDB cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _find_keys(sent: requests.PreparedRequest) -> list[str]:
    return [str(sent.headers.get(name, "")).rpartition(" ")[2] for name in _SECRET_HEADERS]


def _find_request_id(headers: Mapping[str, str], mask: Mask) -> str | None:
    """The provider's name for the exchange, from a header."""
    found = (mask.excerpt(headers.get(name) or "") for name in _REQUEST_IDS)
    return next(filter(None, found), None)


def _parse(model: str, content: bytes, mask: Mask) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        excerpt = mask.excerpt(content[:_CHUNK].decode(errors="replace"), length=80)
        raise MalformedCompletionError(model, f"the answer is not JSON: {excerpt!r}") from error
