"""Signs of life: what the beat and the control workers leave in the store, and who misses it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from orchestratex.domain.base import Component, LogLevel
from orchestratex.steps.services import Services

BEAT: Final = "beat"  # the sample that a message from the beat leaves when a worker takes it
CONTROL: Final = "control"  # the sample of a pass of reconcile that was made to its end
_PERIODS: Final = 3  # of reconcile, the shortest: one message may be lost or late, three are not
_GRACE_S: Final = 30.0  # after its own start a watcher gives the beat this long to start, too
_WARN_EVERY_S: Final = 60.0
_TODO: Final = {
    BEAT: "run the Procfile's line `beat` (celery -A workers.app beat), or see whether ox.control is worked off",
    CONTROL: "run the Procfile's line `control`",
}

_log = logging.getLogger(__name__)


def describe_missing(services: Services) -> dict[str, str]:
    """Whoever of the beat and the control workers gave no sign for three periods: for how long, and what to do."""
    ages = services.store.sample_ages([BEAT, CONTROL])
    missing = {name: _describe(name, ages.get(name)) for name in (BEAT, CONTROL) if _is_old(ages.get(name), services)}
    if CONTROL in missing:
        missing[BEAT] = "unknown: no control worker takes what it sends"
    return missing


class BeatWatch:
    """Misses the beat: a warning at most once a minute, and one event an outage, however many watch."""

    def __init__(self, services: Callable[[], Services], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._clock = clock
        self._started_at = clock()
        self._warned_at = float("-inf")
        self._was_missing: bool | None = None

    def look(self) -> None:
        """Compare the beat's last sign with now. Raises StoreUnavailableError."""
        services = self._services()
        age_s = services.store.sample_ages([BEAT]).get(BEAT)
        is_missing = _is_old(age_s, services)
        if is_missing and self._was_missing is None and self._clock() - self._started_at < _GRACE_S:
            return
        text = _describe(BEAT, age_s) if is_missing else "the beat is back"
        if is_missing and self._clock() - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = self._clock()
            _log.warning("%s", text)
        if is_missing is not self._was_missing and services.store.set_alarm(BEAT, is_missing):
            self._record(text, services, is_missing=is_missing)
        self._was_missing = is_missing

    def _record(self, text: str, services: Services, *, is_missing: bool) -> None:
        event, level = ("beat_missing", LogLevel.WARNING) if is_missing else ("beat_back", LogLevel.INFO)
        services.journal.write(Component.ORCHESTRATOR, event, text, level=level)


def _is_old(age_s: float | None, services: Services) -> bool:
    return age_s is None or age_s > _PERIODS * services.settings.reconcile_s


def _describe(name: str, age_s: float | None) -> str:
    who = "the beat" if name == BEAT else "a control worker"
    silence = f"nothing came from {who} for {age_s:.0f} s" if age_s is not None else f"nothing ever came from {who}"
    return f"{silence}: {_TODO[name]}"
