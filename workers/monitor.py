"""Flower that a foreign web page reaches neither by a name of its own nor with a form."""

from __future__ import annotations

import sys
from typing import Any

from orchestratex.browsers import refuse


def guard_flower() -> None:
    """Let `celery flower` serve this machine's own names and pages alone.

    Flower has no setting for it, so its command gets our application in the place of its own. Other commands of Celery
    load Flower too, as a plug-in; where it is not loaded there is nothing to guard.
    """
    command = sys.modules.get("flower.command")
    if command is not None:
        command.Flower = _make_guarded(command.Flower)  # type: ignore[attr-defined]


def _make_guarded(application: Any) -> Any:
    from tornado.web import ErrorHandler

    class GuardedFlower(application):  # type: ignore[misc]
        """Flower behind the same rules as the API."""

        is_guarded = True

        def find_handler(self, request: Any, **options: Any) -> Any:
            """Tornado asks this for each request, whatever its path."""
            refusal = refuse(
                request.method,
                request.headers.get("Host", ""),
                origins=request.headers.get_list("Origin"),
                sites=request.headers.get_list("Sec-Fetch-Site"),
            )
            if refusal is None:
                return super().find_handler(request, **options)
            return self.get_handler_delegate(request, ErrorHandler, {"status_code": int(refusal[0])})

    return application if getattr(application, "is_guarded", False) else GuardedFlower
