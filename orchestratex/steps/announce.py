from __future__ import annotations

import logging

from orchestratex.domain.base import CALL_STEPS, Step
from orchestratex.domain.thread import Thread
from orchestratex.errors import BrokerUnavailableError
from orchestratex.steps.services import Services

_log = logging.getLogger(__name__)


def announce_thread(thread: Thread, services: Services) -> None:
    """Hand what is due of a thread to the broker; where that is away, reconcile does it later."""
    if thread.due_step is None or thread.due_step is Step.EVALUATE:
        return
    try:
        if thread.due_step in CALL_STEPS:
            services.queue.send_iteration(thread.due_step, thread.id)
        else:
            services.queue.send_step(thread.due_step, thread.id)
    except BrokerUnavailableError as error:
        _log.warning("thread %s waits for reconcile: %s", thread.id, error)
