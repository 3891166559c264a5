"""The access log: one line a request, of those that were refused at the door, too."""

from __future__ import annotations

import logging
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestratex.loglines import about

_MOST_PATH: Final = 200  # characters
_ASKED_ALL_THE_TIME: Final = frozenset({"/healthz", "/readyz"})  # by supervisors: at DEBUG
_ABORTED: Final = 499  # the caller left before an answer began, as nginx counts it

_log = logging.getLogger(__name__)


class AccessLog:
    """Tells method, path, status, milliseconds and the caller's address; never a query or a body: they are people's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = _ABORTED, time.perf_counter()

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            _tell(scope, status, took_ms=(time.perf_counter() - started) * 1000)


def _tell(scope: Scope, status: int, *, took_ms: float) -> None:
    method, path = scope["method"], scope["path"]
    level = logging.DEBUG if path in _ASKED_ALL_THE_TIME else logging.INFO
    client = scope.get("client")
    fields = about(
        method=method,
        path=path[:_MOST_PATH],
        status=status,
        took_ms=round(took_ms, 1),
        client=client[0] if client else None,
    )
    _log.log(level, "%s %s %d", method, path[:_MOST_PATH], status, extra=fields)
