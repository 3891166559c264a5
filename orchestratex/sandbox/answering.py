"""Answer: cover each requirement with the skill one has, and now and then get one wrong."""

from __future__ import annotations

from random import Random
from typing import Final

from orchestratex.domain.base import Domain
from orchestratex.sandbox.models import Model
from orchestratex.sandbox.prose import join_phrases, write_assessment, write_flaw, write_statement
from orchestratex.sandbox.tasks import Task
from orchestratex.sandbox.world import Demand, read_answer, read_demand

_DIFFICULTY_WEIGHT: Final = 0.07


def write_answer(model: Model, task: Task, rng: Random) -> str:
    """Reply to an answer task or an ordinary chat: the text alone."""
    return compose(model, read_demand(task.prompt), rng)


def compose(model: Model, demand: Demand, rng: Random) -> str:
    """Write a text that covers what the model happens to cover, one line a requirement."""
    skill = model.skill[demand.domain] - _DIFFICULTY_WEIGHT * demand.difficulty
    lines = []
    for requirement in demand.requirements.values():
        if rng.random() >= skill:
            continue
        write = write_flaw if rng.random() < model.flaw_rate else write_statement
        lines.append(write(requirement, rng, model.style))
    return "\n".join([model.style.opening, "", *lines, "", model.style.closing])


def assess(model: Model, prompt: str, text: str, rng: Random, rest: dict[str, str]) -> str:
    """Assess one's own text: a model sees its gaps as dimly as it evaluates."""
    demand = read_demand(prompt)
    missing = [phrase for phrase in read_answer(demand, text).missing if rng.random() < model.evaluating / 2]
    confidence = _confidence(model, demand.domain, len(missing))
    gaps = f" except for {join_phrases(missing)}" if missing else ""
    return write_assessment(confidence, f"The question is treated in full{gaps}.", rest)


def _confidence(model: Model, domain: Domain, gaps: int) -> int:
    return max(1, min(10, round(11 * model.skill[domain] + model.severity) - gaps))
