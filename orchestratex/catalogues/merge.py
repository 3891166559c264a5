"""What several catalogues say of a model, as its profile keeps it: one schedule where they agree, else one of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestratex.catalogues.base import Entry
from orchestratex.domain.prices import Period, PriceList, PriceSchedule, Rates, Tier

_UNDER_WAY = timedelta(days=1)  # calls that were sent before a change are priced after it


def merge(entries: Sequence[Entry], now: datetime) -> list[PriceSchedule]:
    """The schedules that count from now on: of those that say the same one, which names all its sources."""
    merged: list[PriceSchedule] = []
    for schedule in (from_now_on(each, now) for entry in entries for each in entry.prices):
        same = next((known for known in merged if known.periods == schedule.periods), None)
        if same is None:
            merged.append(schedule)
        else:
            both = f"{same.source}, {schedule.source}"
            merged[merged.index(same)] = same.model_copy(update={"source": both})
    return merged


def from_now_on(schedule: PriceSchedule, now: datetime) -> PriceSchedule:
    """A schedule without what is past, without changes that change nothing, and without rates that say nothing."""
    current = schedule.period_at(now - _UNDER_WAY)
    kept = [_tidy(current).model_copy(update={"since": None})]
    for period in map(_tidy, schedule.changes_after(now - _UNDER_WAY)):
        if period.model_copy(update={"since": None}) != kept[-1].model_copy(update={"since": None}):
            kept.append(period)
    return schedule.model_copy(update={"periods": kept})


def _tidy(period: Period) -> Period:
    hours = [each.model_copy(update=_stated(each)) for each in period.hours]
    return period.model_copy(update={**_stated(period), "hours": hours})


def _stated(prices: PriceList) -> dict[str, object]:
    """The rates that differ from those of the whole, and the tiers that differ from the one before them."""
    tiers: list[Tier] = []
    before: Rates = prices
    for tier in sorted(prices.tiers, key=lambda tier: tier.above):
        tidy = tier.model_copy(update=_own_rates(tier))
        if _own_rates(tier) != _own_rates(before):
            tiers.append(tidy)
            before = tier
    return {**_own_rates(prices), "tiers": tiers}


def _own_rates(rates: Rates) -> dict[str, object]:
    return {
        "input": rates.input,
        "output": rates.output,
        "cached_input": None if rates.cached_input == rates.input else rates.cached_input,
        "cache_write": None if rates.cache_write == rates.input else rates.cache_write,
        "reasoning": None if rates.reasoning == rates.output else rates.reasoning,
        "per_request": rates.per_request,
    }
