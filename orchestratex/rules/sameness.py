"""Whether two texts are the same to who reads them."""

from __future__ import annotations

import re

from orchestratex.rules.characters import to_nfc

_UNSEEN = re.compile("[\u200b\u2060\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # of no width, and control characters
_BLANKS = re.compile(r"\n{3,}")


def is_same_text(one: str, other: str) -> bool:
    """Whether nobody sees a difference: in the form of characters, at the ends of lines, in what has no width.

    Indentation and spaces between words count: they may be what was asked for.
    """
    return one == other or _seen(one) == _seen(other)


def _seen(text: str) -> str:
    text = _UNSEEN.sub("", to_nfc(text).replace("\r\n", "\n").replace("\r", "\n"))
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return _BLANKS.sub("\n\n", lines).strip("\n")
