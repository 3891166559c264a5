"""What to run next, where a thread did not end as its user wanted."""

from __future__ import annotations

from orchestratex.domain.base import StopReason
from orchestratex.domain.thread import Thread


def advise(thread: Thread) -> str | None:
    """A command for who has an ended thread; None where it ended well, or nothing helps."""
    if not thread.is_ended:
        return None
    again = f"orchestratex retry {thread.id}"
    if thread.stop_reason is StopReason.FAILED:
        return f"orchestratex models check; when that is mended: {again}"
    if thread.final_response is not None:
        return None
    if thread.stop_reason is StopReason.COST_LIMIT:
        return "ask again in a new session with a higher --cost-limit, or a lower --effort"
    return again if thread.stop_reason in {StopReason.DEADLINE, StopReason.CANCELLED} else None
