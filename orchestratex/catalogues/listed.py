"""The catalogue of PyPI's `model-prices`: prices with their history, hours of the day, and which models are retired.

We read its snapshot, a document with a schema number of its own, and not its functions: these resolve aliases, and
keep the status to themselves.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

from orchestratex.catalogues.base import MODEL_PRICES, Entry
from orchestratex.domain.prices import Hours, Period, PriceSchedule
from orchestratex.errors import InputError

_SCHEMA: Final = 1
_KINDS: Final = {"input": "input", "output": "output", "cached_input": "cache_read", "cache_write": "cache_write"}
_MODES: Final = ("standard", "thinking")  # a call that thinks may be billed by either; the others have to be asked for
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MINUTES: Final = 24 * 60

_Json = dict[str, Any]


class ModelPrices:
    """See Catalogue. Raises InputError where the package's snapshot is of a form that we do not know."""

    name = MODEL_PRICES

    def __init__(self) -> None:
        self.edition = f"{self.name} {importlib.metadata.version(self.name)}"
        snapshot: _Json = json.loads(files("model_prices").joinpath("snapshot.json").read_text(encoding="utf-8"))
        if snapshot.get("schema") != _SCHEMA:
            problem = f"has a snapshot of schema {snapshot.get('schema')}; we read {_SCHEMA}: install another version"
            raise InputError(self.name, problem)
        self._prices: Mapping[str, Mapping[str, _Json]] = snapshot["prices"]
        self._status: Mapping[str, Mapping[str, str]] = snapshot.get("status", {})
        self._schedules: _Json = snapshot.get("schedules", {})

    def find(self, provider: str, version: str) -> Entry | None:
        """See Catalogue."""
        timelines, status = self._prices.get(provider, {}).get(version), self.status(provider, version)
        if timelines is None and status is None:
            return None
        prices = [
            PriceSchedule(
                source=self.edition if mode == _MODES[0] else f"{self.edition}, {mode}",
                periods=list(self._periods(provider, version, timelines[mode])),
            )
            for mode in _MODES
            if timelines and any(each["rates"] for each in timelines.get(mode, ()))
        ]
        return Entry(self.name, prices, status)

    def status(self, provider: str, version: str) -> str | None:
        """`deprecated` or `removed`, where it says so of a model."""
        return self._status.get(provider, {}).get(version)

    def models(self) -> list[tuple[str, str]]:
        """See Catalogue."""
        return [(provider, model) for provider, models in self._prices.items() for model in models]

    def _periods(self, provider: str, model: str, timeline: list[_Json]) -> Iterator[Period]:
        sold = [interval for interval in timeline if interval["rates"]]
        starts = [_EARLIEST, *(_moment(interval["start"]) for interval in sold[1:])]
        rules = [rule for rule in self._schedules.get("schedule", ()) if _concerns(rule, provider, model)]
        limits = {_moment(rule[key]) for rule in rules for key in ("valid_from", "valid_until") if key in rule}
        for moment in sorted({*starts, *limits}):
            begun = max(index for index, start in enumerate(starts) if start <= moment)
            rule = next((each for each in rules if _is_valid(each, moment)), None)
            yield Period(
                since=None if moment == _EARLIEST else moment,
                hours=[] if rule is None else self._hours(rule, model, sold[begun]["rates"]),
                **_list(sold[begun]["rates"]),
            )

    def _hours(self, rule: _Json, model: str, rates: _Json) -> list[Hours]:
        is_peak = "peak_hours_utc" in rule
        factor = rule["peak_multiplier"] if is_peak else rule["off_peak_multiplier"][model]
        windows = rule["peak_hours_utc" if is_peak else "off_peak_hours_utc"]
        calendar = self._schedules.get("holidays", {}).get(rule.get("holidays", ""))
        return [
            Hours(
                start=start,
                end=end,
                weekdays_only=rule.get("weekdays_only", False),
                except_on=_days_off(calendar, start, end) if calendar else [],
                **_list(rates, Decimal(str(factor))),
            )
            for start, end in windows
        ]


def _concerns(rule: _Json, provider: str, model: str) -> bool:
    """Peak hours are of all models of a provider, discounts of those that are listed."""
    return rule["provider"] == provider and ("peak_hours_utc" in rule or model in rule["off_peak_multiplier"])


def _is_valid(rule: _Json, moment: datetime) -> bool:
    until = rule.get("valid_until")
    return _moment(rule["valid_from"]) <= moment and (until is None or moment < _moment(until))


def _list(rates: _Json, factor: Decimal = Decimal(1)) -> dict[str, Any]:
    """The fields of a price list: what a tier does not name stays."""

    def scale(stated: _Json) -> dict[str, float]:
        known = {kind: stated[key] for kind, key in _KINDS.items() if stated.get(key) is not None}
        return {kind: float(Decimal(str(rate)) * factor) for kind, rate in known.items()}

    base = scale(rates)
    tiers = [{"above": tier["above"], **base, **scale(tier)} for tier in rates.get("tiers") or ()]
    return {**base, "tiers": tiers}


def _days_off(calendar: _Json, start: str, end: str) -> list[str]:
    """Holidays as days of UTC. Hours that lie on two days of the calendar count as dear on both."""
    offset = 60 * int(calendar["utc_offset_hours"])
    first, last = _minutes(start) + offset, _minutes(end) + offset - 1
    if start >= end or first // _MINUTES != last // _MINUTES:
        return []
    shift = timedelta(days=first // _MINUTES)
    return [(date.fromisoformat(day) - shift).isoformat() for day in calendar["dates"]]


def _minutes(clock: str) -> int:
    hour, minute = map(int, clock.split(":"))
    return 60 * hour + minute


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
