"""What a call may cost and what it did cost, exactly, in billionths of a US dollar."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from orchestratex.domain.base import CostSource, to_nanos
from orchestratex.domain.prices import PriceList, Rates, Span
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage

_MESSAGE_OVERHEAD = 32  # role names and separators of two messages, in every known chat template
_SCHEMA_OVERHEAD = 1024  # what providers write around a schema: Anthropic's tool instructions alone are 313 to 530
_MILLION = 1_000_000
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


def worst_case(profile: Profile, *, input_tokens: int, max_tokens: int, span: Span) -> int:
    """The most that a call can cost that is sent in a span of time, in nano-dollars.

    Each token counts at the highest rate that it can have, cached, put into a cache or not, reasoning or not; of rates
    that change within the span, or with the length of the prompt, the dearest that it may come under.
    """
    return _dearest(_reachable(profile, input_tokens, span), input_tokens, max_tokens)


def price(profile: Profile, usage: Usage, *, at: datetime) -> int:
    """What a call's tokens cost that was sent at a moment, in nano-dollars, rounded up once.

    Cached tokens and those put into a cache are part of the input, reasoning tokens part of the output, never more
    than these. Where the profile's sources disagree the dearest counts.
    """
    lists = [schedule.list_at(at) for schedule in profile.prices] or [_flat_list(profile)]
    return max(_to_nanos(_charge(prices.rates_for(usage.input_tokens), usage)) for prices in lists)


def affordable_output(
    profile: Profile, *, input_tokens: int, nanos: int, span: Span, beside: Callable[[int], int] = lambda _: 0
) -> int:
    """The most output tokens whose worst case, with this input, fits into so many nano-dollars; 0 when none does.

    `beside` says what else is to be paid for an output of so many tokens: no less for more of them.
    """
    reachable = _reachable(profile, input_tokens, span)
    low, high = 0, profile.max_output_tokens
    while low < high:
        middle = (low + high + 1) // 2
        if _dearest(reachable, input_tokens, middle) + beside(middle) <= nanos:
            low = middle
        else:
            high = middle - 1
    return low


def served_profile(asked: Profile, version: str | None, known: Iterable[Profile]) -> Profile:
    """The profile whose prices count for a completion: that of the version that served it, where one is known."""
    if version is None or version == asked.model_version:
        return asked
    served = [each for each in known if each.provider == asked.provider and each.model_version == version]
    return served[0] if served else asked


def completion_cost(
    profile: Profile,
    completion: Completion,
    *,
    prompt: str,
    at: datetime,
    json_schema: Mapping[str, Any] | None = None,
) -> tuple[int, CostSource, Usage]:
    """What a completion cost that was asked for at a moment: nano-dollars, their source, and the usage they stand on.

    A provider's own amount wins, unless it says 0 for a priced model; then usage times prices; where the provider sent
    no usage it is estimated from the texts, and marked.
    """
    usage, source = completion.usage, CostSource.COMPUTED
    if usage is None:
        usage, source = estimate_usage(prompt, completion.text, json_schema=json_schema), CostSource.ESTIMATED
    stated = to_nanos(completion.cost_usd or 0)
    if stated > 0:
        return stated, CostSource.PROVIDER, usage
    return price(profile, usage, at=at), source, usage


def estimate_usage(prompt: str, reply: str, *, json_schema: Mapping[str, Any] | None = None) -> Usage:
    """Usage counted from the texts, from above."""
    given, generated = prompt_tokens(prompt, json_schema=json_schema), estimate_tokens(reply)
    return Usage(input_tokens=given, output_tokens=generated, total_tokens=given + generated)


def _reachable(profile: Profile, input_tokens: int, span: Span) -> list[Rates]:
    lists = [prices for schedule in profile.prices for prices in schedule.lists_within(span)]
    return [rates for prices in lists or [_flat_list(profile)] for rates in prices.rates_up_to(input_tokens)]


def _dearest(reachable: Iterable[Rates], input_tokens: int, max_tokens: int) -> int:
    return max(
        _to_nanos(
            input_tokens * _exact(max(rates.input, rates.cached_input or 0, rates.cache_write or 0))
            + max_tokens * _exact(max(rates.output, rates.reasoning or 0))
            + _exact(rates.per_request) * _MILLION
        )
        for rates in reachable
    )


def _charge(rates: Rates, usage: Usage) -> Decimal:
    """Millionths of US dollars."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    reasoning = min(usage.reasoning_tokens, usage.output_tokens)
    charge = (usage.input_tokens - cached - written) * _exact(rates.input)
    charge += cached * _exact(rates.cached_input, rates.input)
    charge += written * _exact(rates.cache_write, rates.input)
    charge += (usage.output_tokens - reasoning) * _exact(rates.output)
    charge += reasoning * _exact(rates.reasoning, rates.output)
    return charge + _exact(rates.per_request) * _MILLION


def _flat_list(profile: Profile) -> PriceList:
    """The one list of a profile without a schedule."""
    cached, reasoning = profile.cost_per_cached_input_token, profile.cost_per_reasoning_token
    return PriceList.model_construct(
        input=_per_million(profile.cost_per_input_token),
        output=_per_million(profile.cost_per_output_token),
        cached_input=None if cached is None else _per_million(cached),
        reasoning=None if reasoning is None else _per_million(reasoning),
    )


def _per_million(usd: float) -> float:
    return float(_exact(usd).scaleb(6))


def _exact(rate: float | None, otherwise: float = 0) -> Decimal:
    """The number that was written down, not the binary fraction nearest to it."""
    return Decimal(str(otherwise if rate is None else rate))


def _to_nanos(millionths: Decimal) -> int:
    return math.ceil(millionths * 1000)
