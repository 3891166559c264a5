"""Warnings that a client can cause as often as it likes, written once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

PERIOD_S: Final = 60.0
_MOST_KINDS: Final = 200
LOGGERS: Final = ("uvicorn.error", "asyncio", "orchestratex.api.connections")


class Seldom(logging.Filter):
    """Lets each message of a logger through once a period, with how often it was left out before.

    A traceback of our own is never left out: only lines without one, and those of connections that cannot be accepted.
    """

    def __init__(self, *, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._period_s = period_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record; says in it how many like it were not written."""
        kind = _kind_of(record)
        if kind is None:
            return True
        now = self._clock()
        with self._lock:
            last = self._last.get(kind)
            if last is not None and now - last < self._period_s:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return False
            if len(self._last) > _MOST_KINDS:  # a filter that keeps everything would itself grow without end
                self._last.clear()
                self._left_out.clear()
            self._last[kind] = now
            left_out = self._left_out.pop(kind, 0)
        if record.exc_info:
            record.exc_info = record.exc_text = None
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} more since the last such line)"
            record.args = None
        return True


def quieten() -> None:
    """Put the filter on the loggers that clients can make write."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, Seldom) for each in logger.filters):
            logger.addFilter(Seldom())


def _kind_of(record: logging.LogRecord) -> str | None:
    """What makes two records alike; None for a record that is always written."""
    text = str(record.msg)
    if text.startswith("socket.accept() out of system resource"):
        return "accept"
    if record.exc_info or record.levelno < logging.WARNING or record.levelno >= logging.CRITICAL:
        return None
    return text[:80]
