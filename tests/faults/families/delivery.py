"""Messages that come twice, or in another order, for the whole run.

Nothing is over before the run is: recovery is the longest time for which a thread or an open call stood.
"""

from __future__ import annotations

from tests.faults.rig import Shape
from tests.faults.trial import Row, Trial


def run(trial: Trial) -> None:
    """The broker does it; no call may be repeated at all."""
    trial.submit()


APPS = {
    "every task delivered twice": "tests.doubled",
    "messages out of order": "tests.faults.apps.shuffled",
    "every task twice and out of order": "tests.faults.apps.mixed_up",
}
SMALL = "every task twice and out of order"

ROWS = [Row("delivery", name, "whole run", run, Shape(app=app), is_small=name == SMALL) for name, app in APPS.items()]
