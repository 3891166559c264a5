"""JSON as models write it: found in a reply, and read where it has one meaning."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

import json_repair

_STARTS: Final = 32  # places at which an object may begin; a text with more leaves doubt
_REPAIRED_CHARS: Final = 12_000  # the repair is quadratic in hostile texts: longer ones, and deeper, are not repaired
_FENCE: Final = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]*$", re.MULTILINE)
_TRAILING_COMMA: Final = re.compile(r",(\s*+[}\]])")
STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NAMED_NUMBER: Final = r"""["']?\b{}["']?\s{{0,9}}[:=]\s{{0,9}}["']?(-?\d{{1,9}}(?:\.\d{{1,9}})?)(?![\w.])"""


class MalformedReplyError(ValueError):
    """Raised when a reply cannot be read; the message says what was wrong with it, for asking again."""


class Body(NamedTuple):
    """The JSON text in a reply, and what stands around it."""

    text: str
    before: str
    after: str

    @property
    def is_whole(self) -> bool:
        """Whether the reply is this text and nothing else."""
        return not self.before.strip() and not self.after.strip()


class Twice(dict[str, Any]):
    """An object that gives two values to one name, remembered in `twice`."""

    twice: frozenset[str] = frozenset()


def find_body(text: str, opening: str) -> Body:
    """The text of the value that a reply holds: in its one code fence, or from the first to the last bracket.

    `opening` is the bracket that is expected. Raises MalformedReplyError when there is none.
    """
    text = text.strip()
    fences = list(_FENCE.finditer(text))[:3]
    if len(fences) == 2 and (inside := text[fences[0].end() : fences[1].start()].strip())[:1] in ("{", "[", '"'):
        return Body(inside, text[: fences[0].start()], text[fences[1].end() :])
    if len(fences) == 1 and fences[0].start() == 0 and text[fences[0].end() :].lstrip()[:1] in ("{", "["):
        text = text[fences[0].end() :].strip()  # a fence without its end
    if not fences and text[:3] == text[-3:] == "```" and len(text) > 6:
        text = text[3:-3].removeprefix("json").strip()  # a fence on one line
    is_value = text[:1] in ("{", "[") or (text[:1] == '"' and text[-1:] == '"')
    start = 0 if is_value else text.find(opening)
    if start < 0:
        raise MalformedReplyError("there is no JSON in it")
    if opening == "{" and text[start] == "{" and (found := list_objects(text)):
        first, last, _ = max(found, key=lambda each: each[1] - each[0])
        if start == first or start > 0:
            return Body(text[first:last], text[:first], text[last:])
    last = text.rfind({"{": "}", "[": "]"}.get(text[start], '"'))
    end = last + 1 if last > start and text[last + 1 :].lstrip()[:1] not in (",", ":", "]", "}") else len(text)
    return Body(text[start:end], text[:start], text[end:])


def list_objects(text: str) -> list[tuple[int, int, Any]]:
    """Every object that stands in a text, not those inside of others, with its place.

    Raises MalformedReplyError where there are too many openings to tell.
    """
    decoder = _decoder()
    found, place, tries = [], text.find("{"), 0
    while place >= 0:
        tries += 1
        if tries > _STARTS:
            raise MalformedReplyError("there are too many brackets in it: reply with one JSON object and nothing else")
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            found.append((place, end, value))
        place = text.find("{", end)
    return found


def load(text: str, *, names: frozenset[str] = frozenset()) -> Any:
    """Parse a JSON text, repairing what has one reading: trailing commas, single quotes, comments.

    A repaired text gives no number to one of `names` that does not stand behind that name in it. Raises
    MalformedReplyError.
    """
    try:
        return _parse(text)
    except MalformedReplyError as error:
        try:
            return _parse(_TRAILING_COMMA.sub(r"\1", text))
        except MalformedReplyError:
            repaired = _repair(text, names)
            if repaired is None:
                raise error from None
            return repaired


def _parse(text: str) -> Any:
    try:
        return _decoder().decode(text)
    except MalformedReplyError:
        raise
    except json.JSONDecodeError as error:
        raise MalformedReplyError(f"it is not valid JSON ({error.msg} at character {error.pos})") from error
    except RecursionError as error:
        raise MalformedReplyError("it is not valid JSON (nested too deeply)") from error
    except ValueError as error:  # Python reads no integer of thousands of digits
        raise MalformedReplyError("it is not valid JSON (a number is too long)") from error


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_make_object, strict=False)


def _repair(text: str, names: frozenset[str]) -> Any:
    """Let json-repair read the text; None where it would have to guess."""
    if len(text) > _REPAIRED_CHARS or not _is_closed(text):
        return None  # the end is missing: who knows what stood there
    if text.count("{") + text.count("[") > _STARTS:
        return None
    if re.search(r"\b(?:NaN|Infinity)\b", text):
        return None
    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) and all(_stands_in(text, value, name) for name in names) else None


def _is_closed(text: str) -> bool:
    bare = STRING.sub("", text)
    return bare.rstrip()[-1:] in ("}", "]") and all(bare.count(a) == bare.count(b) for a, b in ("{}", "[]"))


def _stands_in(text: str, value: Any, name: str) -> bool:
    """Whether every number that a repaired value gives to a name stands behind that name in the text, and no other."""
    written = {float(number) for number in re.findall(_NAMED_NUMBER.format(name), text, re.IGNORECASE)}
    read = _numbers_of(value, name)
    return read == written or not read


def _numbers_of(value: Any, name: str) -> set[float]:
    if isinstance(value, list):
        return {number for each in value for number in _numbers_of(each, name)}
    if not isinstance(value, dict):
        return set()
    found = {number for each in value.values() for number in _numbers_of(each, name)}
    own = value.get(name)
    if isinstance(own, int | float) and not isinstance(own, bool):
        found.add(float(own))
    elif isinstance(own, str) and (written := re.match(r"-?\d{1,9}(?:\.\d{1,9})?", own)):
        found.add(float(written.group()))
    return found


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with whole texts, that knows which of its names came with two values."""
    made = Twice()
    twice = set()
    for raw, raw_value in pairs:
        name, value = whole(raw), whole(raw_value) if isinstance(raw_value, str) else raw_value
        if name in made and made[name] != value:
            twice.add(name)
        made[name] = value
    made.twice = frozenset(twice)
    return made


def whole(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can spell and MongoDB cannot keep."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse_constant(name: str) -> Any:
    raise MalformedReplyError(f"{name} is not a number in JSON")
