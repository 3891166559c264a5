"""How long and how many clients may hold a connection: what uvicorn leaves open."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestratex.api.problems import TOO_MANY_CONNECTIONS, problem

_log = logging.getLogger(__name__)
_WANTED_FILES: Final = 8192
_FILES_PER_BACKLOG: Final = 8  # of all that may be open: whom the kernel has let in is accepted in one go
_MOST_BACKLOG: Final = 128
_RESERVE_SHARE: Final = 4  # a quarter of the files is ours: database, broker, logs, and who waits to be let in


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client may take."""

    connections: int = 4000  # of all clients together
    header_s: float = 10.0  # from the connection's or the request's first byte to the end of its header
    body_s: float = 30.0  # from the end of the header to the end of the body
    answer_s: float = 30.0  # for taking an answer that is there
    backlog: int = _MOST_BACKLOG  # who waits to be accepted

    @classmethod
    def within(cls, files: int) -> ConnectionLimits:
        """The limits for a process that may have so many open files: it never runs out of them by its clients."""
        backlog = max(1, min(_MOST_BACKLOG, files // _FILES_PER_BACKLOG))
        room = files - files // _RESERVE_SHARE - backlog
        return cls(connections=max(1, min(cls().connections, room)), backlog=backlog)


def allow_open_files() -> int:
    """Raise the soft limit of open files as far as is allowed and useful; returns what it is then."""
    try:
        import resource
    except ImportError:  # Windows has none
        return _WANTED_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _WANTED_FILES if soft == resource.RLIM_INFINITY else soft


def make_protocol(limits: ConnectionLimits) -> type[H11Protocol]:
    """Uvicorn's protocol within these limits."""
    return type("BoundedProtocol", (_Bounded,), {"limits": limits})


class _Bounded(H11Protocol):
    """Closes whom it cannot serve, who does not come to the end of a request, and who does not take the answer."""

    limits: ConnectionLimits
    _deadline: asyncio.TimerHandle | None = None
    _phase: Any = None  # of the request that the deadline is for
    _taking: asyncio.TimerHandle | None = None  # runs while bytes wait for the client to take them

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let a client in, or tell it that there are too many."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # we are told of every byte that waits
        if len(self.connections) > self.limits.connections:
            _log.warning("refusing connections: %s are open and may be", self.limits.connections)
            detail = "too many connections are open; try again later"
            self._end(HTTPStatus.SERVICE_UNAVAILABLE, detail, kind=TOO_MANY_CONNECTIONS)
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._stop_watching()
        self._stop_taking()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the client its time to take what waits: closing, too, would wait for that."""
        super().pause_writing()
        self._stop_taking()
        self._taking = self.loop.call_later(self.limits.answer_s, self.transport.abort)

    def resume_writing(self) -> None:
        """All is taken."""
        self._stop_taking()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Read on; what comes from a client that was told to go is not read."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on with what the client has sent meanwhile."""
        super().on_response_complete()
        if self.conn.trailing_data[0] or self.conn.their_state is not h11.IDLE:
            self._watch()
        else:  # between two requests uvicorn's own limit holds
            self._stop_watching()

    def _watch(self) -> None:
        """Give the phase of the request that has begun its time, however slowly its bytes come."""
        phase = None if self.transport.is_closing() else self.conn.their_state
        if phase is self._phase:
            return
        self._stop_watching()
        self._phase = phase
        times: dict[Any, float] = {h11.IDLE: self.limits.header_s, h11.SEND_BODY: self.limits.body_s}
        seconds = times.get(phase)
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self._give_up)

    def _stop_watching(self) -> None:
        self._phase = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _give_up(self) -> None:
        part = "header" if self._phase is h11.IDLE else "body"
        seconds = self.limits.header_s if part == "header" else self.limits.body_s
        self._end(HTTPStatus.REQUEST_TIMEOUT, f"the request's {part} was not complete within {seconds:g} s")

    def _end(self, status: HTTPStatus, reason: str, *, kind: str | None = None) -> None:
        """Close the connection, with an answer where none has begun and the client takes it at once."""
        self._stop_watching()
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            answer = problem(status, reason, kind=kind)
            headers = [*answer.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
                h11.Data(data=bytes(answer.body)),
            ):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
        self.transport.close()
