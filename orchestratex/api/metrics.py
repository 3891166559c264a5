from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from orchestratex.domain.base import Period
from orchestratex.domain.inputs import Moment
from orchestratex.steps.services import Services
from orchestratex.steps.windows import MAX_WINDOWS, view_windows


def make_router(services: Services) -> APIRouter:
    """The routes of metrics."""
    router = APIRouter(prefix="/v1/metrics", tags=["metrics"])

    @router.get("")
    def get_windows(
        period: Period = Period.HOURLY,
        since: Annotated[Moment | None, Query(alias="from", description="windows that begin then or later")] = None,
        until: Annotated[Moment | None, Query(alias="to", description="windows that begin before")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_WINDOWS)] = 24,
    ) -> dict[str, Any]:
        """The latest windows of a length, the latest first."""
        return view_windows(period, services.store, since=since, until=until, limit=limit)

    return router
