"""Dead letters: what was refused is set aside where people can look at it, and never delivered again."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from kombu.transport.redis import Channel
from redis.exceptions import RedisError

DEAD: Final = "dead"  # this list in Redis, behind the prefix; on RabbitMQ the queue's dead letter policy decides
KEPT: Final = 1000  # letters, the newest
KEPT_CHARACTERS: Final = 10_000  # of each
LOGGED_CHARACTERS: Final = 200

_log = logging.getLogger(__name__)


def bury(channel: Any, text: str, *, queue: str, why: str) -> None:
    """Log one line, and keep the text where the broker is Redis."""
    _log.warning("refused a message of %s, %s: %.*r", queue, why, LOGGED_CHARACTERS + 2, text[:LOGGED_CHARACTERS])
    if not isinstance(channel, Channel):
        return
    letter = json.dumps(
        {"at": datetime.now(UTC).isoformat(), "queue": queue, "why": why, "message": text[:KEPT_CHARACTERS]}
    )
    try:
        with channel.conn_or_acquire() as client:
            client.lpush(DEAD, letter)
            client.execute_command("LTRIM", f"{channel.global_keyprefix}{DEAD}", 0, KEPT - 1)  # kombu prefixes others
    except RedisError as error:
        _log.warning("the refused message could not be kept: %s", error)
