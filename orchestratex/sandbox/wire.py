"""One exchange over HTTP, with the ways to end it badly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterable
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestratex.domain.response import SIMULATED_HEADER

JSON: Final = b"application/json"
HTML: Final = b"text/html; charset=utf-8"
_RESET: Final = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN
_Address = tuple[str, int]


class Connections:
    """The open connections by the client's address, so that an exchange can cut its own."""

    def __init__(self) -> None:
        self._transports: dict[_Address, asyncio.Transport] = {}

    def make_protocol(self) -> type[H11Protocol]:
        """Return the protocol that enters its connections here."""
        transports = self._transports

        class Recorded(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                if self.client:
                    transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if self.client:
                    transports.pop(self.client, None)

        return Recorded

    def find(self, scope: Scope) -> asyncio.Transport | None:
        """Return the transport of a request, None where the server did not enter it."""
        client = scope.get("client")
        return self._transports.get((client[0], client[1])) if client else None


class Wire:
    """One request and its reply."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, connections: Connections) -> None:
        self.headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._scope, self._receive, self._send = scope, receive, send
        self._connections = connections

    async def read(self) -> bytes:
        """Return the whole body."""
        chunks: list[bytes] = []
        while True:
            message = await self._receive()
            chunks.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(chunks)

    async def reply(
        self, status: int, body: bytes, *, content_type: bytes = JSON, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send a whole reply."""
        await self._send(_start(status, len(body), content_type, headers))
        await self._send({"type": "http.response.body", "body": body})

    async def reply_half(self, body: bytes) -> None:
        """Promise a whole body, send half of it and close the connection."""
        await self._send(_start(200, len(body), JSON, ()))
        await self._send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await self._close(flush=True)

    async def cut(self) -> None:
        """Reset the connection without a reply."""
        await self._close(flush=False)

    async def hold(self, seconds: float) -> None:
        """Say nothing until the time is over or the client has gone."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone(), seconds)

    async def _close(self, *, flush: bool) -> None:
        transport = self._connections.find(self._scope)
        if transport is None:
            return
        if flush:
            transport.close()
        else:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        await self._gone()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _start(status: int, length: int, content_type: bytes, headers: Iterable[tuple[str, str]]) -> Message:
    fields: list[tuple[bytes, bytes]] = [(b"content-type", content_type), (b"content-length", str(length).encode())]
    fields += [(name.encode(), value.encode()) for name, value in (*headers, (SIMULATED_HEADER, "simulated"))]
    message: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": fields}
    return message
