"""The control workers' own clock, and how workers log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from orchestratex.errors import OrchestratexError
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.services import Services

_log = logging.getLogger(__name__)


class ReconcileTimer(threading.Thread):
    """Reconciles every `interval_s` seconds beside the worker's tasks."""

    def __init__(self, services: Callable[[], Services], *, interval_s: float) -> None:
        super().__init__(name="reconcile", daemon=True)
        self._services = services
        self._interval_s = interval_s
        self._ended = threading.Event()

    def run(self) -> None:
        """Go on until the process ends."""
        while not self._ended.wait(self._interval_s):
            try:
                done = reconcile(self._services())
            except OrchestratexError as error:
                _log.warning("reconcile: %s", error)
            except Exception:  # noqa: BLE001 - an outer loop: without it one bad document ends all mending
                _log.exception("reconcile failed; it is tried again in %.0f s", self._interval_s)
            else:
                if done:
                    _log.info("reconcile: %s", ", ".join(f"{count} {name}" for name, count in done.items()))


def setup_worker_logging(level: str) -> None:
    """One line an event on stderr, with the process's name."""
    line = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"
    logging.basicConfig(level=level, format=line, force=True)
    for noisy in ("kombu", "amqp", "pymongo", "urllib3", "celery.worker.strategy", "celery.beat"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
