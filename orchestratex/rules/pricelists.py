"""What models charge, in words for people: US dollars per million tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestratex.domain.prices import PriceList, PriceSchedule, Rates


def describe_schedule(schedule: PriceSchedule, at: datetime) -> str:
    """What a source says from a moment on, such as `$2 in, $10 out; from 2026-12-01: $4 in, $20 out`."""
    period = schedule.period_at(at)
    parts = [_describe_list(period)]
    parts += [f"{hours.start} to {hours.end} UTC: {_describe_list(hours)}" for hours in period.hours]
    for later in schedule.changes_after(at):
        day = f"{later.since:%Y-%m-%d}" if later.since else ""
        parts.append(f"from {day}: {_describe_list(later)}")
    return "; ".join(parts)


def describe_schedules(schedules: Sequence[PriceSchedule], at: datetime) -> str:
    """What all sources say, each with its name."""
    return " | ".join(f"{describe_schedule(each, at)} [{each.source}]" for each in schedules)


def _describe_list(prices: PriceList) -> str:
    tiers = [f"above {tier.above:,} tokens {_describe_rates(tier)}" for tier in prices.tiers]
    return ", ".join([_describe_rates(prices), *tiers])


def _describe_rates(rates: Rates) -> str:
    parts = [f"${rates.input:g} in", f"${rates.output:g} out"]
    if rates.cached_input is not None:
        parts.append(f"${rates.cached_input:g} cached")
    if rates.cache_write is not None:
        parts.append(f"${rates.cache_write:g} into the cache")
    if rates.reasoning is not None:
        parts.append(f"${rates.reasoning:g} reasoning")
    if rates.per_request:
        parts.append(f"${rates.per_request:g} a call")
    return ", ".join(parts)
