"""The time for which a reservation has to be true: prices may change before a call is over."""

from __future__ import annotations

from datetime import timedelta

from orchestratex.domain.prices import Span
from orchestratex.steps.services import Services


def sending_span(services: Services) -> Span:
    """From now to the last moment at which a call that is reserved now is sent or under way: any price of it may count.

    A call that has to wait longer looks at its reservation again before it is sent.
    """
    settings, now = services.settings, services.clock()
    longest_s = settings.connect_timeout_s + settings.call_timeout_s + settings.step_deadline_s
    return Span(now, now + timedelta(seconds=longest_s))
