"""Files of profiles: `[[profiles]]` tables in TOML, with the fields of `profiles.toml` beside this module."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from orchestratex.errors import InputError

Row = Mapping[str, Any]  # field name -> value, of one model


def read_profiles(path: Path, *, field: str = "profiles") -> list[Row]:
    """The rows of a file, each with a model's name, none twice. Raises InputError naming the file and what is wrong.

    What the fields hold is not looked at.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(field, f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(field, f"{path} is no TOML: {error}") from error
    return [_read_dates(row) for row in _find_rows(table, path, field)]


def _find_rows(table: Mapping[str, Any], path: Path, field: str) -> list[Row]:
    others = sorted(set(table) - {"profiles"})
    if others:
        raise InputError(field, f"{path} holds {', '.join(others)}; only [[profiles]] tables are known")
    rows = table.get("profiles")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(field, f"{path} holds no [[profiles]] table")
    names = Counter(row.get("model_name") for row in rows if isinstance(row.get("model_name"), str))
    if names.total() < len(rows):
        raise InputError(field, f"{path} holds a profile without a model_name")
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise InputError(field, f"{path} holds {', '.join(twice)} more than once")
    return rows


def _read_dates(row: Row) -> Row:
    """TOML has dates of its own; we keep them as text."""
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}
