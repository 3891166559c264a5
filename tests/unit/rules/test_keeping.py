from __future__ import annotations

import pytest

from orchestratex.domain.base import Role
from orchestratex.domain.response import Completion
from orchestratex.rules.keeping import MOST_ANSWER_BYTES, MOST_EVALUATION_BYTES, fit_completion, leave_out_text


@pytest.mark.parametrize("sign", ["x", "é", "€", "😀"])
@pytest.mark.parametrize(("role", "most"), [(Role.PRIMARY, MOST_ANSWER_BYTES), (Role.EVALUATOR, MOST_EVALUATION_BYTES)])
def test_a_text_is_cut_between_two_signs_and_says_by_how_much(sign: str, role: Role, most: int) -> None:
    text = "a" + sign * most

    kept = fit_completion(Completion(text=text), role)

    assert text.startswith(kept.text)
    assert most - 4 < len(kept.text.encode()) <= most
    assert len(kept.text.encode()) + kept.bytes_left_out == len(text.encode())


def test_what_fits_is_kept_as_it_is() -> None:
    completion = Completion(text="é" * (MOST_ANSWER_BYTES // 2), request_id="r-1", model_version=None)

    assert fit_completion(completion, Role.PRIMARY) == completion


def test_a_text_that_is_left_out_counts_with_what_was_cut_before() -> None:
    kept = leave_out_text(Completion(text="é", bytes_left_out=5))

    assert (kept.text, kept.bytes_left_out) == ("", 7)
