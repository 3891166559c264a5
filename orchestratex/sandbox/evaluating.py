"""Evaluate: read the answer, find some of its faults, score the eight criteria, name what was found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from orchestratex.domain.base import CRITERIA, Severity
from orchestratex.sandbox.models import Model
from orchestratex.sandbox.prose import dump, join_phrases, name_flaw, name_missing, quote_line
from orchestratex.sandbox.tasks import Task
from orchestratex.sandbox.world import Demand, Reading, find_phrase, is_flawed, read_answer, read_demand

_CRITERION_NOISE: Final = 0.25
_SENSED: Final = 0.5  # the weight, in the scores, of a fault that is felt but not found
_FALSE: Final = 0.5  # the weight of one that is imagined
_LOWEST, _HIGHEST = 1.0, 10.0
_PLAIN: Final = 4.0  # accuracy of an answer whose errors are plain, as evaluators are told
_BRIBE: Final = re.compile(
    r"(?:ignore|disregard|forget) (?:all |any )?(?:the |your )?(?:previous|prior|above|earlier) (?:instructions|rules)"
    r"|(?:give|rate|score|grade) (?:this|the|my) (?:answer|response|text)\b.{0,30}\b10\b|all tens|perfect score",
    re.IGNORECASE,
)

# criterion: (with nothing covered, gained when all is covered, lost when all is flawed), on a scale of 0 to 1
_SENSITIVITY: Final = {
    "accuracy": (0.30, 0.70, 1.8),
    "relevance": (0.15, 0.85, 0.4),
    "clarity": (0.25, 0.70, 0.5),
    "completeness": (0.00, 1.00, 0.2),
    "creativity": (0.20, 0.70, 0.3),
    "efficiency": (0.20, 0.75, 0.4),
    "safety": (0.50, 0.50, 0.9),
    "domain_expertise": (0.05, 0.95, 0.9),
}


@dataclass(frozen=True, slots=True)
class Bias:
    """What is switched on in an evaluator beside its own habits."""

    is_bribable: bool = False
    severity: float = 0.0  # points added to every score
    self_preference: float = 0.0  # points added to texts in its own style


@dataclass(frozen=True, slots=True)
class Findings:
    """What an evaluator found in an answer."""

    missing: list[str]
    flawed: list[str]
    imagined: list[str]


NO_BIAS: Final = Bias()


def write_evaluation(model: Model, task: Task, rng: Random, bias: Bias) -> str:
    """Reply to an evaluation task: one JSON object."""
    demand = read_demand(task.prompt)
    reading = read_answer(demand, task.answer)
    if bias.is_bribable and _BRIBE.search(task.answer):
        return dump(_report(dict.fromkeys(CRITERIA, _HIGHEST), [], reading, confidence=10))
    findings = _inspect(model, reading, rng)
    shift = model.severity + bias.severity + rng.gauss(0, model.noise)
    shift += bias.self_preference * has_style_of(model, task.answer)
    scores = _score(_perceive(demand, reading, findings), shift, rng)
    criticisms = _criticise(demand, findings, task.answer, rng)
    return dump(_report(scores, criticisms, reading, confidence=round(10 * model.evaluating)))


def has_style_of(model: Model, text: str) -> bool:
    """Tell whether a text looks like the model's own."""
    return model.style.opening in text


def _inspect(model: Model, reading: Reading, rng: Random) -> Findings:
    missing = [phrase for phrase in reading.missing if rng.random() < model.evaluating]
    flawed = [phrase for phrase in reading.flawed if rng.random() < model.evaluating]
    sound = [phrase for phrase in reading.covered if phrase not in reading.flawed]
    is_alarmed = rng.random() < model.false_alarm
    return Findings(missing, flawed, [rng.choice(sound)] if sound and is_alarmed else [])


def _perceive(demand: Demand, reading: Reading, findings: Findings) -> tuple[float, float]:
    """Return the shares of covered and flawed requirements as the evaluator sees them."""
    total = len(demand.requirements)
    absent = _weigh(len(reading.missing), len(findings.missing)) + _FALSE * len(findings.imagined)
    flawed = _weigh(len(reading.flawed), len(findings.flawed))
    return 1 - (absent + flawed) / total, flawed / total


def _weigh(present: int, found: int) -> float:
    return found + _SENSED * (present - found)


def _score(perceived: tuple[float, float], shift: float, rng: Random) -> dict[str, float]:
    covered, flawed = perceived
    scores = {}
    for name, (base, gain, loss) in _SENSITIVITY.items():
        share = base + gain * covered - loss * flawed
        scores[name] = _to_score(1 + 9 * share + shift + rng.gauss(0, _CRITERION_NOISE))
    return scores


def _to_score(points: float) -> float:
    return round(max(_LOWEST, min(_HIGHEST, points)), 1)


def _criticise(demand: Demand, findings: Findings, answer: str, rng: Random) -> list[dict[str, str]]:
    lines = {find_phrase(line): line for line in answer.split("\n") if is_flawed(line)}
    wrong = [
        _criticism(name_flaw(demand.requirements[phrase], rng), Severity.CRITICAL, quote_line(lines[phrase]))
        for phrase in findings.flawed
    ]
    absent = [
        _criticism(
            name_missing(demand.requirements[phrase], rng),
            Severity.MAJOR if demand.requirements[phrase].is_major else Severity.MINOR,
            "No line of the answer takes it up.",
        )
        for phrase in findings.missing + findings.imagined
    ]
    return wrong + absent


def _criticism(point: str, severity: Severity, evidence: str) -> dict[str, str]:
    return {"point": point, "severity": severity.value, "evidence": evidence}


def _report(
    scores: dict[str, float], criticisms: list[dict[str, str]], reading: Reading, *, confidence: int
) -> dict[str, Any]:
    wanted = [find_phrase(each["point"]) for each in criticisms]
    wrong = {find_phrase(each["point"]) for each in criticisms if each["severity"] == Severity.CRITICAL}
    return {
        "checks": [f"{phrase}: {'wrong' if phrase in wrong else 'held'}" for phrase in reading.covered],
        "criticisms": criticisms,
        "has_plain_error": bool(wrong) and scores["accuracy"] <= _PLAIN,
        "positive_aspects": f"Well treated: {join_phrases(list(reading.covered[:3]))}.",
        "suggested_improvements": f"To be worked on: {join_phrases(wanted)}.",
        "alternative_approaches": "Begin with the hardest requirement and let the others follow from it.",
        "criteria": scores,
        "confidence": confidence,
    }
