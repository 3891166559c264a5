"""What is wrong with a value, in our words instead of pydantic's: what it must be, and the limit; never the value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

_VALUE_ERROR: Final = "Value error, "
_MODEL_NAME: Final = "^[a-z0-9]["  # how the pattern of models' names begins
_Limits = Mapping[str, Any]


def say_wrong(error: Mapping[str, Any]) -> str:
    """What one of pydantic's errors says; its own words only for a kind that we do not know."""
    say = _WORDS.get(str(error["type"]))
    if say is None:
        return str(error["msg"]).removeprefix(_VALUE_ERROR)
    return say if isinstance(say, str) else say(error.get("ctx", {}))


def _say_count(limits: _Limits, *, name: str, unit: str, word: str) -> str:
    count = limits[name]
    return f"must have at {word} {count} {unit if count == 1 else _PLURALS[unit]}"


def _say_pattern(limits: _Limits) -> str:
    pattern = str(limits["pattern"])
    if pattern.startswith(_MODEL_NAME):
        return "must be a model's name: 1-64 of a-z, 0-9, dot, dash and underscore, a letter or digit first"
    return f"must match {pattern}"


def _count(name: str, unit: str, word: str) -> Callable[[_Limits], str]:
    return lambda limits: _say_count(limits, name=name, unit=unit, word=word)


_PLURALS: Final = {"character": "characters", "entry": "entries"}
_NUMBER: Final = "must be a number"
_WHOLE: Final = "must be a whole number"
_TEXT: Final = "must be text"
_OBJECT: Final = "must be an object of names and values"
_LIST: Final = "must be a list"
_TRUTH: Final = "must be true or false"
_WORDS: Final[Mapping[str, str | Callable[[_Limits], str]]] = {
    "missing": "is missing",
    "extra_forbidden": "is a name that is not known here",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "is too large a number",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "must be a number that is not infinite",
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "string_type": _TEXT,
    "string_unicode": "is not valid Unicode",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "greater_than": lambda limits: f"must be more than {_say_number(limits['gt'])}",
    "greater_than_equal": lambda limits: f"must be at least {_say_number(limits['ge'])}",
    "less_than": lambda limits: f"must be less than {_say_number(limits['lt'])}",
    "less_than_equal": lambda limits: f"must be at most {_say_number(limits['le'])}",
    "string_too_short": _count("min_length", "character", "least"),
    "string_too_long": _count("max_length", "character", "most"),
    "too_short": _count("min_length", "entry", "least"),
    "too_long": _count("max_length", "entry", "most"),
    "string_pattern_mismatch": _say_pattern,
    "enum": lambda limits: f"must be one of {_say_choices(limits['expected'])}",
    "literal_error": lambda limits: f"must be one of {_say_choices(limits['expected'])}",
}


def _say_number(number: float) -> str:
    """In full, however large."""
    return str(int(number)) if number == int(number) else f"{number:g}"


def _say_choices(expected: object) -> str:
    return str(expected).replace("'", "").replace(" or ", ", ")
