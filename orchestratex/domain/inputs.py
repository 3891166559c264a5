"""Types of what comes in from outside: stricter than the records, which also read what older versions wrote."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from orchestratex.domain.base import MAX_ITERATIONS, ModelName
from orchestratex.domain.wordings import say_wrong

MAX_COST_LIMIT: Final = 1_000_000  # US dollars; sums of nano-dollars stay far inside 64 bits
MAX_NAMES: Final = 64  # models in one list: several times as many as any installation asks at once
MAX_REFERENCE_CHARS: Final = 200
MAX_METADATA_BYTES: Final = 16_384  # of JSON: a note beside a prompt, no second prompt
_MOST_DEPTH: Final = 32
_MOST_EXACT: Final = 2**53  # larger whole numbers come back changed from programs that read all numbers as floats
_HALVES: Final = re.compile(r"[\ud800-\udfff]")  # of surrogate pairs: JSON can say them, and nothing else takes them
_A_REFERENCE: Final = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": MAX_REFERENCE_CHARS},
        {"type": "integer", "minimum": -_MOST_EXACT, "maximum": _MOST_EXACT},
    ]
}
_MAX_PROBLEM_CHARS: Final = 500


def _require_number(value: Any) -> Any:
    """Pydantic takes true for 1 and "3" for 3; who sends them has mixed something up."""
    if isinstance(value, bool | str | bytes):
        raise ValueError("must be a number")
    return value


MOST_MISTAKES: Final = 20  # that are told at once


def _require_truth(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _require_few(names: Any) -> Any:
    """Looked at before the entries: a problem of each of a million would be told, at a kilobyte a problem."""
    if isinstance(names, list | tuple) and len(names) > MAX_NAMES:
        raise ValueError(f"must have at most {MAX_NAMES} entries, not {len(names)}")
    return names


def _require_unique(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("names a model twice; name each once")
    return names


def _require_reference(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST_EXACT
    is_text = isinstance(value, str) and 1 <= len(value) <= MAX_REFERENCE_CHARS
    if is_number or (is_text and not _HALVES.search(value)):
        return value
    raise ValueError(f"must be a text of 1 to {MAX_REFERENCE_CHARS} characters or a whole number up to 2^53")


def _require_small(value: dict[str, Any]) -> dict[str, Any]:
    if _measure_depth(value) > _MOST_DEPTH:
        raise ValueError(f"must not be nested deeper than {_MOST_DEPTH} levels")
    try:
        length = len(dump_metadata(value).encode())
    except UnicodeEncodeError as error:
        raise ValueError("is not valid Unicode") from error
    except ValueError as error:
        raise ValueError("must hold no number that JSON does not have, such as NaN or Infinity") from error
    if length > MAX_METADATA_BYTES:
        raise ValueError(f"must have at most {MAX_METADATA_BYTES} bytes as JSON; it has {length}")
    return value


def _measure_depth(value: Any) -> int:
    """How deeply lists and objects are nested in it; without recursion, as it may be deeper than that goes."""
    depth, inside = 0, [value]
    while inside := [each for each in inside if isinstance(each, dict | list)]:
        depth += 1
        inside = [part for each in inside for part in (each.values() if isinstance(each, dict) else each)]
    return depth


def dump_metadata(value: Mapping[str, Any]) -> str:
    """A caller's metadata as they are kept: BSON has neither all of JSON's keys nor its large numbers."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def parse_moment(value: Any) -> datetime:
    """A day (its midnight) or a moment as ISO 8601 writes them; UTC where it names no zone. Raises ValueError."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            return parse_moment(datetime.fromisoformat(value.upper()))
        except (ValueError, OverflowError):
            pass  # a month of 32 days, an hour of 61 minutes
    raise ValueError("must be a day or a moment in UTC, such as 2026-12-31 or 2026-12-31T18:00:00Z")


_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)
_A_MOMENT: Final = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}
Moment = Annotated[datetime, BeforeValidator(parse_moment), WithJsonSchema(_A_MOMENT)]
_A_NUMBER: Final = BeforeValidator(_require_number)
Truth = Annotated[bool, BeforeValidator(_require_truth)]
ModelNames = Annotated[
    list[ModelName],
    AfterValidator(_require_unique),
    BeforeValidator(_require_few),
    Field(max_length=MAX_NAMES, json_schema_extra={"uniqueItems": True}),
]
Iterations = Annotated[int, Field(ge=1, le=MAX_ITERATIONS), _A_NUMBER]
WantedScore = Annotated[float, Field(ge=1, le=10, allow_inf_nan=False), _A_NUMBER]
CostLimit = Annotated[float, Field(ge=0, le=MAX_COST_LIMIT, allow_inf_nan=False), _A_NUMBER]
DeadlineS = Annotated[float, Field(ge=1, allow_inf_nan=False), _A_NUMBER]
Reference = Annotated[int | str, BeforeValidator(_require_reference), WithJsonSchema(_A_REFERENCE)]
Metadata = Annotated[dict[str, Any], AfterValidator(_require_small)]
UserId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Strict(BaseModel):
    """What a caller may say: fields that it does not have are refused, and the first few of them are told."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _keep_few_unknown(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        rest = set([name for name in data if name not in cls.model_fields][MOST_MISTAKES:])
        return {name: value for name, value in data.items() if name not in rest} if rest else data


def describe_problem(error: Mapping[str, Any], *, skip: int = 0) -> tuple[str, str]:
    """The field of one of pydantic's errors and what is wrong with it, both short and fit for any output.

    The first `skip` parts of its place are left out. The input itself is never repeated, but for a field's own name.
    """
    place = error["loc"][skip:]
    names = [part for part in place if isinstance(part, str)]
    entries = [part for part in place if isinstance(part, int)]
    problem = say_wrong(error)
    if entries:
        problem = f"entry {entries[0] + 1}: {problem}"
    return shorten(".".join(names), 64), shorten(problem, _MAX_PROBLEM_CHARS)


def shorten(text: str, most: int) -> str:
    """At most so many characters of a text, what no terminal, log or answer should have written out as its code."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(_write_out(char) for char in cut)


def _write_out(char: str) -> str:
    """Controls, half surrogate pairs and what changes the direction of text are named, not sent."""
    return f"\\u{ord(char):04x}" if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else char
