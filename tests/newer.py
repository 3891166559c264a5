"""The workers' app of a later version: `celery -A tests.newer worker …`.

It calls respond by another name, and gives every task an argument more than today's tasks take. It still understands
what today's version sends, as every version must.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bson import ObjectId
from celery.canvas import Signature

from orchestratex import queue
from orchestratex.domain.base import Step
from orchestratex.queue import CeleryQueue
from workers.app import app

RENAMED: Final = "orchestratex.answer"
OURS: Final = set(queue.TASKS.values()) | {queue.FAN_OUT}

_sign = CeleryQueue._signature


def _sign_newly(self: CeleryQueue, name: str, *ids: ObjectId) -> Signature:
    signature = _sign(self, name, *ids, ObjectId())
    signature["task"] = RENAMED if name == queue.TASKS[Step.RESPOND] else name
    return signature


def _take_more(run: Callable[..., Any], count: int) -> Callable[..., Any]:
    return lambda *arguments: run(*arguments[:count])


def _become_newer() -> None:
    app.loader.import_default_modules()
    for name in OURS & set(app.tasks):
        task = app.tasks[name]
        task.run = _take_more(task.run, 2 if name == queue.TASKS[Step.EVALUATE] else 1)
        task.__header__ = lambda *_arguments: None
    app.tasks[RENAMED] = app.tasks[queue.TASKS[Step.RESPOND]]


CeleryQueue._signature = _sign_newly  # type: ignore[method-assign]
_become_newer()

__all__ = ["app"]
