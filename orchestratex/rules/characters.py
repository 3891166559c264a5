"""Unicode's composed form, in linear time."""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_MARKS: Final = 30  # combining marks in a row, as in Unicode's stream-safe text: sorting more takes quadratic time


def to_nfc(text: str) -> str:
    """Return the text in Unicode NFC, never longer than it was; as it is with over 30 marks in a row."""
    if text.isascii() or _longest_marks(text) > MAX_MARKS:
        return text
    composed = unicodedata.normalize("NFC", text)
    return composed if len(composed) <= len(text) else text  # some signs have only a longer form, up to three times


def _longest_marks(text: str) -> int:
    longest = run = 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) else 0
        longest = max(longest, run)
    return longest
