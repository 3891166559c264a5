"""How workers, the beat and Flower log."""

from __future__ import annotations

import logging
import warnings
from typing import Final

from celery.exceptions import CPendingDeprecationWarning
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from orchestratex.loglines import setup_logging
from orchestratex.settings import Settings

# at DEBUG: each message and each task, passes every few seconds among them; what happened is told by events, with
# thread, model and cost
_TOLD_OTHERWISE: Final = ("celery.app.trace", "celery.worker.request", "celery.worker.strategy", "celery.beat")
_NOISY: Final = (*_TOLD_OTHERWISE, "kombu", "amqp", "pymongo", "urllib3")
_QUIET: Final = ("flower.inspector",)  # it warns while no worker answers, which our own views say and explain
_AWAY: Final = (OperationalError, RedisConnectionError, RedisTimeoutError, ConnectionError, TimeoutError)


def setup_worker_logging(settings: Settings) -> None:
    """One line a record on stderr; a broker that is away has no traceback."""
    setup_logging(settings.log_level, settings.log_format, untraced=_AWAY)
    # of a setting that we have set on purpose, in eight lines at each reconnect
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    level = logging.getLogger().level
    for name in _NOISY:
        chatty = name in _TOLD_OTHERWISE and level <= logging.DEBUG
        logging.getLogger(name).setLevel(level if chatty else max(logging.WARNING, level))
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
