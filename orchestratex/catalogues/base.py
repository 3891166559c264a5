"""What every catalogue answers. Models are asked for by exact ids: of an alias nobody knows whom it names today."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Final, Protocol

from orchestratex.domain.prices import PriceSchedule

GENAI_PRICES: Final = "genai-prices"
MODEL_PRICES: Final = "model-prices"
NAMES: Final = (GENAI_PRICES, MODEL_PRICES)


@dataclass(frozen=True)
class Entry:
    """What one catalogue knows about one model."""

    catalogue: str  # its name
    prices: list[PriceSchedule]  # empty: none that is by tokens; several: by modes that a call may come under
    status: str | None = None  # deprecated or removed, where the catalogue says so
    max_context_length: int | None = None  # tokens


class Catalogue(Protocol):
    """A price list, whole and offline."""

    @property
    def name(self) -> str:
        """The package that it is."""

    @property
    def edition(self) -> str:
        """Name and version."""

    def find(self, provider: str, version: str) -> Entry | None:
        """What it knows about a model, by our name of the provider and the provider's exact id."""

    def models(self) -> list[tuple[str, str]]:
        """Provider, by our name, and id of every model in it."""


def is_installed(name: str) -> bool:
    """Whether a catalogue's package is here."""
    return importlib.util.find_spec(name.replace("-", "_")) is not None
