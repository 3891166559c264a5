"""Runs a job to its end, on a stack of our own where another command's ends under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from orchestratex.cli import reach
from orchestratex.cli.access import describe_models
from orchestratex.cli.follow import StackEndedError
from orchestratex.cli.jobs import Work
from orchestratex.cli.output import say
from orchestratex.cli.reach import Reached
from orchestratex.errors import UnavailableError
from orchestratex.settings import Settings
from orchestratex.steps.measure import measure
from orchestratex.steps.services import Services

ALONE: Final = "Nothing works on it until `orchestratex up`, or a command that waits for it, starts workers."
STACKS: Final = 3  # that are tried: those of other commands may end under a job

_Seen = TypeVar("_Seen")


def run_job(
    job: Work,
    settings: Settings,
    follow: Callable[[Reached], _Seen],
    *,
    worker_count: int = 1,
    is_silent: bool,
) -> tuple[_Seen, bool]:
    """Submit, follow until the end, and end the session; returns the last sight and whether the sandbox answered."""
    for left in reversed(range(STACKS)):
        try:
            with reach.reach_workers(settings, prepare=job.submit, worker_count=worker_count) as reached:
                for note in () if is_silent else describe_models(reached, settings):
                    say(note)
                job.is_left_alone = reached.stack is not None and reached.stack.is_owner  # its workers end with us
                seen = follow(reached)
                job.end(reached.services)
                if reached.stack is not None:  # it ends with us, before its beat comes round
                    _measure(reached.services)
                return seen, reached.uses_sandbox
        except StackEndedError as error:
            if not left:
                raise
            say(f"{error} Starting one of our own.")
    raise AssertionError("the last try returns or raises")


def _measure(services: Services) -> None:
    """Roll up what there is; where that fails the next start does it."""
    try:
        measure(services)
    except UnavailableError as error:
        say(f"The metrics are not rolled up yet: {error}")
