"""Signs of life: what the beat, the control workers and the workers that call models leave in the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Final

from orchestratex.domain.base import Component, LogLevel
from orchestratex.queue import CALL_QUEUES
from orchestratex.steps.services import Services

BEAT: Final = "beat"  # the sample that a message from the beat leaves when a worker takes it
CONTROL: Final = "control"  # the sample of a pass of reconcile that was made to its end
WORKERS: Final = "workers"  # those that call models: a sample for each of their queues
_PERIODS: Final = 3  # of reconcile, the shortest: one message may be lost or late, three are not
_GRACE_S: Final = 30.0  # after its own start a watcher gives the beat this long to start, too
_WARN_EVERY_S: Final = 60.0
_TODO: Final = {
    BEAT: "run the Procfile's line `beat` (celery -A workers.app beat), or see whether ox.control is worked off",
    CONTROL: "run the Procfile's line `control`",
    WORKERS: "run the Procfile's line `worker`",
}
_WHO: Final = {BEAT: "the beat", CONTROL: "a control worker", WORKERS: "a worker that calls models"}

_log = logging.getLogger(__name__)


def describe_missing(services: Services) -> dict[str, str]:
    """Whoever of the beat, the control workers and the workers that call models gave no sign for three periods.

    By name: for how long, and what to do. Raises StoreUnavailableError.
    """
    ages = services.store.sample_ages([BEAT, CONTROL, *map(_sign_of, CALL_QUEUES)])
    missing = {name: _describe(name, ages.get(name)) for name in (BEAT, CONTROL) if _is_old(ages.get(name), services)}
    if CONTROL in missing:
        missing[BEAT] = "unknown: no control worker takes what it sends"
    unserved = {queue: ages.get(_sign_of(queue)) for queue in CALL_QUEUES}
    unserved = {queue: age_s for queue, age_s in unserved.items() if _is_old(age_s, services)}
    if unserved:
        missing[WORKERS] = _describe_unserved(unserved)
    return missing


def note_worker(queues: Collection[str], services: Services) -> None:
    """Leave a sign of a worker that takes calls from these queues. Raises StoreUnavailableError."""
    for queue in CALL_QUEUES:
        if queue in queues:
            services.store.put_sample(_sign_of(queue), 1)


def _sign_of(queue: str) -> str:
    return f"worker/{queue}"


def _describe_unserved(ages: dict[str, float | None]) -> str:
    """Of all queues whose workers call models; of some of them, with their names."""
    known = [age_s for age_s in ages.values() if age_s is not None]
    text = _describe(WORKERS, min(known) if len(known) == len(ages) else None)
    return text if len(ages) == len(CALL_QUEUES) else f"of {', '.join(ages)}: {text}"


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
        is_news = is_missing is not self._was_missing and services.store.set_alarm(BEAT, is_missing)
        if is_news:
            self._record(text, services, is_missing=is_missing)  # which says it in the log, too
        if is_missing and self._clock() - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = self._clock()
            if not is_news:
                _log.warning("%s", text)
        self._was_missing = is_missing

    def _record(self, text: str, services: Services, *, is_missing: bool) -> None:
        event, level = ("beat_missing", LogLevel.WARNING) if is_missing else ("beat_back", LogLevel.INFO)
        services.journal.write(Component.ORCHESTRATOR, event, text, level=level)


def _is_old(age_s: float | None, services: Services) -> bool:
    return age_s is None or age_s > _PERIODS * services.settings.reconcile_s


def _describe(name: str, age_s: float | None) -> str:
    who = _WHO[name]
    silence = f"nothing came from {who} for {age_s:.0f} s" if age_s is not None else f"nothing ever came from {who}"
    return f"{silence}: {_TODO[name]}"
