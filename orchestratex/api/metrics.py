from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from orchestratex.domain.base import Period
from orchestratex.steps.services import Services


def make_router(services: Services) -> APIRouter:
    """The routes of metrics."""
    router = APIRouter(prefix="/v1/metrics", tags=["metrics"])

    @router.get("")
    def get_windows(period: Period = Period.HOURLY, limit: Annotated[int, Query(ge=1, le=1000)] = 24) -> dict[str, Any]:
        """The latest windows of a length, the latest first."""
        windows = services.store.metrics(period.value, limit=limit)
        return {"period": period.value, "windows": [window.model_dump(mode="json") for window in windows]}

    return router
