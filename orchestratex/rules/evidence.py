"""What rated first answers say of models: an expected score for each model and domain, and how far it may be off.

A score is taken for a sum: what the profile lets expect in the domain, what all models gain or lose there, what the
model gains or loses everywhere, and what it gains or loses in this domain alone. Each part is shrunk by the number of
rated answers behind it, so that few answers move little, and what a model showed elsewhere counts here, too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Mapping
from statistics import NormalDist
from typing import Final

from orchestratex.domain.base import Domain, Record

NOISE: Final = 1.3  # points: standard deviation of single panel scores about what the model is worth in the domain
MODEL_SPREAD: Final = 0.8  # points: so far models differ, everywhere alike, from what their profiles let expect
CELL_SPREAD: Final = 0.4  # points: and so far in single domains from what they show everywhere
DOMAIN_SPREAD: Final = 1.0  # points: so far domains differ in what all models score there
_ROUNDS: Final = 6  # of turning from part to part; after these nothing moves by a tenth of a point

Cell = tuple[str, Domain]  # model and domain
History = Mapping[Cell, tuple[int, float]]  # how many rated first answers, and the sum of their scores
_NORMAL: Final = NormalDist()


class Expectation(Record):
    """What a model's next first answer is expected to score."""

    score: float  # points, not clipped
    spread: float  # points: standard deviation of what is not known
    answers: int = 0  # rated first answers of the model in the domain
    answers_elsewhere: int = 0

    @property
    def total(self) -> int:
        """Rated first answers in all domains."""
        return self.answers + self.answers_elsewhere


class Evidence:
    """The parts of all scores, found once from a history."""

    def __init__(self, history: History, claim: Callable[[str, Domain], float]) -> None:
        """`claim` says what a model's profile lets expect in a domain, in points."""
        self._claim = claim
        self._cells = {cell: (count, total) for cell, (count, total) in history.items() if count}
        self._domains = _Part(DOMAIN_SPREAD, lambda cell: cell[1])
        self._parts = (
            self._domains,
            _Part(MODEL_SPREAD, lambda cell: cell[0]),
            _Part(CELL_SPREAD, lambda cell: cell),
        )
        for _ in range(_ROUNDS):
            for part in self._parts:
                self._fit(part)

    def expect(self, model: str, domain: Domain) -> Expectation:
        """What the model is expected to score in the domain."""
        answers = self.count(model, domain)
        elsewhere = self.count(model) - answers
        return Expectation(
            score=self._claim(model, domain) + sum(part.at((model, domain)) for part in self._parts),
            spread=math.hypot(_doubt(answers + elsewhere, MODEL_SPREAD), _doubt(answers, CELL_SPREAD)),
            answers=answers,
            answers_elsewhere=elsewhere,
        )

    def count(self, model: str | None = None, domain: Domain | None = None) -> int:
        """Rated first answers, of one model and in one domain where they are given."""
        return sum(
            count
            for (name, place), (count, _) in self._cells.items()
            if model in (None, name) and domain in (None, place)
        )

    def mean(self, model: str) -> float | None:
        """The mean score of the model's first answers in all domains; None without any.

        Without what all models gain or lose in a domain: who is asked in easy domains is not better for it.
        """
        found = {cell: sums for cell, sums in self._cells.items() if cell[0] == model}
        points = math.fsum(total - count * self._domains.at(cell) for cell, (count, total) in found.items())
        return points / self.count(model) if found else None

    def _fit(self, part: _Part) -> None:
        """Find a part anew from what the others leave of the scores."""
        counts: dict[Hashable, int] = {}
        left: dict[Hashable, float] = {}
        for cell, (count, total) in self._cells.items():
            group = part.group(cell)
            others = self._claim(*cell) + sum(other.at(cell) for other in self._parts if other is not part)
            counts[group] = counts.get(group, 0) + count
            left[group] = left.get(group, 0.0) + total - count * others
        part.points = {group: left[group] / (counts[group] + part.prior_answers) for group in left}


class _Part:
    """One of the parts of scores: points by what it belongs to, 0 where nothing is known."""

    def __init__(self, spread: float, group: Callable[[Cell], Hashable]) -> None:
        self.prior_answers = (NOISE / spread) ** 2  # how many answers the expectation that it is 0 weighs as much as
        self.group = group
        self.points: dict[Hashable, float] = {}

    def at(self, cell: Cell) -> float:
        return self.points.get(self.group(cell), 0.0)


def draw(seed: str, model: str) -> float:
    """How much of its spread a model is given for being little known: the better half of a normal draw, else 0.

    The same seed always gives the same; about half of all draws are 0.
    """
    digest = hashlib.sha256(f"{seed}\n{model}".encode("utf-8", "replace")).digest()
    share = (int.from_bytes(digest[:7], "big") + 0.5) / 2**56
    return max(0.0, _NORMAL.inv_cdf(share))


def _doubt(answers: int, spread: float) -> float:
    """What is left of a spread after so many answers, in points."""
    return NOISE / math.sqrt(answers + (NOISE / spread) ** 2)
