"""Which evaluations count: those whose calls were completed while their panel was open.

An evaluation is written before its call is completed, so that a crash between the two loses nothing. One that comes in
the moment in which its panel is closed stands there, too: its call is superseded, and it counts nowhere. Once a panel
is closed, what counts does not change any more.
"""

from __future__ import annotations

from orchestratex.domain.base import ResponseStatus
from orchestratex.domain.evaluation import Evaluation
from orchestratex.domain.thread import Thread
from orchestratex.steps.services import Services


def counted_evaluations(thread: Thread, services: Services, *, iteration: int | None = None) -> list[Evaluation]:
    """A thread's evaluations that count, without their prompts; of all iterations, or of one."""
    found = services.store.evaluations_of(thread.id, iteration=iteration, brief=True)
    calls = services.store.held_calls([each.id for each in found])
    return [each for each in found if each.id in calls and calls[each.id].status is ResponseStatus.COMPLETED]
