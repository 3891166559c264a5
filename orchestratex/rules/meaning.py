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
_CARRIERS: Final = frozenset({"evaluation", "result", "arguments", "parameters", "review", "report"})
_BESIDE: Final = frozenset({"name", "type", "id", "function", "confidence"})  # what a call of a tool has beside them
_SCORE: Final = re.compile(
    r"\s*(\d{1,3}(?:[.,]\d{1,6})?)\s*(?:(?:/|out of|of)\s*10(?:\.0)?)?\s*"
    r"(?:\.|(?:[-–—:(,;]\s*)(?![^a-z]*(?:percent|hundred|star|scale|out of))[a-z][^\d%]*)?\s*",
    re.IGNORECASE,
)
_SCORE_KEYS: Final = ("score", "value", "rating")
_LIMITS: Final = ("max", "maximum", "max_score", "out_of", "of", "scale")
_TEN: Final = re.compile(r"(?:\s*[01]\s*(?:-|–|to)\s*)?10(?:\.0)?\s*")
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
_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_DEPTH: Final = 3  # of a text that was given as a structure
_MAX_ECHO: Final = 40
_MAX_NOTE: Final = 200  # characters of a score with a word behind it


def read_object(value: Any, what: str = "the reply") -> Mapping[str, Any]:
    """An object with its names in small letters: itself, given as a text, alone in a list or in a wrapper."""
    for _ in range(4):
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            value = load(value.strip())
        elif isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, Mapping):
            named = plain_names(value)
            if len(named) != 1 or next(iter(named)) not in _WRAPPERS:
                return named
            value = next(iter(named.values()))
            if not isinstance(value, Mapping | str | list):
                return named
        else:
            break
    raise MalformedReplyError(f"{what} must be one JSON object, you gave {kind_of(value)}")


def read_carried(value: Any) -> Mapping[str, Any]:
    """The object with the scores: itself, or carried beside the name of a tool or a confidence."""
    given = read_object(value)
    carriers = [name for name in given if name in _CARRIERS]
    if len(carriers) != 1 or not set(given) <= {carriers[0], *_BESIDE}:
        return given
    inner = read_object(given[carriers[0]])
    merged = Twice({"confidence": given["confidence"]} if "confidence" in given else {})
    merged.update(inner)
    differs = "confidence" in given and merged["confidence"] != given["confidence"]
    merged.twice = frozenset({"confidence"} if differs else ()) | (
        inner.twice if isinstance(inner, Twice) else frozenset()
    )
    return merged


def read_criteria(reply: Mapping[str, Any]) -> dict[str, float]:
    """The eight scores: in their own object, or beside the other fields. Raises MalformedReplyError.

    Scores that stand in both, or under two names, must be the same.
    """
    named = [reply[name] for name in ("criteria", "scores", "ratings") if reply.get(name) is not None]
    beside = any(name in reply for name in CRITERIA)
    if not named and not beside:
        raise MalformedReplyError(f"`criteria` is missing: an object with {', '.join(CRITERIA)}")
    refuse_twice(reply, ("criteria", "scores", "ratings"))
    given = [read_object(_from_list(each), "`criteria`") for each in named] or [reply]
    for scores in given:
        refuse_twice(scores, CRITERIA)
        _check_scale(scores)
    _check_scale(reply)
    read = {name: read_score(given[0].get(name), f"criteria.{name}") for name in CRITERIA}
    for other in (*given[1:], reply):
        for name in CRITERIA:
            if _is_other(other.get(name), read[name]):
                raise MalformedReplyError(f"`{name}` stands in it twice with different values: give one")
    return read


def read_confidence(reply: Mapping[str, Any]) -> float:
    """How sure the evaluator is: its own field, or one among the scores. Raises MalformedReplyError."""
    value, criteria = reply.get("confidence"), reply.get("criteria")
    if value is None and isinstance(criteria, Mapping):
        value = criteria.get("confidence")
    return read_score(value, "confidence")


def read_score(value: Any, name: str) -> float:
    """A score from 1 to 10: a number, or one written as "8" or "8/10". Raises MalformedReplyError."""
    if value is None:
        raise MalformedReplyError(f"`{name}` is missing: give a number from 1 to 10")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping):
        value = _take_score(value)
    number = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < 1e6 else 1e6
    elif isinstance(value, str) and (written := _SCORE.fullmatch(value[: _MAX_NOTE + 1])):
        number = float(written.group(1).replace(",", "."))
    if number is None:
        raise MalformedReplyError(f"`{name}` must be a number from 1 to 10, you gave {_echo(value)}")
    if not 1 <= number <= 10:
        raise MalformedReplyError(f"`{name}` must be from 1 to 10, you gave {number:g}")
    return number


def _is_other(value: Any, score: float) -> bool:
    """Whether a value is a number, and not this score; words about a criterion are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    written = _SCORE.fullmatch(str(value)[: _MAX_NOTE + 1])
    return written is not None and float(written.group(1).replace(",", ".")) != score


def _take_score(value: Mapping[str, Any]) -> Any:
    """The score of an object that gives it with a reason; the object itself where it is not from 1 to 10."""
    named = plain_names(value)
    refuse_twice(named, _SCORE_KEYS)
    keys = [name for name in _SCORE_KEYS if name in named]
    if len(keys) != 1:
        return value
    _check_scale(named)
    return named[keys[0]]


def _check_scale(given: Mapping[str, Any]) -> None:
    """Raise MalformedReplyError where an object says that its scores are on another scale."""
    for name in _LIMITS:
        limit = given.get(name)
        if isinstance(limit, int | float | str) and not _TEN.fullmatch(str(limit)[:_MAX_ECHO]):
            raise MalformedReplyError(f"scores must be from 1 to 10, you gave `{name}` {_echo(limit)}")


def _from_list(value: Any) -> Any:
    """An object from a list that gives each criterion in an object of its own."""
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(each, Mapping) for each in value):
        return value
    pairs: list[tuple[str, Any]] = []
    for each in map(plain_names, value):
        label = next((each[key] for key in ("name", "criterion", "criteria") if isinstance(each.get(key), str)), None)
        pairs += [(label, each)] if label is not None else list(each.items())
    made = Twice()
    twice = set()
    for raw, item in pairs:
        name = plain_name(raw)
        if name in made:
            twice.add(name)
        made[name] = item
    made.twice = frozenset(twice)
    return made


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
    if value is None or value is False or value == {}:
        return []
    items = value if isinstance(value, list) else [value]
    items = [item for each in items for item in (each if isinstance(each, list) else [each])]
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
    given = plain_names(item)
    refuse_twice(given, ("severity", "point"))
    shown = given.get("evidence")
    if isinstance(shown, int | float) and not isinstance(shown, bool):
        shown = f"{shown:g}"  # the number of a line
    point, evidence = read_text(given.get("point"), f"{name}.point"), read_text(shown, f"{name}.evidence")
    if not point:
        if evidence:
            raise MalformedReplyError(f"`{name}.point` is empty: say what is wrong")
        return None
    return {"point": point, "severity": _read_severity(given.get("severity"), f"{name}.severity"), "evidence": evidence}


def _read_severity(value: Any, name: str) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    written = value.strip(" \t\r\n.\"'*_`").casefold() if isinstance(value, str) else ""
    written = re.sub(r"\s+(?:issue|error|flaw|problem|severity)$", "", written)
    if written not in set(Severity):
        raise MalformedReplyError(f"`{name}` must be minor, major or critical, you gave {_echo(value)}")
    return written


def read_truth(value: Any) -> bool | None:
    """True or false, written as such, as a number or as yes or no; None where it is neither."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and (word := re.match(r"\W*(\w+)", value)):
        return _TRUTHS.get(word.group(1).casefold())
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
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
    return re.sub(r"[\s-]+|(?<=[a-z])(?=[A-Z])", "_", name.strip()).casefold()


def plain_names(given: Mapping[str, Any]) -> Twice:
    """An object with its names as we spell them; two values of one name are remembered."""
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
