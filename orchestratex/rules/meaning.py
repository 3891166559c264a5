"""What a model plainly means: values of another kind than asked for, read where they have one reading."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestratex.domain.base import CRITERIA, Severity
from orchestratex.rules.reading import MalformedReplyError, Twice, load

_WRAPPERS: Final = frozenset(
    {"evaluation", "result", "response", "reply", "output", "json", "arguments", "assessment", "review", "report"}
)
_SCORE: Final = re.compile(r"\s*(\d{1,3}(?:\.\d{1,6})?)\s*(?:(?:/|out of|of)\s*10(?:\.0)?)?\s*", re.IGNORECASE)
_NOTHING: Final = re.compile(r"[\s.…\-–—]*|<\.\.\.>|none\.?|null|nil|n/?a\.?|no criticisms?\.?", re.IGNORECASE)
_NO_WORDS: Final = re.compile(r"[\s.…]*+|<\.\.\.>")  # what stands for a text in the form that we ask for
_KINDS: Final = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    type(None): "nothing",
}
_TRUTHS: Final = {"true": True, "yes": True, "false": False, "no": False}
_DEPTH: Final = 3  # of a text that was given as a structure
_MAX_ECHO: Final = 40


def read_object(value: Any, what: str = "the reply") -> Mapping[str, Any]:
    """An object with its names in small letters: itself, given as a text, alone in a list or in a wrapper."""
    for _ in range(4):
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            value = load(value.strip())
        elif isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, Mapping):
            named = _plain_names(value)
            if len(named) != 1 or next(iter(named)) not in _WRAPPERS:
                return named
            value = next(iter(named.values()))
            if not isinstance(value, Mapping | str | list):
                return named
        else:
            break
    raise MalformedReplyError(f"{what} must be one JSON object, you gave {kind_of(value)}")


def read_criteria(reply: Mapping[str, Any]) -> dict[str, float]:
    """The eight scores: in their own object, or beside the other fields. Raises MalformedReplyError."""
    given = next((reply[name] for name in ("criteria", "scores", "ratings") if reply.get(name) is not None), None)
    if given is None:
        if not any(name in reply for name in CRITERIA):
            raise MalformedReplyError(f"`criteria` is missing: an object with {', '.join(CRITERIA)}")
        given = reply
    scores = read_object(given, "`criteria`")
    refuse_twice(reply, ("criteria", "scores", "ratings"))
    refuse_twice(scores, CRITERIA)
    return {name: read_score(scores.get(name), f"criteria.{name}") for name in CRITERIA}


def read_score(value: Any, name: str) -> float:
    """A score from 1 to 10: a number, or one written as "8" or "8/10". Raises MalformedReplyError."""
    if value is None:
        raise MalformedReplyError(f"`{name}` is missing: give a number from 1 to 10")
    if isinstance(value, Mapping) and "score" in (named := _plain_names(value)):
        refuse_twice(named, ("score",))
        value = named["score"]
    number = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < 1e6 else 1e6
    elif isinstance(value, str) and (written := _SCORE.fullmatch(value[: _MAX_ECHO + 1])):
        number = float(written.group(1))
    if number is None:
        raise MalformedReplyError(f"`{name}` must be a number from 1 to 10, you gave {_echo(value)}")
    if not 1 <= number <= 10:
        raise MalformedReplyError(f"`{name}` must be from 1 to 10, you gave {number:g}")
    return number


def read_text(value: Any, name: str) -> str:
    """A text: nothing is an empty one, a list of texts its lines. Raises MalformedReplyError."""
    lines = _to_lines(value, name, _DEPTH)
    text = "\n".join(line for line in lines if line)
    return "" if _NO_WORDS.fullmatch(text) else text


def read_criticisms(value: Any) -> list[dict[str, str]]:
    """The objections: nothing is none, one alone a list of one, what says nothing is left out."""
    if isinstance(value, str):
        if _NOTHING.fullmatch(value):
            return []
        value = load(value) if value.lstrip()[:1] in ("{", "[") else [value]
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    read = (_read_criticism(item, f"criticisms[{place}]") for place, item in enumerate(items))
    return [each for each in read if each is not None]


def _read_criticism(item: Any, name: str) -> dict[str, str] | None:
    if isinstance(item, str) and item.lstrip()[:1] == "{":
        item = load(item)
    if item is None or (isinstance(item, str) and _NOTHING.fullmatch(item)):
        return None
    if not isinstance(item, Mapping):
        raise MalformedReplyError(
            f"`{name}` must be an object with point, severity and evidence, you gave {kind_of(item)}"
        )
    given = _plain_names(item)
    refuse_twice(given, ("severity", "point"))
    point, evidence = (
        read_text(given.get("point"), f"{name}.point"),
        read_text(given.get("evidence"), f"{name}.evidence"),
    )
    if not point:
        if evidence:
            raise MalformedReplyError(f"`{name}.point` is empty: say what is wrong")
        return None
    return {"point": point, "severity": _read_severity(given.get("severity"), f"{name}.severity"), "evidence": evidence}


def _read_severity(value: Any, name: str) -> str:
    written = value.strip().strip(".\"'").casefold() if isinstance(value, str) else ""
    if written not in set(Severity):
        raise MalformedReplyError(f"`{name}` must be minor, major or critical, you gave {_echo(value)}")
    return written


def read_truth(value: Any) -> bool | None:
    """True or false, written as such or as yes or no; None where it is neither."""
    if isinstance(value, str):
        return _TRUTHS.get(value.strip().casefold())
    return value if isinstance(value, bool) else None


def refuse_twice(given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise MalformedReplyError where one of these names came with two values: neither can be trusted."""
    twice = sorted(given.twice & set(names)) if isinstance(given, Twice) else []
    if twice:
        raise MalformedReplyError(f"`{twice[0]}` stands in it twice with different values: give one")


def kind_of(value: Any) -> str:
    """What a value is, in words for a model."""
    if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        return "a list of objects"
    return _KINDS.get(type(value), "an object")


def plain_name(name: str) -> str:
    """A name as we spell them: small letters, underscores."""
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def _plain_names(given: Mapping[str, Any]) -> Twice:
    named = Twice()
    twice = {plain_name(name) for name in given.twice} if isinstance(given, Twice) else set()
    for raw, value in given.items():
        name = plain_name(str(raw))
        if name in named and named[name] != value:
            twice.add(name)
        named[name] = value
    named.twice = frozenset(twice)
    return named


def _to_lines(value: Any, name: str, depth: int) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value.strip()]
    if depth and isinstance(value, list):
        return [line for each in value for line in _to_lines(each, name, depth - 1)]
    if depth and isinstance(value, Mapping):
        return [f"{key}: {line}" for key, each in value.items() for line in _to_lines(each, name, depth - 1)]
    raise MalformedReplyError(f"`{name}` must be a text, you gave {kind_of(value)}")


def _echo(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{" ".join(value[:_MAX_ECHO].split())}"' if isinstance(value, str) else kind_of(value)
