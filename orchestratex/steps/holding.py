"""The money of one attempt: its worst case is set aside before it is sent, for as much output as the budget allows."""

from __future__ import annotations

from dataclasses import dataclass

from orchestratex.domain.base import Purpose, Role, to_usd
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import BudgetError
from orchestratex.rules.pricing import affordable_output, worst_case
from orchestratex.steps import budget
from orchestratex.steps.request import least_useful
from orchestratex.steps.services import Services


@dataclass(frozen=True)
class Held:
    """What is set aside for an attempt, and the output that it pays for."""

    amount: int
    max_tokens: int
    days: tuple[str, ...]


def hold_worst_case(
    thread: Thread, response: Response, profile: Profile, given: int, max_tokens: int, services: Services
) -> Held:
    """Set the worst case aside, for less output where the budget leaves less that is useful. Raises BudgetError."""
    amount = worst_case(profile, input_tokens=given, max_tokens=max_tokens)
    held = (
        response.reserved_nanos
    )  # by the panel's one update, or before a wait: it stands, and so does what it pays for
    if held:
        fitting = affordable_output(profile, input_tokens=given, nanos=held) if held < amount else max_tokens
        return Held(held, max(1, min(max_tokens, fitting)), tuple(response.days))
    hold = budget.reserve(thread.session_id, thread.user_id, {response.money_key: amount}, services)
    if hold.is_granted:
        return Held(amount, max_tokens, hold.days)
    smaller = _shrink(thread, response, profile, given, services)
    if smaller is None or smaller >= max_tokens:
        raise BudgetError(f"its worst case of ${to_usd(amount):.6f} does not fit into {hold.refused_by}")
    amount = worst_case(profile, input_tokens=given, max_tokens=smaller)
    hold = budget.reserve(thread.session_id, thread.user_id, {response.money_key: amount}, services)
    if hold.is_granted:
        return Held(amount, smaller, hold.days)
    raise BudgetError(f"not even {smaller} output tokens fit into {hold.refused_by}")


def _shrink(thread: Thread, response: Response, profile: Profile, given: int, services: Services) -> int | None:
    """How much output the budget still pays for, where that is useful; a cut-off evaluation never is.

    What is asked again because it was cut off must not be cut off any earlier.
    """
    left = budget.available(thread.session_id, thread.user_id, services)
    is_short = response.role is Role.EVALUATOR or response.purpose is Purpose.ASSESSMENT
    if left is None or is_short or response.output_wanted is not None:
        return None
    tokens = affordable_output(profile, input_tokens=given, nanos=left)
    return tokens if tokens >= least_useful(profile, response.effort, services) else None
