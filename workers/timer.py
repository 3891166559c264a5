"""The control workers' own clock."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from orchestratex.errors import OrchestratexError
from orchestratex.steps.pulse import BeatWatch
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.services import Services

_log = logging.getLogger(__name__)


class ReconcileTimer(threading.Thread):
    """Reconciles every `interval_s` seconds beside the worker's tasks, and watches the beat."""

    def __init__(self, services: Callable[[], Services], *, interval_s: float) -> None:
        super().__init__(name="reconcile", daemon=True)
        self._services = services
        self._interval_s = interval_s
        self._ended = threading.Event()

    def run(self) -> None:
        """Go on until the process ends."""
        watch = BeatWatch(self._services)
        while not self._ended.wait(self._interval_s):
            self._try("reconcile", self._reconcile)
            self._try("watching the beat", watch.look)

    def _reconcile(self) -> None:
        done = reconcile(self._services())
        if done:
            _log.info("reconcile: %s", ", ".join(f"{count} {name}" for name, count in done.items()))

    def _try(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except OrchestratexError as error:
            _log.warning("%s: %s", name, error)
        except Exception:  # noqa: BLE001 - an outer loop: without it one bad document ends all mending
            _log.exception("%s failed; it is tried again in %.0f s", name, self._interval_s)
