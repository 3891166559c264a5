"""How many requests of a call were sent, and what became of them."""

from __future__ import annotations

from orchestratex.domain.base import ResponseStatus
from orchestratex.domain.response import Response


def count_sent(response: Response) -> int:
    """How many of its requests left. Of calls of older versions, which did not count them, those that are known of."""
    if response.attempts_sent is not None:
        return response.attempts_sent
    is_known = response.sent_at is not None or has_returned(response)
    return max(len(response.attempt_costs), int(is_known))


def count_over(response: Response) -> int:
    """How many of them are over: one that is under way may yet come back."""
    is_under_way = response.lease_token is not None and response.sent_at is not None and not has_returned(response)
    return max(0, count_sent(response) - is_under_way)


def has_returned(response: Response) -> bool:
    """Whether one of them came back with a completion, whatever it was worth."""
    return response.status is ResponseStatus.COMPLETED or response.finish_reason is not None
