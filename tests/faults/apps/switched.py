"""The workers' app on a broker that doubles messages while a file exists: ORCHESTRATEX_TEST_DOUBLING names it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kombu.transport.redis import Channel

from workers.app import app

SWITCH = Path(os.environ.get("ORCHESTRATEX_TEST_DOUBLING", "/nonexistent"))
_put = Channel._put


def _put_perhaps_twice(channel: Any, queue: str, message: dict[str, Any], **options: Any) -> None:
    for _ in range(2 if SWITCH.exists() else 1):
        _put(channel, queue, message, **options)  # type: ignore[no-untyped-call]


Channel._put = _put_perhaps_twice  # type: ignore[method-assign,assignment]

__all__ = ["app"]
