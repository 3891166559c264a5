"""How long ago, in words that fit a table."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE: Final = re.compile(r"(\d{1,6})\s*(s|min|m|h|d|w)", re.ASCII)
_FEW: Final = 2  # of a unit: two hours are told in minutes, more precisely than "1 h" for nearly two


def describe_age(seconds: float) -> str:
    """A time in its largest unit of which there are two or more, such as `90 min` or `3 d`."""
    whole = max(0, int(seconds))
    unit, length = next(((unit, length) for unit, length in _UNITS if whole >= _FEW * length), _UNITS[-1])
    return f"{whole // length} {unit}"


def parse_age(text: str) -> timedelta | None:
    """A time such as `90s`, `30min`, `12h`, `7d` or `2w`; None where it is none."""
    found = _AGE.fullmatch(text.strip().lower())
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]]) if found else None


def since_age(text: str, now: datetime) -> datetime | None:
    """The moment so long ago; None where the text is no such time."""
    age = parse_age(text)
    return None if age is None else now - age
