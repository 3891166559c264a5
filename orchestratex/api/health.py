from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter

from orchestratex.api.problems import problem
from orchestratex.steps.health import STORE, HealthWatch
from orchestratex.steps.served import MODELS

_KINDS = {STORE: "store-unavailable", MODELS: "no-model"}


def make_router(watch: HealthWatch) -> APIRouter:
    """The routes that tell a supervisor how we are."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def is_alive() -> dict[str, str]:
        """Whether the process answers, also while all its threads wait for something."""
        return {"status": "ok"}

    @router.get("/readyz")
    def is_ready() -> Any:
        """Whether threads are taken in and worked on; if not, what is wrong, for how long, and what to do.

        503 where nothing can be stored or no model can be asked: then nothing is taken in. `degraded` where threads
        are taken in and wait: without broker, limits or workers, with no model in reach; and without a beat or control
        workers, when nothing is mended.
        """
        health = watch.look()
        if not health.refuses:
            return health.view()
        problems = health.problems
        cause = next(name for name in _KINDS if name in problems)
        detail = "; ".join(problems.values())
        field = ", ".join(problems)
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, kind=_KINDS[cause], field=field)

    return router
