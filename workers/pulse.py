"""The sign of life of workers that call models.

It is left by who hears the worker's own heartbeat, so that a loop which hangs, or has lost its broker, leaves none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from celery.signals import heartbeat_sent

from orchestratex.errors import StoreUnavailableError
from orchestratex.queue import CALL_QUEUES

if TYPE_CHECKING:
    from orchestratex.steps.services import Services

_FRESH_S: Final = 10.0  # Celery's heart beats every two seconds

_log = logging.getLogger(__name__)


class WorkerPulse(threading.Thread):
    """Leaves a sign every `interval_s` seconds for the queues that this worker takes calls from.

    In a thread of its own: a store that is away must not hold up the loop that hears messages.
    """

    def __init__(self, services: Callable[[], Services], queues: Collection[str], *, interval_s: float) -> None:
        super().__init__(name="pulse", daemon=True)
        self._services = services
        self._queues = queues
        self._interval_s = interval_s
        self._heard_at = time.monotonic()
        self._ended = threading.Event()
        heartbeat_sent.connect(self._hear, weak=False)

    def run(self) -> None:
        """Go on until the process ends."""
        while True:
            self.beat()
            if self._ended.wait(self._interval_s):
                return

    def beat(self) -> None:
        """Leave a sign, if the worker's own heart has been heard lately."""
        if time.monotonic() - self._heard_at > _FRESH_S:
            return
        from orchestratex.steps.pulse import note_worker

        try:
            note_worker(self._queues, self._services())
        except StoreUnavailableError as error:
            _log.warning("no sign of life can be left: %s", error)

    def end(self) -> None:
        """Leave no more signs."""
        self._ended.set()
        heartbeat_sent.disconnect(self._hear)

    def _hear(self, **_: Any) -> None:
        self._heard_at = time.monotonic()


def takes_calls(queues: Collection[str]) -> bool:
    """Whether a worker of these queues calls models."""
    return not set(CALL_QUEUES).isdisjoint(queues)


def hear_hearts() -> None:
    """Let Celery tell of its heartbeats: it does so only if somebody listens when the worker starts."""
    heartbeat_sent.connect(_listen, weak=False)


def _listen(**_: Any) -> None:
    """Nothing more than being there."""
