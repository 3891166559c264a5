"""What calls and whole threads are expected to cost, to compare models before anybody is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestratex.domain.profile import Profile

# tokens, as answers of the shipped profiles' models use them; only the models' ratio to each other matters much
_ANSWER: Final = 600
_INSTRUCTIONS: Final = 900  # what an evaluator is told, and the schema of its reply
_EVALUATION: Final = 450
_CRITICISM: Final = 700  # what a refiner is told: its task, and a panel's objections
_REVISION: Final = 800
_GOES_ON: Final = 0.6  # share of the iterations allowed beyond the first that are made: many threads stop early


def expect_evaluation_cost(evaluator: Profile, *, prompt_tokens: int = 0) -> float:
    """US dollars for one evaluation of an answer to a prompt of so many tokens."""
    return _price(evaluator, prompt_tokens + _ANSWER + _INSTRUCTIONS, _EVALUATION)


def expect_thread_cost(author: Profile, panel: Sequence[Profile], *, prompt_tokens: int, max_iterations: int) -> float:
    """US dollars for a thread in which `author` answers and refines and `panel` evaluates every iteration."""
    revisions = _GOES_ON * (max_iterations - 1)
    evaluations = sum(expect_evaluation_cost(each, prompt_tokens=prompt_tokens) for each in panel)
    answer = _price(author, prompt_tokens, _ANSWER)
    revision = _price(author, prompt_tokens + _ANSWER + _CRITICISM, _REVISION)
    return answer + revisions * revision + (1 + revisions) * evaluations


def _price(profile: Profile, sent: int, received: int) -> float:
    return sent * profile.cost_per_input_token + received * profile.cost_per_output_token
