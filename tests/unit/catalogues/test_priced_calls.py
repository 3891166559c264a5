"""Random calls over every priced model of the pinned catalogues: reservations hold, and costs are theirs.

`ORCHESTRATEX_PRICED_CALLS=10000` makes as many calls.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import model_prices
import pytest
from genai_prices.data import providers
from genai_prices.types import Usage as TheirUsage

from orchestratex.catalogues.base import Catalogue, Entry
from orchestratex.catalogues.merge import merge
from orchestratex.catalogues.refresh import load_catalogues
from orchestratex.domain.prices import PriceSchedule, Span
from orchestratex.domain.response import Usage
from orchestratex.rules.pricing import price, worst_case
from tests.make import make_profile

CALLS = int(os.environ.get("ORCHESTRATEX_PRICED_CALLS", "2000"))
OUR_PROVIDERS = {"x-ai": "xai"}
THEIRS = {
    (OUR_PROVIDERS.get(provider.id, provider.id), model.id): (provider, model)
    for provider in providers
    for model in provider.models
}
NANO = Decimal("1e-9")
SPAN = timedelta(seconds=245)


@dataclass(frozen=True)
class Call:
    """A call of one model: reserved at a moment, sent a little later."""

    provider: str
    model: str
    entries: list[Entry]
    reserved_at: datetime
    sent_at: datetime
    usage: Usage
    given: int
    max_tokens: int

    @property
    def costs(self) -> list[Decimal]:
        """What each catalogue says that it cost, in US dollars."""
        return [cost for cost in (self._by_genai_prices(), self._by_model_prices()) if cost is not None]

    def _by_genai_prices(self) -> Decimal | None:
        if not any(entry.prices for entry in self.entries if entry.catalogue == "genai-prices"):
            return None
        provider, model = THEIRS[self.provider, self.model]
        used = TheirUsage(
            input_tokens=self.usage.input_tokens,
            cache_read_tokens=self.usage.cached_tokens,
            cache_write_tokens=self.usage.cache_write_tokens,
            output_tokens=self.usage.output_tokens,
            output_reasoning_tokens=self.usage.reasoning_tokens,
        )
        return model.calc_price(used, provider, genai_request_timestamp=self.sent_at).total_price

    def _by_model_prices(self) -> Decimal | None:
        if not any(entry.prices for entry in self.entries if entry.catalogue == "model-prices"):
            return None
        rates = model_prices.rates(self.model, at=self.sent_at, provider=self.provider)
        if rates is None or model_prices.resolve(self.model, self.provider) != (self.provider, self.model):
            return None  # an alias: they price another model
        cost = rates.cost(
            input_tokens=self.usage.input_tokens - self.usage.cached_tokens - self.usage.cache_write_tokens,
            output_tokens=self.usage.output_tokens,
            cache_read_tokens=self.usage.cached_tokens,
            cache_write_tokens=self.usage.cache_write_tokens,
        )
        return Decimal(repr(cost))


def moments_of(schedules: list[PriceSchedule], rng: random.Random) -> datetime:
    """A moment around a change of date or hour, or any."""
    dates = [period.since for each in schedules for period in each.periods if period.since is not None]
    clocks = [hours.start for each in schedules for period in each.periods for hours in period.hours]
    ends = [hours.end for each in schedules for period in each.periods for hours in period.hours]
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(3 * 365 * 24 * 3600))
    if dates and rng.random() < 0.6:
        moment = rng.choice(dates)
    if clocks and rng.random() < 0.7:
        hour, minute = map(int, rng.choice(clocks + ends).split(":"))
        moment = moment.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return moment + timedelta(seconds=rng.choice((-300, -200, -1, 0, 1, 60, 86_399)))


def size_of(schedules: list[PriceSchedule], rng: random.Random) -> int:
    """A length of prompt around a tier, or any."""
    tiers = [
        tier.above
        for each in schedules
        for period in each.periods
        for prices in (period, *period.hours)
        for tier in prices.tiers
    ]
    if tiers and rng.random() < 0.7:
        return max(0, rng.choice(tiers) + rng.choice((-1000, -1, 0, 1, 2, 1000)))
    return rng.choice((0, 1, rng.randrange(2000), rng.randrange(1_000_000)))


def make_call(key: tuple[str, str], entries: list[Entry], rng: random.Random) -> Call:
    schedules = [schedule for entry in entries for schedule in entry.prices]
    reserved_at, size = moments_of(schedules, rng), size_of(schedules, rng)
    cached = rng.choice((0, 0, rng.randint(0, size)))
    output = rng.choice((0, rng.randrange(8000)))
    usage = Usage(
        input_tokens=size,
        cached_tokens=cached,
        cache_write_tokens=rng.choice((0, size - cached, rng.randint(0, size - cached))),
        output_tokens=output,
        reasoning_tokens=rng.choice((0, rng.randint(0, output))),
    )
    sent_at = reserved_at + SPAN * rng.random()
    more = rng.choice((0, 0, 1, 5000))
    return Call(*key, entries, reserved_at, sent_at, usage, size + more, output + rng.choice((0, 100)))


def random_calls(count: int) -> Iterator[Call]:
    rng = random.Random(7)
    catalogues: list[Catalogue] = load_catalogues()
    known: dict[tuple[str, str], list[Entry]] = {}
    for catalogue in catalogues:
        for provider, model in catalogue.models():
            entry = catalogue.find(provider, model)
            if entry is not None and entry.prices:
                known.setdefault((provider, model), []).append(entry)
    keys = sorted(known)
    rng.shuffle(keys)
    by_both = [key for key in keys if len(known[key]) > 1]
    pool = keys + by_both * 5  # those that both know, and have dates, matter most
    for index in range(count):
        key = keys[index] if index < len(keys) < count / 2 else rng.choice(pool)  # each once where there is room
        yield make_call(key, known[key], rng)


@pytest.mark.filterwarnings("ignore")
def test_reservations_cover_the_dearer_catalogue_and_costs_are_theirs_where_they_agree() -> None:
    asked = disputed = agreed = 0
    for call in random_calls(CALLS):
        with warnings.catch_warnings(action="ignore"):
            costs = call.costs
        schedules = merge(call.entries, call.reserved_at)
        profile = make_profile("mine", prices=schedules)

        held = worst_case(
            profile,
            input_tokens=call.given,
            max_tokens=call.max_tokens,
            span=Span(call.reserved_at, call.reserved_at + SPAN),
        )
        cost = price(profile, call.usage, at=call.sent_at)

        assert cost <= held, call
        for theirs in costs:
            assert cost >= theirs / NANO - 1, (call, costs)  # they count in binary fractions
        has_modes = any(len(entry.prices) > 1 for entry in call.entries)
        if costs and max(costs) - min(costs) < NANO and not has_modes:
            agreed += 1
            assert abs(cost - costs[0] / NANO) <= 1, (call, costs, cost)
        elif len(costs) > 1:
            disputed += 1
        asked += bool(costs)
    print(f"{asked} calls priced, {agreed} alike, {disputed} of which the catalogues disagree")
    assert asked > 0.9 * CALLS
    assert disputed > 0
