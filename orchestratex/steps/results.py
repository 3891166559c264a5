"""How a call step ended, for the door that ran it."""

from __future__ import annotations

from dataclasses import dataclass

from bson import ObjectId

from orchestratex.domain.base import Step
from orchestratex.domain.thread import Thread
from orchestratex.errors import BrokerUnavailableError
from orchestratex.steps.called import Called
from orchestratex.steps.services import Services
from orchestratex.steps.telling import tell_failure


@dataclass(frozen=True)
class Result:
    """The thread as this step moved it, None when it did not; and why, for operators."""

    moved: Thread | None
    why: str


def wait(step: Step, response_id: ObjectId | None, called: Called, services: Services) -> Result:
    """Announce a waiting call again when its time has come."""
    if called.thread is not None:
        try:
            services.queue.send_later(step, called.thread.id, response_id, delay_s=called.delay_s)
        except BrokerUnavailableError:
            return Result(None, "waiting; the broker is away, reconcile will send it")
    if called.has_failed:
        return Result(None, tell_failure(called.why, f"sent again in {called.delay_s:.1f} s", response=called.response))
    model = f"{called.response.model_name} " if called.response else ""
    return Result(None, f"{model}waits {called.delay_s:.1f} s: {called.why}")
