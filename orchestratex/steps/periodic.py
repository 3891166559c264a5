"""What the beat asks for, once a period however many beats ask: who takes the turn does the work."""

from __future__ import annotations

from typing import Final

from orchestratex.steps.measure import measure
from orchestratex.steps.probe import probe
from orchestratex.steps.pulse import CONTROL
from orchestratex.steps.purge import retain
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.reprice import keep_prices_current
from orchestratex.steps.services import Services

RETAIN_S: Final = 300.0  # a turn deletes for a minute at most


def reconcile_in_turn(services: Services) -> dict[str, int]:
    """Do one pass, unless one was made in this period: control workers make theirs by their own clocks."""
    age_s = services.store.sample_ages([CONTROL]).get(CONTROL)
    return reconcile(services) if age_s is None or age_s >= services.settings.reconcile_s else {}


def measure_in_turn(services: Services) -> int:
    """Measure, unless somebody did in this period; returns how many windows were written.

    What is too old is deleted after it: only what was rolled up may go.
    """
    if not services.store.take_turn("measure", every_s=services.settings.measure_s):
        return 0
    written = measure(services).written
    if services.store.take_turn("retain", every_s=RETAIN_S):
        retain(services)
    return written


def probe_in_turn(services: Services) -> dict[str, bool]:
    """Write the day's prices and probe, unless somebody did in this period; returns which models passed."""
    if not services.store.take_turn("probe", every_s=services.settings.probe_s):
        return {}
    keep_prices_current(services)
    return probe(services)
