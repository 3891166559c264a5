"""The workers' app on a broker that doubles every message and keeps no order."""

from __future__ import annotations

from typing import Any

from kombu.transport.redis import Channel

from tests.faults.apps.shuffled import app

_put = Channel._put


def _put_twice(channel: Any, queue: str, message: dict[str, Any], **options: Any) -> None:
    """Each copy goes its own way."""
    for _ in range(2):
        _put(channel, queue, message, **options)  # type: ignore[no-untyped-call]


Channel._put = _put_twice  # type: ignore[method-assign,assignment]

__all__ = ["app"]
