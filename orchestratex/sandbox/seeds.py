"""Chance that repeats itself: the same parts always give the same draw."""

from __future__ import annotations

import hashlib
import random
from typing import Final

_SEPARATOR: Final = "\x1f"
_FRACTION_BYTES: Final = 6


def make_rng(*parts: object) -> random.Random:
    """Return a generator that is seeded by the parts alone."""
    return random.Random(_digest(parts))


def draw_unit(*parts: object) -> float:
    """Return the number in [0, 1) that belongs to the parts."""
    return int.from_bytes(_digest(parts)[:_FRACTION_BYTES], "big") / (1 << 8 * _FRACTION_BYTES)


def draw_ordinal(key: str) -> int:
    """Return the ordinal of a call whose dialect has no seed: its key's own, 0 without a key."""
    return int.from_bytes(_digest(("ordinal", key))[:4], "big") if key else 0


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.sha256(_SEPARATOR.join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
