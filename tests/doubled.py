"""The workers' app on a broker that delivers every message twice: `celery -A tests.doubled worker …`."""

from __future__ import annotations

from typing import Any

from kombu.transport.redis import Channel

from workers.app import app

_put = Channel._put


def _put_twice(channel: Any, queue: str, message: dict[str, Any], **options: Any) -> None:
    """What a lost reply to a publication, or a broken connection under a task, does."""
    for _ in range(2):
        _put(channel, queue, message, **options)  # type: ignore[no-untyped-call]


Channel._put = _put_twice  # type: ignore[method-assign,assignment]

__all__ = ["app"]
