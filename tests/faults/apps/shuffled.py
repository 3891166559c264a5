"""The workers' app on a broker out of order: `celery -A tests.faults.apps.shuffled worker …`.

Half of the messages overtake all that wait, and every fifth is held back for up to two seconds.
"""

from __future__ import annotations

import json
import random
import threading
from typing import Any

from kombu.transport.redis import Channel

from workers.app import app

OVERTAKING = 0.5
HELD_BACK = 0.2
HELD_S = 2.0


def _put_somewhere(channel: Any, queue: str, message: dict[str, Any], **_: Any) -> None:
    """Workers take from the right: what is pushed there is next."""
    key = channel._q_for_pri(queue, channel._get_message_priority(message, reverse=False))
    push = "rpush" if random.random() < OVERTAKING else "lpush"

    def put() -> None:
        with channel.conn_or_acquire() as client:
            getattr(client, push)(key, json.dumps(message))

    if random.random() < HELD_BACK:
        timer = threading.Timer(random.random() * HELD_S, put)
        timer.daemon = True
        timer.start()
    else:
        put()


Channel._put = _put_somewhere  # type: ignore[method-assign,assignment]

__all__ = ["app"]
