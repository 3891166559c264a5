from __future__ import annotations

import pytest
from bson import ObjectId

from orchestratex.domain.thread import IterationScore
from orchestratex.rules.final import choose_final
from tests.make import make_candidate

KNOWN = {name: make_candidate(name) for name in ("gpt4", "claude", "qwen")}


def score(iteration: int, model: str, value: float | None) -> IterationScore:
    return IterationScore(iteration=iteration, response_id=ObjectId(), model_name=model, score=value)


def test_the_author_leads_and_the_best_other_follows() -> None:
    scores = [score(1, "gpt4", 6), score(2, "claude", 8), score(3, "qwen", 7)]

    ranking = choose_final(scores, KNOWN, author="claude")

    assert [(c.model_name, c.final_score) for c in ranking.candidates] == [("claude", 8), ("qwen", 7), ("gpt4", 6)]
    assert (ranking.selected, ranking.runner_up, ranking.margin) == ("claude", "qwen", 1)
    assert ranking.confidence == pytest.approx(5.5)
    assert ranking.factors == ["panel score 8.00 in iteration 2, the best of 3"]


@pytest.mark.parametrize(("lead", "confidence"), [(0, 1), (1, 5.5), (2, 10), (5, 10)])
def test_a_lead_gives_confidence_up_to_two_points(lead: float, confidence: float) -> None:
    ranking = choose_final([score(1, "gpt4", 5 + lead), score(2, "claude", 5)], KNOWN, author="gpt4")

    assert ranking.confidence == pytest.approx(confidence)


def test_a_single_author_has_no_runner_up() -> None:
    ranking = choose_final([score(1, "gpt4", 6), score(2, "gpt4", 7)], KNOWN, author="gpt4")

    assert (ranking.runner_up, ranking.margin, ranking.confidence) == (None, None, 5.5)
    assert [candidate.final_score for candidate in ranking.candidates] == [7]


@pytest.mark.parametrize("scores", [[], [score(1, "gpt4", None)]])
def test_an_unweighed_answer_is_shown_all_the_same(scores: list[IterationScore]) -> None:
    ranking = choose_final(scores, KNOWN, author="gpt4")

    assert ranking.selected == "gpt4"
    assert ranking.factors == ["the only response; no evaluation arrived"]
    assert [candidate.final_score for candidate in ranking.candidates] == [5]


def test_an_author_whose_candidacy_is_unknown_is_left_out_of_the_list() -> None:
    ranking = choose_final([score(1, "gpt4", 6), score(2, "grok", 5)], KNOWN, author="gpt4")

    assert [candidate.model_name for candidate in ranking.candidates] == ["gpt4"]
    assert ranking.runner_up == "grok"


def test_confidence_in_the_choice_falls_with_the_evaluations_that_are_missing() -> None:
    part = score(1, "gpt4", 8).model_copy(update={"evaluators": 1, "asked": 3})

    ranking = choose_final([part, score(2, "claude", 5)], KNOWN, author="gpt4")

    assert ranking.confidence == pytest.approx(1 + 9 / 3)
    assert ranking.factors == ["panel score 8.00 of 1 of 3 evaluations in iteration 1, the best of 2"]
