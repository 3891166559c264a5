from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter

from orchestratex.api.problems import problem
from orchestratex.errors import UnavailableError
from orchestratex.queue import CeleryQueue, Queue
from orchestratex.steps.services import Services


def make_router(services: Services) -> APIRouter:
    """The routes that tell a supervisor how we are."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    def is_alive() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    def is_ready() -> Any:
        """Whether store and broker answer; if not, which does not, and at what address."""
        checks: dict[str, Callable[[], object]] = {
            "store": services.store.ping,
            "broker": lambda: _ping(services.queue),
        }
        away = {name: text for name, check in checks.items() if (text := _try(check)) is not None}
        if away:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(away.values()), field=", ".join(away))
        return {"status": "ok", **dict.fromkeys(checks, "ok")}

    return router


def _ping(queue: Queue) -> None:
    """Ask the broker; a queue without an address is asked for its length."""
    if isinstance(queue, CeleryQueue):
        queue.ping()
    else:
        queue.length()


def _try(check: Callable[[], object]) -> str | None:
    try:
        check()
    except UnavailableError as error:
        return str(error)
    return None
