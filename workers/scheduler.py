"""The beat's schedule, in memory: its messages leave nothing in Flower, a broker that is away a line a minute."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from celery.beat import Scheduler, SchedulingError

_WARN_EVERY_S: Final = 60.0

_log = logging.getLogger(__name__)


class BeatScheduler(Scheduler):  # type: ignore[misc] # Celery carries no types
    """Celery's scheduler, which would log a traceback and a stack for every message that a broker does not take."""

    def __init__(self, app: Any, **options: Any) -> None:
        app.conf.task_send_sent_event = False  # of this process: an event for each sign of life hides the work
        self._warned_at = float("-inf")
        self._unsent = 0
        super().__init__(app, **options)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """See Scheduler. What cannot be sent is left: the next message of its kind is due within a minute."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            self._unsent += 1
            self._warn(str(error))
            return
        if self._unsent:
            _log.warning("the broker takes messages again: %d were not sent", self._unsent)
        self._unsent, self._warned_at = 0, float("-inf")

    def _warn(self, why: str) -> None:
        if time.monotonic() - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = time.monotonic()
            _log.warning("%s; tried again when it is next due", why)
