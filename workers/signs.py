"""Tells messages of the beat from others, and notes that they come: also those that came too late to be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.signals import task_revoked

from orchestratex.errors import StoreUnavailableError
from orchestratex.steps.pulse import BEAT
from orchestratex.steps.services import Services
from workers.beat import FROM_BEAT


def note_sender(request: Any, services: Services) -> None:
    """Leave a sign of the beat's life where the message is its own."""
    if getattr(request, FROM_BEAT, False):
        services.store.put_sample(BEAT, 1)


def note_expired(services: Callable[[], Services]) -> Callable[..., None]:
    """From now on messages that expired in a long queue are signs of life, too: the beat is not what is slow.

    Returns the receiver of the signal, for whoever wants to end this.
    """

    def note(request: Any = None, expired: bool = False, **_: Any) -> None:
        if not expired:
            return
        try:
            note_sender(request, services())
        except StoreUnavailableError:
            return  # the next message is a sign as well

    task_revoked.connect(note, weak=False)
    return note
