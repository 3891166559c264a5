"""What a model says: a pure function of model, messages and ordinal."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from orchestratex.sandbox.answering import assess, write_answer
from orchestratex.sandbox.evaluating import NO_BIAS, Bias, write_evaluation
from orchestratex.sandbox.models import MODELS, Model
from orchestratex.sandbox.refining import explain, write_refinement
from orchestratex.sandbox.seeds import make_rng
from orchestratex.sandbox.tasks import Task, TaskKind, read_task


def reply(model_name: str, system: str, user: str, *, ordinal: int = 0) -> str:
    """Return what a model (by schema name) says to two messages; the same ordinal gives the same words.

    Raises KeyError for a model that the sandbox does not play.
    """
    return play(MODELS[model_name], read_task(system, user), ordinal=ordinal)


def play(model: Model, task: Task, *, ordinal: int = 0, bias: Bias = NO_BIAS) -> str:
    """Return what a model says to a task; `bias` touches evaluations only."""
    rng = make_rng(model.name, task.kind, task.prompt, ordinal, task.answer, task.criticisms)
    if task.kind is TaskKind.EVALUATE:
        return write_evaluation(model, task, rng, bias)
    return _WRITERS[task.kind](model, task, rng)


def _write_assessment(model: Model, task: Task, rng: Random) -> str:
    return assess(model, task.prompt, task.answer, rng, explain(task.points) if task.criticisms else {})


_WRITERS: Final[dict[TaskKind, Callable[[Model, Task, Random], str]]] = {
    TaskKind.ANSWER: write_answer,
    TaskKind.REFINE: write_refinement,
    TaskKind.ASSESS: _write_assessment,
    TaskKind.CHAT: write_answer,
}
