"""Named places at which tests make a process die, stop or fail. Without ORCHESTRATEX_FAULT_POINTS they do nothing.

The setting names a directory of orders: a file `<point>.<anything>` whose text is an action. The first process to reach
the point takes the order by renaming it to `hit.<point>.<anything>.<pid>`, so each order is carried out once. A pause
goes on while the renamed file is there.
"""

from __future__ import annotations

import os
import signal
import time
from enum import StrEnum
from pathlib import Path
from typing import Protocol

_LOOK_S = 0.02


class FaultPoint(StrEnum):
    """Between which two writes, or beside which call, something may go wrong."""

    PLACED = "placed"  # places are taken, their threads are not inserted
    SUBMITTED = "submitted"  # threads inserted, not yet announced
    STEP_CLAIMED = "step_claimed"  # a step without a call holds its thread's lease, and has done nothing
    THREAD_MOVED = "thread_moved"  # a step's move is written, what comes next is not enqueued
    CALL_CLAIMED = "call_claimed"  # a call's lease is held, no money is
    CALL_RESERVED = "call_reserved"  # its worst case is held, nothing is sent
    CALL_SENT = "call_sent"  # `sent_at` is written, the request leaves next
    CALL_ANSWERED = "call_answered"  # the completion is here, and written nowhere
    CALL_SAVED = "call_saved"  # the completion is saved, its money is not settled
    CALL_SETTLED = "call_settled"  # its money is settled, its reply is not read
    CALL_COMPLETED = "call_completed"  # the call is closed, its thread has not moved
    ENDED = "ended"  # the thread has ended, its place is not freed
    PANEL_INSERTED = "panel_inserted"  # the evaluations are pending, the thread does not stand at evaluate yet


class Action(StrEnum):
    """What an order does to the process that takes it."""

    KILL = "kill"  # SIGKILL of this process
    KILL_GROUP = "kill_group"  # SIGKILL of its whole process group: a worker with its children
    PAUSE = "pause"  # stand still while the renamed order is there
    FAIL = "fail"  # raise an error of ours


class FaultPointError(RuntimeError):
    """Raised by the order to fail."""


class FaultPoints(Protocol):
    """What the engine passes through."""

    def reach(self, point: FaultPoint) -> None:
        """Carry out the next order for this point, if there is one."""


class NoFaultPoints:
    """Production: nothing happens anywhere."""

    def reach(self, point: FaultPoint) -> None:
        """Nothing happens."""


class OrderedFaultPoints:
    """Carries out the orders of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def reach(self, point: FaultPoint) -> None:
        """See FaultPoints. Raises FaultPointError where that is the order."""
        for order in sorted(self._directory.glob(f"{point}.*")):
            taken = order.with_name(f"hit.{order.name}.{os.getpid()}")
            try:
                order.rename(taken)
            except FileNotFoundError:  # another process was quicker
                continue
            _carry_out(Action(taken.read_text().strip()), point, taken)
            return


def make_fault_points(directory: str | None) -> FaultPoints:
    """The points that a setting asks for."""
    return NoFaultPoints() if directory is None else OrderedFaultPoints(Path(directory))


def _carry_out(action: Action, point: FaultPoint, taken: Path) -> None:
    if action is Action.KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    elif action is Action.KILL_GROUP:
        os.killpg(os.getpgrp(), signal.SIGKILL)
    elif action is Action.PAUSE:
        while taken.exists():
            time.sleep(_LOOK_S)
    else:
        raise FaultPointError(f"ordered to fail at {point}")
