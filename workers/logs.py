"""How workers, the beat and Flower log."""

from __future__ import annotations

import logging

from orchestratex.terminal import setup_logging


def setup_worker_logging(level: str) -> None:
    """One line an event on stderr, with the process's name."""
    line = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"
    setup_logging(level, line)
    for noisy in ("kombu", "amqp", "pymongo", "urllib3", "celery.worker.strategy", "celery.beat"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
