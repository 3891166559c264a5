from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter

from orchestratex.api.problems import problem
from orchestratex.errors import UnavailableError
from orchestratex.steps.pulse import BEAT, CONTROL, describe_missing
from orchestratex.steps.services import Services


def make_router(services: Services) -> APIRouter:
    """The routes that tell a supervisor how we are."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def is_alive() -> dict[str, str]:
        """Whether the process answers, also while all its threads wait for something."""
        return {"status": "ok"}

    @router.get("/readyz")
    def is_ready() -> Any:
        """Whether store and broker answer; if not, which does not, and at what address.

        Without a beat or control workers threads are still taken in and answered, but nothing is mended; without the
        shared limits nobody calls a model. That is `degraded`, with what is missing, for how long, and what to do.
        """
        checks: dict[str, Callable[[], object]] = {
            "store": services.store.ping,
            "broker": services.queue.ping,
        }
        away = {name: text for name, check in checks.items() if (text := _try(check)) is not None}
        if away:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(away.values()), field=", ".join(away))
        missing = describe_missing(services)
        if (limits := _try(services.limiter.ping)) is not None:
            missing["limits"] = f"{limits}; no model is called until they can"
        parts = {**dict.fromkeys([*checks, "limits", BEAT, CONTROL], "ok"), **missing}
        return {"status": "degraded" if missing else "ok", **parts}

    return router


def _try(check: Callable[[], object]) -> str | None:
    try:
        check()
    except UnavailableError as error:
        return str(error)
    return None
