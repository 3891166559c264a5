"""Connections to providers: what is read from one belongs to its call alone, and whoever may owe something is closed.

A pooled connection is lent to one call at a time. It goes back only when the answer was final, plainly framed, read to
its end and understood, and nothing came after it: else bytes of this call would be read as the next call's answer.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import time
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from orchestratex.errors import (
    CallUnwantedError,
    InsecureConnectionError,
    ProviderConnectionError,
    ProviderDisconnectedError,
    ProviderError,
    ProviderNotFoundError,
)
from orchestratex.providers.addresses import is_forbidden
from orchestratex.providers.base import STILL_WANTED

_QUICK_HANDSHAKE_S = 0.25  # after a longer one the call's thread may have been cancelled
_NO_HANDSHAKE: Final = {"CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"}  # OpenSSL's reasons: nothing was sent
_MOST_INTERIM: Final = 1000  # a server that says "still at it" every second may do so for as long as a call may take
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}[ \t]*(?:;[^\r\n]*)?\r?\n")


class _ForbiddenAddressError(NewConnectionError):
    """Raised when a name led to an address that no model may have; nothing was sent."""


class _UnwantedError(NewConnectionError):
    """Raised when nobody wants the answer any more by the time that the connection stands; nothing was sent."""


class _Bounded(io.RawIOBase):
    """A socket's bytes until a moment. A socket's own timeout begins anew with every byte that drips in."""

    def __init__(self, raw: io.RawIOBase, connected: socket.socket) -> None:
        self._raw = raw
        self._socket = connected
        limit_s = connected.gettimeout()
        self._deadline = None if limit_s is None else time.monotonic() + limit_s
        self.is_waiting = True  # False: only what is there already

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._left_s() if self.is_waiting else 0.0)
        try:
            return self._raw.readinto(buffer)
        except ssl.SSLWantReadError:
            if self.is_waiting:
                raise
            return None

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()

    def _left_s(self) -> float | None:
        if self._deadline is None:
            return None
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        return left_s


class Answer(http.client.HTTPResponse):
    """The final answer to a request: every interim one (1xx) before it is skipped, not only the first 100.

    Its head and body together may take as long as its socket's timeout says when it is made.
    """

    def __init__(self, sock: socket.socket, **options: Any) -> None:
        super().__init__(sock, **options)
        self._bounded = _Bounded(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._bounded)
        self._is_plain = False  # its end is where everybody would see it
        self._has_more = False  # bytes after its end
        self._is_done = False

    def begin(self) -> None:
        """Read its head."""
        super().begin()
        self._is_plain = self.status == http.client.OK and not self.will_close and _is_plainly_framed(self)
        for name in ("Set-Cookie", "Set-Cookie2"):  # nobody wants them, and reading them is work for nothing
            del self.headers[name]

    def isclosed(self) -> bool:
        """Whether it is read and its connection may go back; urllib3 asks after every read and then lends it out."""
        return super().isclosed() and self._is_done

    def is_spent(self) -> bool:
        """Whether it was read to its end, and that end is beyond doubt."""
        return super().isclosed() and self._is_plain and not self._has_more

    def finish(self) -> None:
        """Let its connection be lent out again."""
        self._is_done = True

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        for _ in range(_MOST_INTERIM):
            if not 100 <= status < 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
            version, status, reason = super()._read_status()  # type: ignore[misc]
        raise http.client.HTTPException(f"more than {_MOST_INTERIM} interim answers")

    def _read_next_chunk_size(self) -> int:
        """int() reads "-5", "0x5" and "1_0", too, and what is read otherwise by others ends elsewhere."""
        line = self.fp.readline(_LONGEST_CHUNK_LINE)
        if not _CHUNK_SIZE.fullmatch(line):
            self._close_conn()
            raise ValueError("no size of a chunk")
        return int(line.partition(b";")[0], 16)

    def _close_conn(self) -> None:
        if self.fp is not None and not self.will_close:
            self._bounded.is_waiting = False
            try:
                self._has_more = bool(self.fp.peek(1))
            except (OSError, ValueError):  # it broke, or is closed already
                self._has_more = True
        super()._close_conn()  # type: ignore[misc]


_LONGEST_CHUNK_LINE: Final = 1000


def _is_plainly_framed(answer: Answer) -> bool:
    """Whether there is one statement of the length, and one that cannot be read in two ways."""
    lengths, encodings = (answer.headers.get_all(name, []) for name in ("Content-Length", "Transfer-Encoding"))
    if answer.headers.defects or answer.headers.get_payload():
        return False
    if encodings:
        return not lengths and len(encodings) == 1 and encodings[0].lower() == "chunked"
    return len(lengths) == 1 and _LENGTH.fullmatch(lengths[0]) is not None


class _Guarded(HTTPConnection):
    """Looks at the address that it reached, whatever name led there, before it sends a byte."""

    response_class = Answer

    def _new_conn(self) -> socket.socket:
        return _guard(super()._new_conn(), self)

    def connect(self) -> None:
        started = time.monotonic()
        super().connect()
        _look_again(self, started)


class _GuardedTls(HTTPSConnection):
    response_class = Answer

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


_GUARDED_POOLS: Final = {"http": _GuardedPool, "https": _GuardedTlsPool}


class GuardedAdapter(HTTPAdapter):
    """requests' adapter over connections that are watched. Sending by it follows no redirect and keeps no cookie."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See HTTPAdapter."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _GUARDED_POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """See HTTPAdapter."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _GUARDED_POOLS
        return manager


def keep(reply: requests.Response) -> None:
    """Lend the connection of an answer that was read and understood to the next call, unless it may owe something.

    Without this it is closed with its reply.
    """
    connection = reply.raw.connection
    answer = getattr(reply.raw, "_original_response", None)
    if connection is None or not isinstance(answer, Answer) or not answer.is_spent():
        return
    if not connection.is_connected or _has_pending(connection.sock):
        return
    answer.finish()
    reply.raw.release_conn()


def _has_pending(connected: Any) -> bool:
    """Whether TLS has bytes for us that the system does not see any more."""
    return isinstance(connected, ssl.SSLSocket) and connected.pending() > 0


def find_reason(model: str, error: requests.ConnectionError) -> ProviderError:
    """What a connection that failed means for the call."""
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
