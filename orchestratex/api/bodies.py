"""What a body of JSON must be before anything reads it."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

MAX_DEPTH: Final = 16  # a good request has two levels
_MAX_DIGITS: Final = 40  # more than any number that we take
_TEXTS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class BodyError(ValueError):
    """Raised when a body cannot be read; the message says why and repeats nothing of it."""


def check_json(body: bytes) -> None:
    """Raise BodyError for what is not UTF-8, not JSON as RFC 8259 has it, nested too deeply, or says a name twice."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BodyError(f"is not UTF-8 at byte {error.start}") from error
    if _depth(text) > MAX_DEPTH:
        raise BodyError(f"is nested too deeply; at most {MAX_DEPTH} levels are read")
    try:
        _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise BodyError(f"is not JSON: {error.msg} at character {error.pos}") from error


def _depth(text: str) -> int:
    """How deeply brackets are nested outside of strings; what is not JSON gets some number."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for char in re.sub(r"[^\[\]{}]", "", _TEXTS.sub("", text)):
        depth += 1 if char in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _take_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BodyError("says a name twice in one object")
    return found


def _take_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise BodyError(f"holds a number of more than {_MAX_DIGITS} digits")
    return int(digits)


def _take_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise BodyError("holds a number that is too large")
    return number


def _refuse_constant(name: str) -> float:
    raise BodyError(f"holds {name}, which JSON does not have")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_take_pairs, parse_int=_take_int, parse_float=_take_float, parse_constant=_refuse_constant
)
