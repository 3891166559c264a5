"""What stdout and stderr can show: a terminal or a file need not be UTF-8, and an answer that was paid for is shown."""

from __future__ import annotations

import codecs
import io
import sys
from typing import Final, TextIO

_PLAIN: Final = {"…": "...", "→": "->", "—": "-", "–": "-", "“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " "}
_HANDLER: Final = "orchestratex.plain"


def settle_streams() -> None:
    """From here on what a stream's encoding lacks is written as an escape like \\u4e2d: nothing is lost, nothing fails.

    A few signs have a plain form instead, such as -> for an arrow. JSON has escapes of its own.
    """
    codecs.register_error(_HANDLER, _write_plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def can_write(text: str, stream: TextIO) -> bool:
    """Whether a stream's encoding has every character of a text."""
    try:
        text.encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def is_unicode(stream: TextIO) -> bool:
    """Whether it takes every character."""
    return can_write("中→⠋😀", stream)


def _write_plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char) or _escape(char) for char in lacking), error.end


def _escape(char: str) -> str:
    return char.encode("ascii", "backslashreplace").decode("ascii")
