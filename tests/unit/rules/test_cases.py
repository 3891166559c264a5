"""Small replies and quoted texts, each standing for its kind, with what is right for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestratex.rules.markers import ANSWER, fence, find_block
from orchestratex.rules.replies import MalformedReplyError, parse_answer, parse_evaluation, parse_refinement

CASES = Path(__file__).parents[2] / "data" / "cases"
NONCE = "4e2ae9672558b693"


def read(name: str) -> str:
    return (CASES / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "04a-think-before-json",
        "14a-evaluation-null-list",
        "14b-evaluation-list-for-text",
        "14c-evaluation-severity-capital",
        "14d-evaluation-note-after",
    ],
)
def test_the_evaluation_is_read(name: str) -> None:
    assert parse_evaluation(read(name)).criteria.accuracy == 7


def test_two_values_of_a_score_are_asked_again() -> None:
    with pytest.raises(MalformedReplyError, match="`accuracy` stands in it twice"):
        parse_evaluation(read("29-duplicate-score"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("04b-think-before-answer", "Blue light scatters more."),
        ("04c-harmony-before-answer", "Blue light scatters more."),
        ("09-answer-names-the-tag", read("09-answer-names-the-tag").strip()),
        ("28-assessment-in-code-fence", "Blue."),
    ],
)
def test_the_users_answer_is_read(name: str, text: str) -> None:
    assert parse_answer(read(name)).text == text


def test_an_assessment_may_name_a_tag() -> None:
    read_back = parse_refinement(read("10b-assessment-names-the-tag"), criticisms=1)

    assert read_back.text == "Better."
    assert read_back.assessment is not None


def test_code_reaches_the_evaluator_unchanged() -> None:
    code = read("16-code-that-looks-like-a-fence")

    assert find_block(ANSWER, fence(ANSWER, code, NONCE)) == code


def test_look_alikes_with_invisible_and_full_width_signs_are_defused() -> None:
    block = find_block(ANSWER, fence(ANSWER, read("27-fence-with-invisible"), NONCE)) or ""

    assert [line[:15] for line in block.split("\n")[:2]] == ["‹‹‹END ANSWER x"] * 2
