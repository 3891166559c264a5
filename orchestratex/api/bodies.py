"""What a body of JSON must be before anything reads it."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

MAX_DEPTH: Final = 16  # a good request has two levels
_MAX_DIGITS: Final = 40  # more than any number that we take
_TEXTS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)  # one left open ends with all
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(code for code in range(256) if code not in b"[]{}")


class BodyError(ValueError):
    """Raised when a body cannot be read; the message says why and repeats nothing of it."""


def check_json(body: bytes) -> None:
    """Raise BodyError for what is not UTF-8, not JSON as RFC 8259 has it, nested too deeply, or says a name twice."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BodyError(f"is not UTF-8 at byte {error.start}") from error
    if not _is_shallow(body):
        raise BodyError(f"has brackets that do not match, or is nested more than {MAX_DEPTH} levels deep")
    try:
        _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise BodyError(f"is not JSON: {error.msg} at character {error.pos}") from error


def _is_shallow(body: bytes) -> bool:
    """Whether brackets outside of strings are nested at most so deep, and match."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return True
    brackets = _TEXTS.sub(b"", body).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):  # each round takes the innermost pairs away
        brackets = brackets.replace(b"[]", b"")
    return not brackets


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
