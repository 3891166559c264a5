"""What every request must pass before it reaches a route."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestratex.api.problems import problem

MAX_BODY_BYTES: Final = 5_000_000  # a prompt and a context of 200,000 characters each, escaped at their longest


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, out of reach for others."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class LoopbackGuard:
    """Refuses requests for other hosts than this one: a web page must not reach us by a name that it rebinds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and not is_loopback(_name_of(Headers(scope=scope).get("host", ""))):
            refusal = problem(HTTPStatus.MISDIRECTED_REQUEST, "only loopback addresses are served", field="Host")
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses bodies that are longer than any good request."""

    def __init__(self, app: ASGIApp, *, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = None if self._announces_too_much(scope) else await self._read(receive)
        if body is None:
            detail = f"the body is longer than {self._max_bytes} bytes"
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, field="body")(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _announces_too_much(self, scope: Scope) -> bool:
        length = Headers(scope=scope).get("content-length", "0")
        return length.isdigit() and int(length) > self._max_bytes

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None when it is too long."""
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def _name_of(host: str) -> str:
    """The host without its port and brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
