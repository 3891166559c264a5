"""How long a provider wants us to wait: whatever it wrote there, reading it raises nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

_LONGEST_WAIT_S: Final = 86_400.0  # a wait beyond a day is not to be believed
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_RETRY_DELAY: Final = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)s", re.ASCII)
_LONGEST_DATE: Final = 100  # characters


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: from retry-after-ms, else from Retry-After in seconds or as a date; None where neither says."""
    milliseconds = _to_wait(headers.get("retry-after-ms"), unit_s=0.001)
    if milliseconds is not None:
        return milliseconds
    value = headers.get("Retry-After")
    seconds = _to_wait(value, unit_s=1)
    return _read_date(value) if seconds is None and value else seconds


def find_delay(parts: Iterable[Mapping[str, Any]]) -> float | None:
    """Seconds to wait, from Google's RetryInfo."""
    for part in parts:
        delay = part.get("retryDelay")
        found = _RETRY_DELAY.fullmatch(delay) if isinstance(delay, str) else None
        if found:
            return min(_LONGEST_WAIT_S, float(found[1]))
    return None


def _to_wait(value: str | None, *, unit_s: float) -> float | None:
    text = (value or "").strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return min(_LONGEST_WAIT_S, max(0.0, number * unit_s)) if math.isfinite(number) else None


def _read_date(value: str) -> float | None:
    if len(value) > _LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # HTTP dates are UTC, even if not marked so
        left_s = (moment - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):  # all that odd dates have been seen to raise there
        return None
    return min(_LONGEST_WAIT_S, max(0.0, left_s))
