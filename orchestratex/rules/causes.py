"""Why models failed, told once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MOST: Final = 8  # causes


def join_causes(causes: Mapping[str, str]) -> str:
    """What each model failed by; those that failed by the same are named together."""
    names_by_cause: dict[str, list[str]] = {}
    for name, text in causes.items():
        names_by_cause.setdefault(text.removeprefix(f"{name}: "), []).append(name)
    told = [f"{', '.join(sorted(names))}: {cause}" for cause, names in names_by_cause.items()]
    more = [f"{len(told) - _MOST} more causes"] if len(told) > _MOST else []
    return "; ".join([*told[:_MOST], *more])
