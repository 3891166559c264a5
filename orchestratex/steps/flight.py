"""A request under way: who waits for it may leave, the answer still comes and its money is settled."""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestratex.domain.response import Completion
from orchestratex.steps.heart import Lease

Outcome = Completion | BaseException
Send = Callable[[], Completion]


class LeftError(Exception):
    """Raised when the request was left before its answer came, because its lease was lost or its time was up."""


def fly(send: Send, lease: Lease, *, timeout_s: float, conclude_late: Callable[[Outcome], None]) -> Completion:
    """Send in a thread of its own and wait for the completion, `timeout_s` seconds at most.

    Raises what `send` raises, and LeftError when waiting is over first; then `conclude_late` gets the outcome whenever
    it comes. A blocked read cannot be interrupted from outside, so leaving is what frees the worker's slot.
    """
    flight = _Flight(send, conclude_late)
    lease.on_loss(flight.wake.set)
    threading.Thread(target=flight.run, name="call", daemon=True).start()
    flight.wake.wait(timeout_s)
    outcome = flight.take()
    if outcome is None:
        raise LeftError
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


class _Flight:
    def __init__(self, send: Send, conclude_late: Callable[[Outcome], None]) -> None:
        self._send = send
        self._conclude_late = conclude_late
        self._lock = threading.Lock()
        self._outcome: Outcome | None = None
        self._is_left = False
        self.wake = threading.Event()

    def run(self) -> None:
        """Send; hand the outcome to who waits, or conclude it here when nobody does."""
        try:
            outcome: Outcome = self._send()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            outcome = error
        with self._lock:
            self._outcome = outcome
            is_left = self._is_left
        self.wake.set()
        if is_left:
            self._conclude_late(outcome)

    def take(self) -> Outcome | None:
        """The outcome; None when it is not here yet, and will be concluded late."""
        with self._lock:
            self._is_left = self._outcome is None
            return self._outcome
