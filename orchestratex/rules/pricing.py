"""What a call may cost and what it did cost, exactly, in billionths of a US dollar."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from orchestratex.domain.base import CostSource, to_nanos
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage

_MESSAGE_OVERHEAD = 32  # role names and separators of two messages, in every known chat template
_SCHEMA_OVERHEAD = 1024  # what providers write around a schema: Anthropic's tool instructions alone are 313 to 530
_PIECES = re.compile(r"[A-Za-z]+|[0-9]|\s+|[^\x00-\x7f]+|.", re.DOTALL)


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, estimated from above without the model's tokenizer.

    Every digit and sign counts one, a word one for each two letters, other scripts one for each UTF-8 byte but one in
    three; a single space goes with what follows it, longer runs count one for two, every line break and tab one.
    Byte-pair tokenizers stay below that on prose, code and CJK text.
    """
    tokens = 0
    for piece in _PIECES.findall(text):
        if piece.isspace():
            spaces = piece.count(" ")
            tokens += len(piece) - spaces + spaces // 2
        elif piece.isascii():
            tokens += (len(piece) + 1) // 2
        else:
            tokens += -(-2 * len(piece.encode()) // 3)
    return tokens + 1


def prompt_tokens(text: str, *, json_schema: Mapping[str, Any] | None = None) -> int:
    """Input tokens of a call that sends `text` and the schema of its reply, estimated from above."""
    tokens = estimate_tokens(text) + _MESSAGE_OVERHEAD
    if json_schema is not None:
        tokens += _schema_tokens(json.dumps(json_schema)) + _SCHEMA_OVERHEAD
    return tokens


@functools.lru_cache(maxsize=16)
def _schema_tokens(text: str) -> int:
    """The few schemas in use are counted once, not with every call."""
    return estimate_tokens(text)


def worst_case(profile: Profile, *, input_tokens: int, max_tokens: int) -> int:
    """The most that a call can cost, in nano-dollars: all its input and all the output that it may generate.

    Each token counts at the highest price that it can have, cached or not, reasoning or not.
    """
    dearest_input = max(profile.cost_per_input_token, profile.cost_per_cached_input_token or 0)
    dearest_output = max(profile.cost_per_output_token, profile.cost_per_reasoning_token or 0)
    return _to_nanos(input_tokens * _exact(dearest_input) + max_tokens * _exact(dearest_output))


def price(
    profile: Profile, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0, reasoning_tokens: int = 0
) -> int:
    """Tokens times the profile's prices, in nano-dollars, rounded up once.

    Cached tokens are part of the input and reasoning tokens part of the output, never more than these.
    """
    cached, reasoning = min(cached_tokens, input_tokens), min(reasoning_tokens, output_tokens)
    dollars = (input_tokens - cached) * _exact(profile.cost_per_input_token)
    dollars += cached * _exact(profile.cost_per_cached_input_token, profile.cost_per_input_token)
    dollars += (output_tokens - reasoning) * _exact(profile.cost_per_output_token)
    dollars += reasoning * _exact(profile.cost_per_reasoning_token, profile.cost_per_output_token)
    return _to_nanos(dollars)


def price_usage(profile: Profile, usage: Usage) -> int:
    """What a call's tokens cost, in nano-dollars."""
    return price(
        profile,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def affordable_output(
    profile: Profile, *, input_tokens: int, nanos: int, beside: Callable[[int], int] = lambda _: 0
) -> int:
    """The most output tokens whose worst case, with this input, fits into so many nano-dollars; 0 when none does.

    `beside` says what else is to be paid for an output of so many tokens: no less for more of them.
    """
    low, high = 0, profile.max_output_tokens
    while low < high:
        middle = (low + high + 1) // 2
        if worst_case(profile, input_tokens=input_tokens, max_tokens=middle) + beside(middle) <= nanos:
            low = middle
        else:
            high = middle - 1
    return low


def completion_cost(
    profile: Profile, completion: Completion, *, prompt: str, json_schema: Mapping[str, Any] | None = None
) -> tuple[int, CostSource, Usage]:
    """What a completion cost: nano-dollars, where the amount comes from, and the usage that it stands on.

    A provider's own amount wins, unless it says 0 for a priced model; then usage times prices; where the provider sent
    no usage it is estimated from the texts, and marked.
    """
    usage, source = completion.usage, CostSource.COMPUTED
    if usage is None:
        usage, source = estimate_usage(prompt, completion.text, json_schema=json_schema), CostSource.ESTIMATED
    stated = to_nanos(completion.cost_usd or 0)
    if stated > 0:
        return stated, CostSource.PROVIDER, usage
    return price_usage(profile, usage), source, usage


def estimate_usage(prompt: str, reply: str, *, json_schema: Mapping[str, Any] | None = None) -> Usage:
    """Usage counted from the texts, from above."""
    given, generated = prompt_tokens(prompt, json_schema=json_schema), estimate_tokens(reply)
    return Usage(input_tokens=given, output_tokens=generated, total_tokens=given + generated)


def _exact(usd: float | None, otherwise: float = 0) -> Decimal:
    """The number that was written down, not the binary fraction nearest to it."""
    return Decimal(str(otherwise if usd is None else usd))


def _to_nanos(dollars: Decimal) -> int:
    return math.ceil(dollars * 1_000_000_000)
