from __future__ import annotations

from typing import Any

import pytest

from orchestratex.domain.evaluation import Evaluation
from orchestratex.rules.severity import count_severe
from tests.make import make_criteria, make_criticism, make_evaluation


def judge(*severities: str, base: float = 8, **scores: float) -> Evaluation:
    """An evaluation with one criticism of each severity."""
    criticisms = [make_criticism(f"point {number}", severity) for number, severity in enumerate(severities)]
    values: dict[str, Any] = {"criticisms": criticisms, "evaluation_criteria": make_criteria(base, **scores)}
    return make_evaluation(**values)


WRONG = judge("critical", accuracy=4)
WRONG_TOO = judge("major", "minor", base=6, accuracy=2)
THIN = judge("major", "major", completeness=4)
UNCLEAR = judge("major", clarity=5)
SILENT = judge()
PETTY = judge("minor", "minor", accuracy=4)


@pytest.mark.parametrize(
    ("panel", "standing"),
    [
        ([], 0),
        ([SILENT, SILENT], 0),
        ([WRONG, SILENT, SILENT, SILENT], 0),  # one alone keeps no thread going
        ([WRONG, PETTY, PETTY], 0),  # that others find small faults there is no agreement on severity
        ([WRONG, WRONG_TOO, SILENT], 2),  # each on its own scale
        ([WRONG, WRONG_TOO, THIN], 2),  # what the third says stands alone
        ([WRONG, THIN, UNCLEAR, SILENT], 0),  # each something else
        ([THIN, THIN, WRONG, WRONG], 6),
        ([WRONG], 1),  # nobody is there to agree
        ([SILENT], 0),
    ],
)
def test_a_criticism_is_severe_where_two_evaluators_agree(panel: list[Evaluation], standing: int) -> None:
    assert count_severe(panel) == standing


def test_criteria_that_are_marked_down_alike_count_alike() -> None:
    """An answer that misses a requirement is a little less complete and a little less expert."""
    one, other = judge("major", completeness=6.0, domain_expertise=6.4), judge("major", domain_expertise=6.0)

    assert count_severe([one, other, SILENT]) == 2


def test_evaluators_who_score_everything_alike_agree_by_naming_a_severe_flaw() -> None:
    assert count_severe([judge("major"), judge("critical", base=3), SILENT]) == 2
