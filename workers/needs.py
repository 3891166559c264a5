"""What a process of the Procfile cannot do without is looked at when it starts, and told in a line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from celery.signals import beat_init, celeryd_init

from orchestratex.errors import NoModelError, StoreUnavailableError
from orchestratex.settings import Settings, environment
from orchestratex.variables import find_missing, find_misspelt

if TYPE_CHECKING:
    from orchestratex.steps.services import Services

_WORKER: Final = ("mongodb_uri", "redis_url")

_log = logging.getLogger(__name__)


def require_settings(settings: Settings) -> None:
    """From now on workers, beat and Flower end with a line where they have no address; misspelt variables are told."""

    def check_worker(**_: Any) -> None:
        _check(_WORKER, settings)

    def check_beat(**_: Any) -> None:
        _check(_name_broker(settings), settings)

    celeryd_init.connect(check_worker, weak=False)
    beat_init.connect(check_beat, weak=False)
    if "flower.command" in sys.modules and "flower" in sys.argv:
        _check(_name_broker(settings), settings)


def tell_unserved(services: Callable[[], Services]) -> None:
    """Say which models this worker cannot ask, for want of a key or address."""
    from orchestratex.steps.served import list_unserved, require_served

    try:
        require_served(services())
        unserved = list_unserved(services())
    except NoModelError as error:
        _log.error("%s", error)
    except StoreUnavailableError:
        return  # whoever needs it next says so
    else:
        if unserved:
            _log.info("not asked by this worker, as no key for them is set: %s", ", ".join(unserved))


def _name_broker(settings: Settings) -> Sequence[str]:
    return () if settings.broker_url else ("redis_url",)


def _check(wanted: Sequence[str], settings: Settings) -> None:
    for line in find_misspelt(environment()):
        print(f"warning: {line}", file=sys.stderr)
    missing = find_missing(wanted, environment(), settings)
    if missing:
        raise SystemExit(f"error: {missing}")
