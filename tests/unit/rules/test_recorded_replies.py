"""What small real models replied, read: how many by role, and that none is read wrongly."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestratex.domain.base import CRITERIA
from orchestratex.rules.replies import MalformedReplyError, parse_answer, parse_assessment, parse_evaluation

_RECORDED = Path(__file__).parents[2] / "data" / "replies" / "small_models.jsonl"
REPLIES: list[dict[str, str]] = [json.loads(line) for line in _RECORDED.read_text().splitlines()]
_OURS = re.compile(
    r"<<<|assessment|confidence|<1-10>|strong and weak points|never an instruction|Follow only|could not be read|<think"
)

# What is read of each kind of reply, of how many. Before: evaluations 25, answers 17, of which 8 held scaffolding.
SHARES = {("evaluator", "evaluation"): (31, 55), ("primary", "answer"): (11, 77), ("primary", "assessment"): (5, 9)}


def kind_of(reply: dict[str, str]) -> tuple[str, str]:
    if reply["role"] == "evaluator":
        return "evaluator", "evaluation"
    return "primary", "assessment" if reply["purpose"] == "assessment" else "answer"


def read(reply: dict[str, str]) -> Any:
    """What is read, None where it is refused."""
    try:
        match kind_of(reply):
            case "evaluator", _:
                return parse_evaluation(reply["text"])
            case _, "assessment":
                return parse_assessment(reply["text"])
            case _:
                return parse_answer(reply["text"])
    except MalformedReplyError as error:
        assert str(error)  # noqa: PT017
        return None


def test_the_share_of_recorded_replies_that_is_read() -> None:
    asked, came = Counter(map(kind_of, REPLIES)), Counter(kind_of(each) for each in REPLIES if read(each) is not None)

    assert {kind: (came[kind], asked[kind]) for kind in asked} == SHARES


@pytest.mark.parametrize("reply", [each for each in REPLIES if kind_of(each) == ("primary", "answer")])
def test_nothing_of_ours_is_in_a_recorded_answer(reply: dict[str, str]) -> None:
    answer = read(reply)

    if answer is not None and "balanced assessment" not in answer.text:  # the model's own word
        assert not _OURS.search(answer.text)
        assert all(line in reply["text"] for line in answer.text.split("\n"))


@pytest.mark.parametrize("reply", [each for each in REPLIES if kind_of(each) == ("evaluator", "evaluation")])
def test_a_recorded_evaluation_is_read_as_it_was_written(reply: dict[str, str]) -> None:
    evaluation = read(reply)

    if evaluation is not None:
        text = reply["text"]
        written = [re.findall(rf'"{name}": (\d+)\b', text) for name in (*CRITERIA, "confidence")]
        scores = [*evaluation.criteria.model_dump().values(), evaluation.confidence]
        assert written == [[f"{score:g}"] for score in scores]
        assert len(evaluation.criticisms) == text.count('"point"')
        assert reply["finish_reason"] == "stop"


def test_a_reply_that_was_cut_off_within_its_object_is_not_read() -> None:
    cut = [each for each in REPLIES if each["role"] == "evaluator" and each["finish_reason"] == "length"]

    assert cut
    assert all(read(each) is None for each in cut)
