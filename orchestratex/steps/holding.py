"""The money of one attempt: its worst case is set aside before it is sent, for as much output as the budget allows."""

from __future__ import annotations

from dataclasses import dataclass

from orchestratex.domain.base import Purpose, Role, to_usd
from orchestratex.domain.prices import Span
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import BudgetError
from orchestratex.rules.pricing import affordable_output, worst_case
from orchestratex.steps import budget
from orchestratex.steps.provision import Provision
from orchestratex.steps.request import least_useful
from orchestratex.steps.services import Services
from orchestratex.steps.span import sending_span


@dataclass(frozen=True)
class Held:
    """What is set aside for an attempt, and the output that it pays for."""

    amount: int
    max_tokens: int
    days: tuple[str, ...]


def hold_worst_case(
    thread: Thread,
    response: Response,
    profile: Profile,
    given: int,
    max_tokens: int,
    services: Services,
    provision: Provision | None = None,
) -> Held:
    """Set the worst case aside, for less output where the budget leaves less that is useful. Raises BudgetError.

    The provision for the panel that is to judge an answer is held in the same write, or neither.
    """
    span = sending_span(services)
    amount = worst_case(profile, input_tokens=given, max_tokens=max_tokens, span=span)
    held = response.reserved_nanos  # by the panel's one update, or before a wait: it stands, and so does its output
    if held:
        return Held(held, _fitting(profile, given, max_tokens, held, amount, span), tuple(response.days))
    hold = _reserve(thread, response, amount, max_tokens, services, provision)
    if hold.is_granted:
        return Held(amount, max_tokens, hold.days)
    smaller = _shrink(thread, response, profile, given, services, provision)
    if smaller is None or smaller >= max_tokens:
        beside = f" with ${to_usd(provision.cost(max_tokens)):.6f} for its smallest panel" if provision else ""
        raise BudgetError(f"its worst case of ${to_usd(amount):.6f}{beside} does not fit into {hold.refused_by}")
    if provision is not None:  # what is held for another author, or for a longer answer
        budget.release(thread.session_id, thread.user_id, provision.key, services)
    amount = worst_case(profile, input_tokens=given, max_tokens=smaller, span=span)
    hold = _reserve(thread, response, amount, smaller, services, provision)
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


def _reserve(
    thread: Thread, response: Response, amount: int, length: int, services: Services, provision: Provision | None
) -> budget.Hold:
    beside = {provision.key: provision.cost(length)} if provision else {}
    amounts = {response.money_key: amount, **beside}
    return budget.reserve(thread.session_id, thread.user_id, amounts, services)


def _shrink(
    thread: Thread,
    response: Response,
    profile: Profile,
    given: int,
    services: Services,
    provision: Provision | None,
) -> int | None:
    """How much output the budget still pays for, where that is useful; a cut-off evaluation never is.

    What is asked again because it was cut off must not be cut off any earlier.
    """
    if response.role is Role.EVALUATOR or response.purpose is Purpose.ASSESSMENT or response.output_wanted is not None:
        return None
    key = provision.key if provision else ""
    left = budget.available(thread.session_id, thread.user_id, services, with_key=key)
    if left is None:
        return None
    beside, span = provision.cost if provision else _nothing, sending_span(services)
    tokens = affordable_output(profile, input_tokens=given, nanos=left, span=span, beside=beside)
    return tokens if tokens >= least_useful(profile, response.effort, services) else None


def _nothing(_length: int) -> int:
    return 0
