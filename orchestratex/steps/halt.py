"""Ending a thread from outside its loop: by its user, by its deadline, or because it can do nothing but fail."""

from __future__ import annotations

from bson import ObjectId

from orchestratex.domain.base import Component, LogLevel, Step, StopReason
from orchestratex.domain.thread import Thread
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.services import Services

_TRIES = 1000  # each lost race means that the thread has moved or was claimed, and it has at most some dozens of moves


def halt(
    thread_id: ObjectId, reason: StopReason, why: str, services: Services, *, lease_s: float | None = None
) -> Thread:
    """Send a thread to its end, whatever is under way; returns it standing at finish, or ended as it was.

    `lease_s` takes the lease of its finish for the caller. The move takes a running step's lease away, so its own move
    is lost; calls in flight are superseded by finish, and so left at their next heartbeat. A thread that is at its end
    already keeps its reason, and its finish begins anew.
    """
    for _ in range(_TRIES):
        thread = services.store.get_thread(thread_id)
        if thread.is_ended:
            return thread
        is_ending = thread.due_step is Step.FINISH
        counts = {"errors": thread.errors, "crashes": thread.crashes}  # of the finish that is taken over
        move = Move(Step.FINISH, counts) if is_ending else stop(reason, why)
        moved = services.store.move_thread(thread, move.fields(thread), lease_s=lease_s)
        if moved is not None:
            if not is_ending:
                _report(moved, reason, why, services)
            return moved
    raise AssertionError(f"thread {thread_id} moves without end")


def _report(thread: Thread, reason: StopReason, why: str, services: Services) -> None:
    services.journal.write(
        Component.ORCHESTRATOR,
        "thread_halted",
        f"ended at {thread.stopped_at}: {why}",
        thread=thread,
        level=LogLevel.ERROR if reason is StopReason.FAILED else LogLevel.WARNING,
        stop_reason=reason,
        step=thread.stopped_at,
    )
