"""The tasks: doors of two lines. The decorator holds the policy, the arguments are ids, the work is in advance."""

from __future__ import annotations

from typing import Any, Final

from bson import ObjectId

from orchestratex import queue
from orchestratex.advance import advance, advance_answer, advance_evaluation, fan_out
from orchestratex.domain.base import Step
from orchestratex.steps.periodic import measure_in_turn, probe_in_turn, reconcile_in_turn
from workers.app import app, services
from workers.signs import note_sender

_SEEN_NOWHERE: Final = {"send_events": False}  # what is done all the time hides the work; failures are logged


@app.task(name=queue.TASKS[Step.ANALYSE])
def analyse_thread(thread_id: str) -> str:
    """Run what is due of a thread, from analyse on."""
    return advance(ObjectId(thread_id), services())


@app.task(name=queue.TASKS[Step.SELECT])
def select_model(thread_id: str) -> str:
    """Run what is due of a thread, from select on."""
    return advance(ObjectId(thread_id), services())


@app.task(name=queue.TASKS[Step.WEIGH])
def weigh_panel(thread_id: str) -> str:
    """Run what is due of a thread, from weigh on."""
    return advance(ObjectId(thread_id), services())


@app.task(name=queue.TASKS[Step.FINISH])
def finish_thread(thread_id: str) -> str:
    """Run what is due of a thread, at its end."""
    return advance(ObjectId(thread_id), services())


@app.task(name=queue.TASKS[Step.RESPOND], bind=True)
def respond(self: Any, thread_id: str) -> str:
    """Get the initial answer; the chain goes on to the fan-out when its panel is open."""
    return _answer(self, Step.RESPOND, thread_id)


@app.task(name=queue.TASKS[Step.REFINE], bind=True)
def refine(self: Any, thread_id: str) -> str:
    """Get a revision; the chain goes on to the fan-out when its panel is open."""
    return _answer(self, Step.REFINE, thread_id)


@app.task(name=queue.FAN_OUT)
def send_panel(thread_id: str) -> str:
    """Send the group of evaluations."""
    return fan_out(ObjectId(thread_id), services())


@app.task(name=queue.TASKS[Step.EVALUATE])
def evaluate(thread_id: str, response_id: str) -> str:
    """Get one evaluation."""
    return advance_evaluation(ObjectId(thread_id), ObjectId(response_id), services())


@app.task(name=queue.RECONCILE, bind=True, **_SEEN_NOWHERE)
def reconcile_all(self: Any) -> dict[str, int]:
    """Mend what is not running as it should, where no control worker's own clock did within this period."""
    note_sender(self.request, services())
    return reconcile_in_turn(services())


@app.task(name=queue.MEASURE, bind=True, **_SEEN_NOWHERE)
def roll_up_metrics(self: Any) -> int:
    """Roll up what is due, and renew the models' performance."""
    note_sender(self.request, services())
    return measure_in_turn(services())


@app.task(name=queue.PROBE, bind=True, **_SEEN_NOWHERE)
def probe_models(self: Any) -> dict[str, bool]:
    """Ask each model's endpoint whether it serves."""
    note_sender(self.request, services())
    return probe_in_turn(services())


def _answer(task: Any, step: Step, thread_id: str) -> str:
    is_open, why = advance_answer(step, ObjectId(thread_id), services())
    if not is_open:
        task.request.chain = None  # the thread did not move: nothing follows here
    return why
