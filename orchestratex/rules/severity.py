"""When a panel thinks that something is severely wrong: two evaluators have to agree.

A single evaluator that is hard to please would otherwise keep every thread going to its last iteration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from orchestratex.domain.base import CRITERIA, SEVERE
from orchestratex.domain.evaluation import Evaluation

_NEAR: Final = 1.0  # points: criteria so near to an evaluator's lowest are marked down as much


def count_severe(evaluations: Sequence[Evaluation]) -> int:
    """How many severe criticisms stand: those of evaluators with whom another one agrees.

    Two agree when both name a severe flaw and both mark the same criterion down most, each on its own scale; their
    words need not be alike. Where a single evaluation came it counts alone.
    """
    named = [(_name_severe(each), _marked_down(each)) for each in evaluations]
    if len(named) == 1:
        return named[0][0]
    marks = Counter(criterion for count, marked in named if count for criterion in marked)
    return sum(count for count, marked in named if any(marks[criterion] > 1 for criterion in marked))


def _name_severe(evaluation: Evaluation) -> int:
    return sum(criticism.severity in SEVERE for criticism in evaluation.criticisms)


def _marked_down(evaluation: Evaluation) -> set[str]:
    """The criteria that the evaluator scores lowest."""
    scores = {name: float(getattr(evaluation.evaluation_criteria, name)) for name in CRITERIA}
    lowest = min(scores.values())
    return {name for name, score in scores.items() if score <= lowest + _NEAR}
