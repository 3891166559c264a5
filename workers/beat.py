"""What the beat sends and how often. Every one of these is idempotent: two beats by mistake do no harm."""

from __future__ import annotations

from typing import Any

from orchestratex.queue import CONTROL, MEASURE, PROBE, RECONCILE
from orchestratex.settings import load_settings

_settings = load_settings()


def _every(task: str, seconds: float) -> dict[str, Any]:
    """A message that nobody took before the next one is due is not worth keeping."""
    return {"task": task, "schedule": seconds, "options": {"queue": CONTROL, "expires": seconds}}


SCHEDULE: dict[str, dict[str, Any]] = {
    "reconcile": _every(RECONCILE, _settings.reconcile_s),
    "measure": _every(MEASURE, _settings.measure_s),
    "probe": _every(PROBE, _settings.probe_s),
}
