"""The names of our variables: which setting each is of, and those that look like one of ours and are none."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import AliasChoices

from orchestratex.settings import Settings

PREFIX: Final = "ORCHESTRATEX_"
SECRETS_DIR: Final = "ORCHESTRATEX_SECRETS_DIR"
_BESIDE: Final = frozenset({"ORCHESTRATEX_FLOWER_PORT", "ORCHESTRATEX_SANDBOX_PORT"})  # of the Procfile's lines
_OF_TESTS: Final = "ORCHESTRATEX_TEST_"


def _name_variables() -> Iterator[tuple[str, str]]:
    """Every name that a setting is read from, in upper case as pydantic does not mind, and its field."""
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        given = alias.choices if isinstance(alias, AliasChoices) else [alias] if alias else []
        for name in (f"{PREFIX}{field}", *given):
            yield str(name).upper(), field


FIELDS: Final = dict(_name_variables())


def find_misspelt(environ: Mapping[str, str]) -> list[str]:
    """What to say of each variable, and each file of secrets, that has our prefix and sets nothing; never its value."""
    names = [*environ, *_name_files(environ.get(SECRETS_DIR))]
    return [_describe(name) for name in sorted(set(names)) if _is_misspelt(name.upper())]


def find_missing(wanted: Collection[str], environ: Mapping[str, str], settings: Settings) -> str | None:
    """What to say where settings that a process cannot do without are not set; None where all are."""
    missing = [f"{PREFIX}{field.upper()}" for field in wanted if not getattr(settings, field)]
    if not missing:
        return None
    are = "is" if len(missing) == 1 else "are"
    near = [line for line in find_misspelt(environ) if any(name in line for name in missing)]
    told = "; ".join([f"{' and '.join(missing)} {are} not set", *near])
    return f"{told}; set {'it' if len(missing) == 1 else 'them'}, or run `orchestratex up`, which starts all of it here"


def _is_misspelt(name: str) -> bool:
    return name.startswith(PREFIX) and name not in FIELDS and name not in _BESIDE and not name.startswith(_OF_TESTS)


def _describe(name: str) -> str:
    known = [each.removeprefix(PREFIX) for each in (*FIELDS, *_BESIDE) if each.startswith(PREFIX)]
    near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, 1)
    return f"{name} is no setting and does nothing" + (f"; did you mean {PREFIX}{near[0]}?" if near else "")


def _name_files(directory: str | None) -> list[str]:
    """The settings' own check tells of a directory that cannot be read."""
    try:
        return os.listdir(Path(directory)) if directory else []
    except OSError:
        return []
