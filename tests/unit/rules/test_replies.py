from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratex.domain.base import CRITERIA
from orchestratex.rules.markers import tag
from orchestratex.rules.replies import (
    MalformedReplyError,
    parse_answer,
    parse_assessment,
    parse_evaluation,
    parse_refinement,
)

GOOD: dict[str, Any] = {
    "criteria": dict.fromkeys(CRITERIA, 7),
    "criticisms": [{"point": "No tests", "severity": "major", "evidence": "line 3"}],
    "positive_aspects": "clear",
    "confidence": 8,
}
TEXT = json.dumps(GOOD)


def with_accuracy(written: str) -> str:
    return TEXT.replace('"accuracy": 7', f'"accuracy": {written}')


@pytest.mark.parametrize(
    "reply",
    [
        TEXT,
        f"```json\n{TEXT}\n```",
        f"```\n{TEXT}\n```",
        f"Here is my evaluation:\n\n{TEXT}\n\nI hope that it helps.",
        f"As asked [in JSON]: {TEXT}",
        f"{TEXT}\n[end of evaluation]",
        TEXT[:-1] + ",}",
        TEXT.replace('"line 3"}]', '"line 3",},\n ]'),
        TEXT.replace("clear", "cl\near"),
        TEXT.replace('"confidence"', '"unknown": {"a": [1]}, "confidence"'),
        with_accuracy("7.0"),
        with_accuracy('"7"'),
    ],
)
def test_an_evaluation_is_read_where_its_meaning_is_plain(reply: str) -> None:
    read = parse_evaluation(reply)

    assert read.criteria.accuracy == 7
    assert (read.confidence, read.criticisms[0].point, read.criticisms[0].severity) == (8, "No tests", "major")
    assert read.alternative_approaches == ""


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "no JSON"),
        ("I cannot do that.", "no JSON"),
        ("[1, 2]", "one JSON object, you gave a list"),
        (TEXT[: len(TEXT) // 2], "not valid JSON"),
        ("{" * 100_000, "too many brackets"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "too many brackets"),
        (with_accuracy("1" * 5000), "too long"),
        (with_accuracy("NaN"), "NaN is not a number"),
        (with_accuracy("Infinity"), "Infinity is not a number"),
        (with_accuracy("-Infinity"), "-Infinity is not a number"),
        (with_accuracy("1e999"), "criteria.accuracy"),
        (with_accuracy("0"), "criteria.accuracy"),
        (with_accuracy("10.5"), "criteria.accuracy"),
        (with_accuracy("null"), "criteria.accuracy"),
        (with_accuracy('"good"'), "criteria.accuracy"),
        (with_accuracy("true"), "`criteria.accuracy` must be a number from 1 to 10, you gave true"),
        (TEXT.replace('"accuracy": 7, ', ""), "`criteria.accuracy` is missing"),
        (
            TEXT.replace('"confidence": 8', '"confidence": false'),
            "`confidence` must be a number from 1 to 10, you gave false",
        ),
        (TEXT.replace('"confidence": 8', '"x": 8'), "`confidence` is missing"),
        (
            TEXT.replace('"major"', '"terrible"'),
            r"`criticisms\[0\].severity` must be minor, major or critical, you gave \"terrible\"",
        ),
        (TEXT.replace('"No tests"', '""'), r"`criticisms\[0\].point` is empty"),
    ],
)
def test_an_evaluation_that_leaves_doubt_is_refused(reply: str, problem: str) -> None:
    with pytest.raises(MalformedReplyError, match=problem):
        parse_evaluation(reply)


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    read = parse_evaluation(TEXT.replace('"clear"', '"\\ud800 \\ud83d\\ude00"'))

    assert read.positive_aspects == "\ufffd \U0001f600"


@given(st.text())
def test_no_text_breaks_the_readers(text: str) -> None:
    for parse in (parse_evaluation, lambda reply: parse_refinement(reply, criticisms=1), parse_answer):
        try:
            parse(text)
        except MalformedReplyError as error:
            assert str(error)  # noqa: PT017


def test_an_answer_comes_with_its_assessment() -> None:
    reply = "The sky is blue.\n" + tag("assessment", '{"confidence": 9, "self_assessment": "sure"}')

    read = parse_answer(reply)

    assert read.text == "The sky is blue."
    assert read.assessment is not None
    assert (read.assessment.confidence, read.assessment.self_assessment) == (9, "sure")


@pytest.mark.parametrize(
    "rest",
    ["", "<assessment>never closed", tag("assessment", "fine"), tag("assessment", '{"confidence": 11}')],
)
def test_an_answer_may_come_without_a_readable_assessment(rest: str) -> None:
    read = parse_answer("The sky is blue. " + rest)

    assert (read.text, read.assessment) == ("The sky is blue.", None)


@pytest.mark.parametrize("reply", ["", "  \n", tag("assessment", '{"confidence": 9}')])
def test_a_reply_without_an_answer_is_refused(reply: str) -> None:
    with pytest.raises(MalformedReplyError, match="no answer"):
        parse_answer(reply)


def test_an_assessment_that_is_not_there_is_none() -> None:
    assert parse_assessment("nothing") is None


def refinement(points: str, text: str = "Better.") -> str:
    return tag("revised_answer", text) + tag("points", points) + tag("assessment", '{"confidence": 9}')


ONE, TWO = '{"point": 1, "accepted": true, "change": "c"}', '{"criticism": 2, "accepted": false, "why": "w"}'


@pytest.mark.parametrize("points", [f"[{ONE}, {TWO}]", f"```json\n[{TWO},\n{ONE},]\n```", f"[{ONE}, {ONE}, {TWO}]"])
def test_a_refinement_answers_every_point(points: str) -> None:
    read = parse_refinement(refinement(points), criticisms=2)

    assert read.text == "Better."
    assert {point.point: point.accepted for point in read.points} == {1: True, 2: False}
    assert read.assessment is not None


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (refinement(f"[{ONE}]"), r"criticisms \[2\]"),
        (refinement("[]"), r"criticisms \[1, 2\]"),
        (tag("revised_answer", "Better."), r"criticisms \[1, 2\]"),
        (refinement(f"[{ONE}, {TWO}]", text=""), "revised_answer"),
        (tag("points", f"[{ONE}, {TWO}]"), "revised_answer"),
        (refinement(f"[{ONE}, {{}}]"), "point"),
        (refinement('[{"point": true, "accepted": true}]'), "must be the criticism's number, you gave true"),
        (refinement('[{"point": 0, "accepted": true}]'), "point"),
        (refinement('[{"point": 1}]'), "accepted"),
        (refinement("yes to all"), "no JSON"),
    ],
)
def test_a_refinement_that_leaves_a_point_open_is_refused(reply: str, problem: str) -> None:
    with pytest.raises(MalformedReplyError, match=problem):
        parse_refinement(reply, criticisms=2)


def test_a_refinement_without_criticisms_needs_no_points() -> None:
    assert parse_refinement(tag("revised_answer", "Better."), criticisms=0).points == []
