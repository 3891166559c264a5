"""What the dialects share in reading replies: texts that are texts, usage that is possible, and one way to an end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from orchestratex.domain.base import FinishReason
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import ContentRefusedError, MalformedCompletionError
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.http import whole_text
from orchestratex.providers.masking import EXCERPT, clean

_MOST_TOKENS: Final = 10**9  # no call has more: a number beyond it is nonsense, and MongoDB keeps 64 bits
_MOST_USD: Final = 10**6
_MOST_CHARS_A_TOKEN: Final = 256  # no tokenizer has a longer one: fewer tokens than that are no count of this text
_MOST_UNSEEN: Final = 200_000  # tokens of templates, tools or thoughts that neither our text nor the limit shows
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_REFUSAL_EXCERPT: Final = 200  # characters of a refusal that an error repeats


@dataclass(frozen=True)
class Billed:
    """What a reply says beside its text, whether that can be read or not."""

    usage: Usage | None
    cost_usd: float | None
    latency_ms: float
    request_id: str | None
    model_version: str | None
    is_simulated: bool = False

    def completion(self, text: str, finish_reason: FinishReason) -> Completion:
        """The completion with a text."""
        return Completion(text=whole_text(text), finish_reason=finish_reason, **vars(self))

    def malformed(self, model: str, problem: str) -> MalformedCompletionError:
        """The error that keeps what was billed, where the reply says it."""
        is_stated = self.usage is not None or self.cost_usd
        kept = self.completion("", FinishReason.OTHER) if is_stated else None
        return MalformedCompletionError(model, problem, completion=kept)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a believable number of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS


def count_or_zero(value: Any) -> int:
    """A number of tokens, 0 where none is stated."""
    return value if is_count(value) else 0


def name_or_none(value: Any) -> str | None:
    """A name that a provider gives something, short and on one line; None where it is no text or says nothing."""
    return (clean(value[: 4 * EXCERPT])[:EXCERPT] or None) if isinstance(value, str) else None


def text_or_empty(value: Any) -> str:
    """A text; nothing where the value is something else, for null is no text and a number is none either."""
    return value if isinstance(value, str) else ""


def read_word(value: Any) -> str:
    """A closed set's word in lower case, empty where the value is no text."""
    return value.strip().lower() if isinstance(value, str) else ""


def read_reason(value: Any) -> str:
    """Why a reply ended, in one spelling: `ContentFilter`, `content-filter` and `CONTENT_FILTER` are one word."""
    word = _HUMP.sub("_", value.strip()) if isinstance(value, str) and len(value) <= EXCERPT else ""
    return word.lower().replace("-", "_").replace(" ", "_").removeprefix("finish_reason_")


def dollars_or_none(value: Any) -> float | None:
    """US dollars, None where the value is no believable amount."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= _MOST_USD else None


def make_usage(
    *,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int = 0,
    reasoning_tokens: int = 0,
    cache_write_tokens: int = 0,
) -> Usage | None:
    """Usage as we mean it: cached tokens and those put into a cache part of the input, reasoning part of the output.

    None where that cannot be: a part is more than its whole.
    """
    if cached_tokens > input_tokens or reasoning_tokens > output_tokens:
        return None
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=input_tokens + output_tokens,
        cached_tokens=cached_tokens,
        reasoning_tokens=reasoning_tokens,
        cache_write_tokens=min(cache_write_tokens, input_tokens - cached_tokens),
    )


def believe(usage: Usage | None, request: CompletionRequest, text: str, finish_reason: FinishReason) -> Usage | None:
    """The usage where it can be true of this call, else None: then it counts as not stated, and is estimated.

    Servers that do not count say 0, or what was new in their cache: no prompt is without tokens, neither is a text,
    nor a reply that was cut off by its limit. No text has more tokens than bytes, and no reply more than its limit, but
    for what servers add to the one and think beside the other.
    """
    if usage is None or not _can_hold(usage.input_tokens, request.system, request.user):
        return None
    most_given = 4 * (len(request.system) + len(request.user)) + _MOST_UNSEEN
    if usage.input_tokens > most_given or usage.output_tokens > request.max_tokens + _MOST_UNSEEN:
        return None
    is_cut_off = finish_reason is FinishReason.LENGTH and usage.output_tokens == 0
    return usage if _can_hold(usage.output_tokens, text) and not is_cut_off else None


def _can_hold(tokens: int, *texts: str) -> bool:
    return tokens * _MOST_CHARS_A_TOKEN >= sum(map(len, texts))


def join_parts(parts: Iterable[Any], *, text_types: frozenset[str | None]) -> str | None:
    """The text of content in parts: of those alone that are texts; None where there is nothing that we know.

    Thinking, tool calls, images and whatever comes next have types of their own and are no part of an answer.
    """
    texts: list[str] = []
    is_known = False
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            is_known = True
        elif isinstance(part, Mapping):
            text = _read_part(part, text_types)
            is_known = is_known or text is not None
            texts.append(text or "")
    return "".join(texts) if is_known else None


def _read_part(part: Mapping[str, Any], text_types: frozenset[str | None]) -> str | None:
    """A part's text, empty where it has none, None where it should have one and it is no text."""
    kind = part.get("type")
    is_thought = part.get("thought") is True or part.get("thinking") is True
    if is_thought or (isinstance(kind, str) and read_word(kind) not in text_types):
        return ""
    text = part.get("text", part.get("content", part))  # the part itself: it has no text at all
    text = text.get("value", text) if isinstance(text, Mapping) and text is not part else text
    return text if isinstance(text, str) else "" if text is None else None


def unless_refused(model: str, completion: Completion, *, why: str = "") -> Completion:
    """The completion. Raises ContentRefusedError, which keeps what was billed, where there is a refusal and no text."""
    if completion.finish_reason is not FinishReason.REFUSAL or completion.text:
        return completion
    problem = f"refused: {clean(whole_text(why))[:_REFUSAL_EXCERPT]}" if why else "refused without a word"
    raise ContentRefusedError(model, problem, completion=completion)
