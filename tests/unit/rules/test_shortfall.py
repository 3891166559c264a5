from __future__ import annotations

import pytest

from orchestratex.domain.base import FinishReason
from orchestratex.domain.response import Completion, Usage
from orchestratex.rules.shortfall import Kind, find_shortfall, longer_limit, may_ask_again

STOP, LENGTH, REFUSAL, OTHER = FinishReason.STOP, FinishReason.LENGTH, FinishReason.REFUSAL, FinishReason.OTHER


@pytest.mark.parametrize(
    ("text", "reason", "problem", "is_whole", "kind"),
    [
        ("Hi", STOP, None, False, None),
        ("Hi", OTHER, None, False, None),
        ("Hi", LENGTH, None, True, None),
        ("Hi", REFUSAL, None, True, None),
        ("Hi", LENGTH, None, False, Kind.CUT_OFF),
        ("{", LENGTH, "not valid JSON", False, Kind.CUT_OFF),
        ("", LENGTH, "there is no answer in it", False, Kind.NO_TEXT),
        (" \n", LENGTH, None, False, Kind.NO_TEXT),
        ("Hi", REFUSAL, None, False, Kind.FILTERED),
        ("{", REFUSAL, "not valid JSON", False, Kind.FILTERED),
        ("", STOP, "there is no answer in it", False, Kind.UNREADABLE),
        ("{", OTHER, "not valid JSON", False, Kind.UNREADABLE),
    ],
)
def test_what_a_reply_falls_short_in(
    text: str, reason: FinishReason, problem: str | None, is_whole: bool, kind: Kind | None
) -> None:
    completion = Completion(text=text, finish_reason=reason)

    found = find_shortfall(completion, limit=100, problem=problem, is_whole=is_whole)

    assert (found.kind if found else None) == kind


def test_thinking_that_ate_the_limit_has_words_of_its_own() -> None:
    usage = Usage(input_tokens=9, output_tokens=2048, total_tokens=2057, reasoning_tokens=2040)

    found = find_shortfall(Completion(text="", finish_reason=LENGTH, usage=usage), limit=2048, problem="empty")

    assert found is not None
    assert found.record == (
        "output limit reached before any text: the limit was 2048 tokens, 2040 of them spent on thinking"
    )


@pytest.mark.parametrize(
    ("limit", "kind", "most", "wanted"),
    [
        (2048, Kind.CUT_OFF, 100_000, 4096),
        (2048, Kind.NO_TEXT, 100_000, 8192),
        (2048, Kind.CUT_OFF, 3000, 3000),
        (2048, Kind.CUT_OFF, 2500, None),
        (2048, Kind.CUT_OFF, 2048, None),
        (2048, Kind.CUT_OFF, 0, None),
        (100, Kind.CUT_OFF, 125, 125),
    ],
)
def test_a_limit_grows_as_far_as_it_may_or_not_at_all(limit: int, kind: Kind, most: int, wanted: int | None) -> None:
    assert longer_limit(limit, kind, most=most) == wanted


@pytest.mark.parametrize(
    ("reason", "re_asks", "was_for_length", "may"),
    [
        (STOP, 0, False, True),
        (STOP, 1, False, False),
        (STOP, 1, True, True),  # the first that was unreadable, after one that was cut off
        (STOP, 2, True, False),
        (LENGTH, 0, False, True),
        (LENGTH, 1, False, True),
        (LENGTH, 1, True, True),
        (LENGTH, 2, True, False),
        (REFUSAL, 0, False, False),
    ],
)
def test_asking_the_same_model_again_is_bounded(
    reason: FinishReason, re_asks: int, was_for_length: bool, may: bool
) -> None:
    found = find_shortfall(Completion(text="{", finish_reason=reason), limit=100, problem="not valid JSON")

    assert found is not None
    assert may_ask_again(found, re_asks=re_asks, was_for_length=was_for_length) is may
