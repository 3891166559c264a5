"""The money of one attempt: its worst case is set aside before it is sent, for as much output as the budget allows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from orchestratex.domain.base import Purpose, Role, to_usd
from orchestratex.domain.prices import Span
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import BudgetError
from orchestratex.rules.pricing import affordable_output, worst_case
from orchestratex.steps import budget
from orchestratex.steps.services import Services


@dataclass(frozen=True)
class Held:
    """What is set aside for an attempt, and the output that it pays for."""

    amount: int
    max_tokens: int
    days: tuple[str, ...]


def sending_span(services: Services) -> Span:
    """From now to the last moment at which a call that is reserved now is sent or under way: any price of it may count.

    A call that has to wait longer looks at its reservation again before it is sent.
    """
    settings, now = services.settings, services.clock()
    longest_s = settings.connect_timeout_s + settings.call_timeout_s + settings.step_deadline_s
    return Span(now, now + timedelta(seconds=longest_s))


def hold_worst_case(
    thread: Thread, response: Response, profile: Profile, given: int, max_tokens: int, services: Services
) -> Held:
    """Set the worst case aside, for less output where the budget leaves less that is useful. Raises BudgetError."""
    span = sending_span(services)
    amount = worst_case(profile, input_tokens=given, max_tokens=max_tokens, span=span)
    held = (
        response.reserved_nanos
    )  # by the panel's one update, or before a wait: it stands, and so does what it pays for
    if held:
        return Held(held, _fitting(profile, given, max_tokens, held, amount, span), tuple(response.days))
    hold = budget.reserve(thread.session_id, thread.user_id, {response.money_key: amount}, services)
    if hold.is_granted:
        return Held(amount, max_tokens, hold.days)
    smaller = _shrink(thread, response, profile, given, services)
    if smaller is None or smaller >= max_tokens:
        raise BudgetError(f"its worst case of ${to_usd(amount):.6f} does not fit into {hold.refused_by}")
    amount = worst_case(profile, input_tokens=given, max_tokens=smaller, span=span)
    hold = budget.reserve(thread.session_id, thread.user_id, {response.money_key: amount}, services)
    if hold.is_granted:
        return Held(amount, smaller, hold.days)
    raise BudgetError(f"not even {smaller} output tokens fit into {hold.refused_by}")


def _fitting(profile: Profile, given: int, max_tokens: int, held: int, amount: int, span: Span) -> int:
    """The output that a reservation pays for which was made earlier, perhaps at a lower price. Raises BudgetError."""
    if held >= amount:
        return max_tokens
    fitting = affordable_output(profile, input_tokens=given, nanos=held, span=span)
    if fitting < 1:
        raise BudgetError(f"the ${to_usd(held):.6f} set aside for it do not pay its prompt at today's price")
    return min(max_tokens, fitting)


def _shrink(thread: Thread, response: Response, profile: Profile, given: int, services: Services) -> int | None:
    """How much output the budget still pays for, where that is useful; a cut-off evaluation never is.

    What is asked again because it was cut off must not be cut off any earlier.
    """
    left = budget.available(thread.session_id, thread.user_id, services)
    is_short = response.role is Role.EVALUATOR or response.purpose is Purpose.ASSESSMENT
    if left is None or is_short or response.output_wanted is not None:
        return None
    tokens = affordable_output(profile, input_tokens=given, nanos=left, span=sending_span(services))
    return tokens if tokens >= services.settings.useful_answer_tokens else None
