"""Flower as we run it: out of reach of foreign web pages, and with all of our queues on its Broker page."""

from __future__ import annotations

import sys
from typing import Any

from orchestratex.browsers import refuse
from orchestratex.queue import QUEUES


def guard_flower() -> None:
    """Let `celery flower` serve this machine's own names and pages alone.

    Flower has no setting for it, so its command gets our application in the place of its own. Other commands of Celery
    load Flower too, as a plug-in; where it is not loaded there is nothing to guard.
    """
    command = sys.modules.get("flower.command")
    if command is not None:
        command.Flower = _make_guarded(command.Flower)  # type: ignore[attr-defined]
        _name_all_queues()


def _name_all_queues() -> None:
    """Show every queue of ours whoever works on it: Flower shows those alone whose workers have answered it."""
    from flower.views import BaseHandler

    BaseHandler.get_active_queue_names = lambda _handler: sorted(QUEUES)


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
