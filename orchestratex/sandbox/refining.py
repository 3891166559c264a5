"""Refine: mend what the criticism names, dispute what is false, and leave all else as it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from orchestratex.rules import markers
from orchestratex.sandbox.models import Model
from orchestratex.sandbox.prose import dump, write_flaw, write_statement
from orchestratex.sandbox.tasks import Point, Task
from orchestratex.sandbox.world import Demand, find_phrase, is_flawed, read_answer, read_demand

_SLIP: Final = 0.03  # that a refinement brings in a new flaw
_STRAIGHT: Final = re.compile(r'"([^"\n]{1,60})"')


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the refiner makes of one criticism."""

    point: int
    accepted: bool
    change: str
    why: str


class Draft:
    """An answer's lines while they are mended."""

    def __init__(self, demand: Demand, text: str) -> None:
        self.demand = demand
        self.lines = text.split("\n")
        reading = read_answer(demand, text)
        self.flawed, self.missing = set(reading.flawed), set(reading.missing)

    @property
    def text(self) -> str:
        """The answer as it stands."""
        return "\n".join(self.lines)

    def add(self, line: str) -> None:
        """Put a line behind the last statement."""
        places = [place for place, old in enumerate(self.lines) if find_phrase(old) in self.demand.requirements]
        self.lines.insert(places[-1] + 1 if places else len(self.lines), line)

    def replace_flaws(self, phrase: str, line: str) -> None:
        """Put a line in the place of the first wrong statement about a phrase and drop the others."""
        wrong = [place for place, old in enumerate(self.lines) if find_phrase(old) == phrase and is_flawed(old)]
        self.lines[wrong[0]] = line
        for place in reversed(wrong[1:]):
            del self.lines[place]


def write_refinement(model: Model, task: Task, rng: Random) -> str:
    """Reply to a refine task: the revised answer and a word on each point."""
    draft = Draft(read_demand(task.prompt), task.answer)
    verdicts = [_treat(point, draft, model, rng) for point in task.points]
    if rng.random() < _SLIP:
        draft.add(write_flaw(rng.choice(list(draft.demand.requirements.values())), rng, model.style))
    points = [_dump_verdict(verdict) for verdict in verdicts]
    return "\n".join(
        (
            markers.tag(markers.REVISED_TAG, draft.text, task.nonce),
            markers.tag(markers.POINTS_TAG, dump(points), task.nonce),
        )
    )


def explain(points: list[Point]) -> dict[str, str]:
    """What the refiner adds to its assessment about the points that it dealt with."""
    disputed = [point.number for point in points if point.text.endswith("disputed")]
    return {
        "clarifications": " ".join(f"Point {number} misreads the answer." for number in disputed),
        "alternative_interpretations": "",
    }


def _treat(point: Point, draft: Draft, model: Model, rng: Random) -> Verdict:
    phrase = _find_target(point.text, draft.demand)
    if phrase is None:
        return Verdict(point.number, False, "", "It names nothing that the prompt asks for.")
    if phrase not in draft.flawed and phrase not in draft.missing:
        return Verdict(point.number, False, "", f"The answer does treat “{phrase}”, and what it says stands.")
    if rng.random() >= model.mending:
        return Verdict(point.number, True, "Reworded only; it is still open.", "The point is right.")
    return Verdict(point.number, True, _mend(phrase, draft, model, rng), "The point is right.")


def _mend(phrase: str, draft: Draft, model: Model, rng: Random) -> str:
    line = write_statement(draft.demand.requirements[phrase], rng, model.style)
    if phrase in draft.flawed:
        draft.replace_flaws(phrase, line)
        draft.flawed.discard(phrase)
        return f"Corrected the statement about “{phrase}”."
    draft.add(line)
    draft.missing.discard(phrase)
    return f"Added a statement about “{phrase}”."


def _find_target(text: str, demand: Demand) -> str | None:
    """Return the requirement that a criticism names: in curly quotes, in straight ones, or as a bare word."""
    straight = _STRAIGHT.search(text)
    for phrase in (find_phrase(text), straight.group(1) if straight else ""):
        if phrase in demand.requirements:
            return phrase
    bare = text.casefold()
    return next((phrase for phrase in demand.requirements if _names(bare, phrase)), None)


def _names(text: str, phrase: str) -> bool:
    """Many scripts set no spaces between words: there a phrase is named wherever it stands."""
    return bool(re.search(rf"\b{re.escape(phrase)}\b", text)) if phrase.isascii() else phrase in text


def _dump_verdict(verdict: Verdict) -> dict[str, Any]:
    return {"point": verdict.point, "accepted": verdict.accepted, "change": verdict.change, "why": verdict.why}
