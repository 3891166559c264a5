"""The workers' app on a broker that delivers every message twice: `celery -A tests.doubled worker …`."""

from __future__ import annotations

from typing import Any

from kombu.messaging import Producer

from workers.app import app

_publish = Producer._publish


def _publish_twice(producer: Any, *message: Any, **options: Any) -> Any:
    """What a lost reply to a publication, or a broken connection under a task, does."""
    for _ in range(2):
        sent = _publish(producer, *message, **options)  # type: ignore[no-untyped-call]
    return sent


Producer._publish = _publish_twice  # type: ignore[method-assign,assignment]

__all__ = ["app"]
