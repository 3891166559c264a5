"""What lists of models look like. They prove that a model is there; that one is missing proves nothing.

Servers answer to aliases that they do not list, and lists leave out what an account has of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from orchestratex.errors import MalformedCompletionError

_ROWS: Final = ("data", "models", "items", "results", "result")
_NAMES: Final = ("id", "name", "model", "root", "slug", "canonical_slug")
_ALIASES: Final = ("aliases", "alias")
_DEFAULT_TAG: Final = ":latest"  # Ollama's, of a name without one


def find_rows(model: str, listed: Any) -> list[Any]:
    """The rows of a list of models: bare, or in a field; null is an empty one. Raises MalformedCompletionError."""
    if isinstance(listed, list):
        return listed
    if isinstance(listed, Mapping):
        rows = [listed[name] for name in _ROWS if name in listed]
        for each in rows:
            if isinstance(each, list):
                return each
            if isinstance(each, Mapping):  # by name
                return [*each, *each.values()]
        if rows and rows[0] is None:
            return []
    raise MalformedCompletionError(model, "the list of models has no rows")


def find_row(version: str, rows: list[Any]) -> Any:
    """The first row that names the model, by an alias or with the tag that goes without saying, too; else None."""
    wanted = _normalise(version)
    return next((row for row in rows if any(_normalise(name) == wanted for name in _find_names(row))), None)


def _find_names(row: Any) -> Iterator[str]:
    if isinstance(row, str):
        yield row
    elif isinstance(row, Mapping):
        yield from (row[name] for name in _NAMES if isinstance(row.get(name), str))
        for name in _ALIASES:
            given = row.get(name)
            yield from (each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str))


def _normalise(name: str) -> str:
    return name.strip().lower().removeprefix("models/").removesuffix(_DEFAULT_TAG)
