"""Whether a 429 means this request and not the moment: alone it is larger than the limit, so waiting cannot help."""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = re.compile(
    r"request(?: is)? too (?:large|big)|larger than (?:the|your)\b[^.]{0,40}\blimit"
    r"|(?:input|output|prompt|tokens?|request)\b[^.]{0,40}\bmust be reduced|reduce your (?:message|request|prompt) size"
    r"|single request (?:exceeds|is larger)"
)
_NUMBERS: Final = (  # of one sentence: the limit, and what was asked of it
    re.compile(r"limit[:=]? ?(?P<limit>\d[\d,]*).{0,60}?\brequested[:=]? ?(?P<asked>\d[\d,]*)", re.DOTALL),
    re.compile(r"requested[:=]? ?(?P<asked>\d[\d,]*).{0,60}?\blimit[:=]?(?: of| is)? ?(?P<limit>\d[\d,]*)", re.DOTALL),
)
# Anthropic names the limit alone: "would exceed the rate limit for your organization of 20,000 input tokens per minute"
_PER_MINUTE: Final = re.compile(r"\blimit\b[^.]{0,60}? of (\d[\d,]*) (?:input |prompt )?tokens per minute")
_BYTES_PER_TOKEN: Final = 6  # more than any text has on the average: a request has at least so many tokens


def is_too_large_alone(said: str, *, sent_bytes: int) -> bool:
    """Whether a provider's words about a rate limit say that it can never take this request of `sent_bytes`.

    Numbers win over words: "Limit 10000, Used 9500, Requested 800" has room again in a minute.
    """
    text = said.lower()
    for numbers in _NUMBERS:
        found = numbers.search(text)
        if found:
            return _count(found["asked"]) > _count(found["limit"])
    bound = _PER_MINUTE.search(text)
    if bound:
        return sent_bytes / _BYTES_PER_TOKEN > _count(bound[1])
    return _WORDS.search(text) is not None


def _count(digits: str) -> int:
    return int(digits.replace(",", "")[:18] or "0")
