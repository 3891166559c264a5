"""Our own table of what no price list tells, and what is known of a model's retirement from all sources together."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from importlib.resources import files

from pydantic import ConfigDict, Field

from orchestratex.catalogues.base import MODEL_PRICES, Entry, is_installed
from orchestratex.catalogues.listed import ModelPrices
from orchestratex.domain.base import Record


class Known(Record):
    """A row of the table."""

    model_config = ConfigDict(extra="forbid")

    provider: str
    version: str
    retired_on: date | None = None
    is_retired: bool = False
    successor: str | None = None  # the provider's own recommendation
    max_context_length: int | None = Field(default=None, ge=1)  # tokens
    source: str
    looked_up: date


@dataclass(frozen=True)
class Retirement:
    """That a model is switched off, or will be."""

    text: str  # in words, with the source
    is_over: bool  # nobody serves it any more
    successor: str | None = None


@functools.cache
def known_models() -> dict[tuple[str, str], Known]:
    """The table, by provider and exact id."""
    table = tomllib.loads(files("orchestratex.catalogues").joinpath("known.toml").read_text(encoding="utf-8"))
    rows = [Known.model_validate(row) for row in table["models"]]
    return {(row.provider, row.version): row for row in rows}


def find_retirement(provider: str, version: str, today: date, entries: Iterable[Entry] = ()) -> Retirement | None:
    """What is known of a model's end: by our table, which has dates, else by catalogues that mark it."""
    row = known_models().get((provider, version))
    if row is not None and (row.retired_on or row.is_retired):
        return _by_table(row, today)
    marked = [entry for entry in entries if entry.status]
    if not marked:
        return None
    told = " and ".join(f"{entry.status} by {entry.catalogue}" for entry in marked)
    return Retirement(f"{version} is marked {told}", is_over=any(entry.status == "removed" for entry in marked))


def warn_of(provider: str, version: str, today: date) -> Retirement | None:
    """The same without loading a catalogue that takes long: our table, and `model-prices` where it is installed."""
    entries = []
    if is_installed(MODEL_PRICES):
        entry = _light_catalogue().find(provider, version)
        entries = [entry] if entry else []
    return find_retirement(provider, version, today, entries)


@functools.cache
def _light_catalogue() -> ModelPrices:
    return ModelPrices()


def _by_table(row: Known, today: date) -> Retirement:
    is_over = row.is_retired or (row.retired_on is not None and row.retired_on <= today)
    when = "is retired" if row.retired_on is None else f"{'was' if is_over else 'will be'} retired on {row.retired_on}"
    told = f"{row.version} {when}"
    if row.successor:
        told += f"; its provider names {row.successor} as successor"
    return Retirement(f"{told} ({row.source}, looked up {row.looked_up})", is_over=is_over, successor=row.successor)
