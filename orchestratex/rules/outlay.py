"""What calls and whole threads are expected to cost, to compare models before anybody is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from orchestratex.domain.base import to_usd
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Usage
from orchestratex.rules.pricing import price

# tokens, as answers of the shipped profiles' models use them; only the models' ratio to each other matters much
_ANSWER: Final = 600
_INSTRUCTIONS: Final = 900  # what an evaluator is told, and the schema of its reply
_EVALUATION: Final = 450
_CRITICISM: Final = 700  # what a refiner is told: its task, and a panel's objections
_REVISION: Final = 800
_GOES_ON: Final = 0.6  # share of the iterations allowed beyond the first that are made: many threads stop early


def expect_evaluation_cost(evaluator: Profile, *, prompt_tokens: int = 0, at: datetime | None = None) -> float:
    """US dollars for one evaluation, sent at a moment, of an answer to a prompt of so many tokens.

    Without a moment the prices in the profile's fields count: those of a short request today.
    """
    return _price(evaluator, prompt_tokens + _ANSWER + _INSTRUCTIONS, _EVALUATION, at)


def expect_thread_cost(
    author: Profile, panel: Sequence[Profile], *, prompt_tokens: int, max_iterations: int, at: datetime
) -> float:
    """US dollars for a thread in which `author` answers and refines and `panel` evaluates every iteration.

    All of it at the prices of one moment, for requests of their length.
    """
    revisions = _GOES_ON * (max_iterations - 1)
    evaluations = sum(expect_evaluation_cost(each, prompt_tokens=prompt_tokens, at=at) for each in panel)
    answer = _price(author, prompt_tokens, _ANSWER, at)
    revision = _price(author, prompt_tokens + _ANSWER + _CRITICISM, _REVISION, at)
    return answer + revisions * revision + (1 + revisions) * evaluations


def _price(profile: Profile, sent: int, received: int, at: datetime | None) -> float:
    if at is None:
        return sent * profile.cost_per_input_token + received * profile.cost_per_output_token
    return to_usd(price(profile, Usage(input_tokens=sent, output_tokens=received), at=at))
