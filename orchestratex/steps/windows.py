"""Windows of metrics as people read them: what the schema and we promise, without what they are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from orchestratex.domain.base import Period
from orchestratex.store.base import Store

MAX_WINDOWS: Final = 1000
_INSIDE: Final = {"sums", "rolls", "open_sessions"}


def view_windows(
    period: Period, store: Store, *, since: datetime | None, until: datetime | None, limit: int
) -> dict[str, Any]:
    """The latest windows of a length, of those that begin in [since, until), the latest first; ready for JSON."""
    windows = store.metrics(period.value, limit=limit, since=since, until=until)
    return {"period": period.value, "windows": [each.model_dump(mode="json", exclude=_INSIDE) for each in windows]}
