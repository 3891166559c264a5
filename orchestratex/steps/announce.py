from __future__ import annotations

import logging

from bson import ObjectId

from orchestratex.domain.base import CALL_STEPS, Purpose, Role, Step
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import BrokerUnavailableError
from orchestratex.steps.services import Services

_log = logging.getLogger(__name__)


def announce_thread(thread: Thread, services: Services) -> None:
    """Hand what is due of a thread to the broker; where that is away, reconcile does it later."""
    try:
        if thread.due_step is None:
            return
        if thread.due_step is Step.EVALUATE:
            services.queue.send_panel(thread.id, _unclaimed(thread, services))
        elif thread.due_step in CALL_STEPS:
            services.queue.send_iteration(thread.due_step, thread.id)
        else:
            services.queue.send_step(thread.due_step, thread.id)
    except BrokerUnavailableError as error:
        _log.warning("thread %s waits for reconcile: %s", thread.id, error)


def announce_call(response: Response, services: Services) -> None:
    """Hand one pending call to the broker; where that is away, reconcile does it later."""
    try:
        if response.role is Role.EVALUATOR or response.purpose is Purpose.ASSESSMENT:
            services.queue.send_panel(response.thread_id, [response.id])
        else:
            step = Step.REFINE if response.role is Role.REFINER else Step.RESPOND
            services.queue.send_iteration(step, response.thread_id)
    except BrokerUnavailableError as error:
        _log.warning("response %s is due and cannot be announced: %s", response.id, error)


def _unclaimed(thread: Thread, services: Services) -> list[ObjectId]:
    return [response.id for response in services.store.pending_of(thread.id) if response.lease_token is None]
