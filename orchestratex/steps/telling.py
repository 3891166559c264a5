"""What became of a call, in words: its task's result, where operators look for model, score, cost and failure.

Celery cuts results at 1,024 characters and keeps them nowhere: they are read in Flower while its memory lasts.
"""

from __future__ import annotations

from typing import Final

from orchestratex.domain.base import CostSource
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread

_MOST_WORDS: Final = 600  # characters of what went wrong: it may quote a reply


def tell(response: Response, did: str) -> str:
    """What a model did and what it cost: "gpt4 answered for $0.001234"."""
    return f"{response.model_name} {did}{_price(response)}"


def tell_failure(why: str, then: str, *, response: Response | None = None) -> str:
    """A failed call as failed, with its reason, what it cost so far, and what is done about it."""
    words = why if len(why) <= _MOST_WORDS else f"{why[:_MOST_WORDS]}…"
    of_whom = f"{response.model_name}: " if response and not why.startswith(f"{response.model_name}:") else ""
    return f"failed: {of_whom}{words}{_price(response) if response else ''}; {then}"


def tell_end(thread: Thread) -> str:
    """How a thread ended, and what it cost: "completed (quality_threshold), 8.75 by gpt4, $0.012345 in all"."""
    reason = f" ({thread.stop_reason})" if thread.stop_reason else ""
    score = f"{thread.final_quality_score:.2f} " if thread.final_quality_score is not None else ""
    best = f", {score}by {thread.best_model_id}" if thread.best_model_id else ""
    why = f", {thread.failure_reason[:_MOST_WORDS]}" if thread.failure_reason else ""
    return f"{thread.thread_status}{reason}{best}, ${thread.total_cost:.6f} in all{why}"


def _price(response: Response) -> str:
    """Nothing where no attempt was sent."""
    if response.cost is None:
        return ""
    about = "about " if response.cost_source is CostSource.ESTIMATED else ""
    return f" for {about}${response.cost:.6f}"
