"""What the beat sends and how often. Two beats by mistake do no harm: every one of these is idempotent and takes a turn
or a lease, so that what it does is done once a period.
"""

from __future__ import annotations

from typing import Any, Final

from orchestratex.queue import CONTROL, MEASURE, PROBE, RECONCILE
from orchestratex.settings import load_settings

FROM_BEAT: Final = "ox_from_beat"  # a header: by its name alone a task does not say who sent it

_settings = load_settings()


def _every(task: str, seconds: float) -> dict[str, Any]:
    """A message that nobody took before the next one is due is not worth keeping."""
    options = {"queue": CONTROL, "expires": seconds, "headers": {FROM_BEAT: True}}
    return {"task": task, "schedule": seconds, "options": options}


SCHEDULE: dict[str, dict[str, Any]] = {
    "reconcile": _every(RECONCILE, _settings.reconcile_s),
    "measure": _every(MEASURE, _settings.measure_s),
    "probe": _every(PROBE, _settings.probe_s),
}
