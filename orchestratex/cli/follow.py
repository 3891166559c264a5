"""Waits for threads, through short outages of the store and the end of a stack that was another command's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from orchestratex.cli.reach import Reached
from orchestratex.errors import LocalStackError, StoreUnavailableError

PATIENCE_S: Final = 120.0  # an election takes 12 s, a restart of mongod somewhat more
_Seen = TypeVar("_Seen")


class StackEndedError(LocalStackError):
    """Raised when the command that ran the local stack has ended; ours may start it again."""


class Watch(Generic[_Seen]):
    """Looks again and again until what it sees is final."""

    def __init__(
        self, look: Callable[[], _Seen], *, is_final: Callable[[_Seen], bool], pause_s: float, reached: Reached
    ) -> None:
        self._look = look
        self._is_final = is_final
        self._pause_s = pause_s
        self._reached = reached

    def run(self, on_sight: Callable[[_Seen], None]) -> _Seen:
        """Report every sight; returns the final one. Raises StackEndedError, StoreUnavailableError."""
        while True:
            seen = self._look_patiently()
            on_sight(seen)
            if self._is_final(seen):
                return seen
            time.sleep(self._pause_s)

    def _look_patiently(self) -> _Seen:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            if self._reached.has_ended():
                raise StackEndedError("The command that ran the local stack has ended.")
            try:
                return self._look()
            except StoreUnavailableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(self._pause_s)
