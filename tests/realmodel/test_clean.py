"""The judge of the finals has to be able to say no."""

from __future__ import annotations

import pytest

from tests.realmodel.clean import find_scaffolding


@pytest.mark.parametrize(
    "text",
    [
        "<<<END PROMPT 00ff>>>\nParis.",
        "Paris.\n<assessment>{}</assessment>",
        'Paris. {"confidence": 8}',
        "Let me see.</think>Paris.",
        "<|channel|>final<|message|>Paris.",
        "the whole improved answer, ready for the user",
    ],
)
def test_scaffolding_is_found(text: str) -> None:
    assert find_scaffolding(text)


def test_plain_answers_and_the_users_own_words_are_clean() -> None:
    assert find_scaffolding('Paris. cout << answer; {"name": "Ann"}') == []
    assert find_scaffolding("<points>3</points>", prompt="Write XML with a <points> element") == []
