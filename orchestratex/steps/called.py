"""How a call ended for the step that wanted it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread


class CallState(StrEnum):
    """How a call ended for the step that wanted it."""

    SAVED = "saved"  # its completion is in the store and the lease is ours: read it and complete it
    WAITING = "waiting"  # given back, to be sent again after `delay_s`
    FAILED = "failed"  # closed as failed
    LEFT = "left"  # not ours: somebody else has it, or the thread went on without it
    UNAFFORDABLE = "unaffordable"  # its worst case does not fit into what the budget leaves


@dataclass(frozen=True)
class Called:
    """The outcome of one call."""

    state: CallState
    thread: Thread | None = None
    response: Response | None = None
    delay_s: float = 0.0
    why: str = ""
    has_failed: bool = False  # its last attempt did: one that waits was not only kept waiting by a limit


def left(thread: Thread) -> Called:
    """The end of a call that nobody waits for."""
    return Called(CallState.LEFT, thread, why="left during the call: it is not wanted any more, or others have it")
