"""The classifier against recorded prompts. Floors stand a little under what was measured when they were set."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestratex.rules.analysis import analyse_prompt
from orchestratex.rules.language import UNKNOWN, fold_language

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def read_rows(path: str) -> list[dict[str, Any]]:
    file = DATA / path
    if not file.is_file():
        pytest.skip(f"recorded data is absent: {file}")
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def correlate_ranks(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return Spearman's rho, ties sharing their mean rank."""

    def to_ranks(values: Sequence[float]) -> list[float]:
        places: dict[float, list[int]] = defaultdict(list)
        for place, value in enumerate(sorted(values)):
            places[value].append(place)
        return [sum(places[value]) / len(places[value]) for value in values]

    a, b = to_ranks(xs), to_ranks(ys)
    mean = (len(a) - 1) / 2
    covariance = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    spread = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    return float(covariance / spread**0.5)


def test_domain_accuracy_stays_above_its_floor() -> None:
    hits: dict[str, list[bool]] = defaultdict(list)
    sure: list[bool] = []
    for row in read_rows("domain/domain_prompts.jsonl"):
        hit = analyse_prompt(row["prompt"]).domain.value == row["domain"]
        hits[row["domain"]].append(hit)
        if not row["ambiguous"]:
            sure.append(hit)

    total = sum(map(sum, hits.values())) / sum(map(len, hits.values()))
    by_domain = {domain: sum(found) / len(found) for domain, found in hits.items()}

    assert total > 0.83
    assert sum(sure) / len(sure) > 0.88
    assert min(by_domain.values()) > 0.70, by_domain


@pytest.mark.parametrize(
    ("kind", "right", "wrong"), [("sentences", 0.965, 0.022), ("word-pairs", 0.72, 0.04), ("single-words", 0.42, 0.045)]
)
def test_languages_are_told_and_doubtful_ones_are_not_named(kind: str, right: float, wrong: float) -> None:
    rows = [row for row in read_rows("langid/lingua_testdata.jsonl") if row["kind"] == kind]
    told = [(analyse_prompt(row["text"]).language, fold_language(row["lang"])) for row in rows]

    assert sum(mine == true for mine, true in told) / len(told) > right
    assert sum(mine not in {true, UNKNOWN} for mine, true in told) / len(told) < wrong


@pytest.mark.parametrize(
    ("source", "floor"), [("kaistAI/FLASK", 0.19), ("LiveCodeBench/submissions", 0.58), ("lm-sys/RouteLLM:mmlu", 0.52)]
)
def test_difficulty_ranks_prompts_within_a_source(source: str, floor: float) -> None:
    rows = [row for row in read_rows("difficulty/difficulty.jsonl") if row["source"] == source]
    levels = [float(row["ordinal_in_source"]) for row in rows]

    rho = correlate_ranks(levels, [analyse_prompt(row["prompt"]).estimated_difficulty for row in rows])

    assert rho > floor
