"""What a call may cost and what it did cost, exactly, in billionths of a US dollar."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from orchestratex.domain.base import CostSource, to_nanos
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage

_MESSAGE_OVERHEAD = 32  # role names and separators of two messages, in every known chat template
_PIECES = re.compile(r"[A-Za-z]+|[0-9]|\s+|[^\x00-\x7f]+|.", re.DOTALL)


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, estimated from above without the model's tokenizer.

    Every digit and sign counts one, a word one for each two letters, other scripts one for each UTF-8 byte but one in
    three; a single space goes with what follows it, longer runs count one for two, every line break and tab one. Byte-pair
    tokenizers stay below that on prose, code and CJK text.
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


def prompt_tokens(text: str) -> int:
    """Input tokens of a call that sends `text`, estimated from above."""
    return estimate_tokens(text) + _MESSAGE_OVERHEAD


def worst_case(profile: Profile, *, input_tokens: int, max_tokens: int) -> int:
    """The most that a call can cost, in nano-dollars: all its input and all the output that it may generate."""
    return price(profile, input_tokens=input_tokens, output_tokens=max_tokens)


def price(profile: Profile, *, input_tokens: int, output_tokens: int) -> int:
    """Tokens times the profile's prices, in nano-dollars, rounded up once."""
    dollars = input_tokens * Decimal(str(profile.cost_per_input_token)) + output_tokens * Decimal(
        str(profile.cost_per_output_token)
    )
    return math.ceil(dollars * 1_000_000_000)


def completion_cost(profile: Profile, completion: Completion, *, prompt: str) -> tuple[int, CostSource, Usage]:
    """What a completion cost: nano-dollars, where the amount comes from, and the usage that it stands on.

    A provider's own amount wins, unless it says 0 for a priced model; then usage times prices; where the provider sent
    no usage it is estimated from the texts, and marked.
    """
    usage, source = completion.usage, CostSource.COMPUTED
    if usage is None:
        usage, source = estimate_usage(prompt, completion.text), CostSource.ESTIMATED
    if completion.cost_usd:
        return to_nanos(completion.cost_usd), CostSource.PROVIDER, usage
    return price(profile, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens), source, usage


def estimate_usage(prompt: str, reply: str) -> Usage:
    """Usage counted from the texts, from above."""
    given, generated = prompt_tokens(prompt), estimate_tokens(reply)
    return Usage(input_tokens=given, output_tokens=generated, total_tokens=given + generated)
