"""What the dialects share in reading replies: counts that are counts, texts that are texts, and usage that adds up."""

from __future__ import annotations

from typing import Any, TypeGuard

from orchestratex.domain.base import FinishReason
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import ContentRefusedError
from orchestratex.providers.http import whole_text

_MOST_TOKENS = 10**9  # no call has more: a number beyond it is nonsense, and MongoDB keeps 64 bits
_MOST_USD = 10**6
_EXCERPT = 200  # characters of a refusal that an error repeats


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a believable number of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS


def count_or_zero(value: Any) -> int:
    """A number of tokens, 0 where none is stated."""
    return value if is_count(value) else 0


def text_or_none(value: Any) -> str | None:
    """A text, None where the value is something else."""
    return whole_text(value) if isinstance(value, str) else None


def dollars_or_none(value: Any) -> float | None:
    """US dollars, None where the value is no believable amount."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= _MOST_USD else None


def make_usage(*, input_tokens: int, output_tokens: int, cached_tokens: int = 0, reasoning_tokens: int = 0) -> Usage:
    """Usage as we mean it: cached tokens part of the input, reasoning tokens part of the output."""
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=input_tokens + output_tokens,
        cached_tokens=min(cached_tokens, input_tokens),
        reasoning_tokens=min(reasoning_tokens, output_tokens),
    )


def unless_refused(model: str, completion: Completion, *, why: str = "") -> Completion:
    """The completion. Raises ContentRefusedError, which keeps what was billed, where there is a refusal and no text."""
    if completion.finish_reason is not FinishReason.REFUSAL or completion.text:
        return completion
    problem = f"refused: {whole_text(why)[:_EXCERPT]}" if why else "refused without a word"
    raise ContentRefusedError(model, problem, completion=completion)
