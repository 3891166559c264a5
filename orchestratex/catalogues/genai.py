"""The catalogue of PyPI's `genai-prices`: prices with dates, tiers and hours, and context lengths."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from orchestratex.catalogues.base import GENAI_PRICES, Entry
from orchestratex.domain.prices import Hours, Period, PriceSchedule

if TYPE_CHECKING:
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice

_THEIRS: Final = {"xai": "x-ai"}  # providers by our name, where it differs
_OURS: Final = {theirs: ours for ours, theirs in _THEIRS.items()}
_KINDS: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}
_PER_REQUEST: Final = "requests_kcount"  # US dollars for a thousand
_BEFORE_ALL: Final = date(2000, 1, 1)


class GenaiPrices:
    """See Catalogue. Making it imports the package, which takes a moment."""

    name = GENAI_PRICES

    def __init__(self) -> None:
        from genai_prices.data import providers

        self.edition = f"{self.name} {importlib.metadata.version(self.name)}"
        self._models = {
            (_OURS.get(provider.id, provider.id), model.id): model
            for provider in providers
            for model in provider.models
        }

    def find(self, provider: str, version: str) -> Entry | None:
        """See Catalogue."""
        model = self._models.get((provider, version))
        if model is None:
            return None
        status = "deprecated" if model.deprecated else None
        return Entry(self.name, _schedules(model, self.edition), status, model.context_window)

    def models(self) -> list[tuple[str, str]]:
        """See Catalogue."""
        return list(self._models)


def _schedules(model: ModelInfo, source: str) -> list[PriceSchedule]:
    from genai_prices.types import StartDateConstraint

    conditional = _conditional(model)
    if not all(_is_by_tokens(each.prices) for each in conditional):
        return []
    dates = {each.constraint.start_date for each in conditional if isinstance(each.constraint, StartDateConstraint)}
    periods = [_period(conditional, None), *(_period(conditional, day) for day in sorted(dates))]
    return [PriceSchedule(source=source, periods=periods)]


def _conditional(model: ModelInfo) -> Sequence[ConditionalPrice]:
    from genai_prices.types import ConditionalPrice

    return model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]


def _is_by_tokens(prices: ModelPrice) -> bool:
    return prices.input_mtok is not None and prices.output_mtok is not None


def _period(conditional: Sequence[ConditionalPrice], since: date | None) -> Period:
    from genai_prices.types import TimeOfDateConstraint

    day = since or _BEFORE_ALL
    of_day = [each for each in conditional if not isinstance(each.constraint, TimeOfDateConstraint)]
    base = _in_force(of_day or conditional, datetime.combine(day, time(tzinfo=UTC)))
    clocks = sorted(
        {
            _utc(clock)
            for each in conditional
            if isinstance(each.constraint, TimeOfDateConstraint)
            for clock in (each.constraint.start_time, each.constraint.end_time)
        }
    )
    hours = []
    for start, end in zip(clocks, [*clocks[1:], *clocks[:1]], strict=True):
        prices = _in_force(conditional, datetime.combine(day, start))
        if prices is not base:
            hours.append(Hours(start=f"{start:%H:%M}", end=f"{end:%H:%M}", **_rates(prices)))
    midnight = None if since is None else datetime.combine(since, time(tzinfo=UTC))
    return Period(since=midnight, hours=hours, **_rates(base))


def _in_force(conditional: Sequence[ConditionalPrice], moment: datetime) -> ModelPrice:
    """As the package chooses: the last price whose constraint holds, else the first."""
    for each in reversed(conditional):
        if each.constraint is None or each.constraint.active(moment):
            return each.prices
    return conditional[0].prices


def _utc(clock: time) -> time:
    moment = datetime.combine(_BEFORE_ALL, clock if clock.tzinfo else clock.replace(tzinfo=UTC))
    return moment.astimezone(UTC).timetz()


def _rates(prices: ModelPrice) -> dict[str, Any]:
    """The fields of a price list: a tier of one kind of token makes a tier of the whole request."""
    starts = sorted({tier.start for key in _KINDS.values() for tier in getattr(getattr(prices, key), "tiers", ())})
    tiers = [{"above": start, **_rates_at(prices, start + 1)} for start in starts]
    return {**_rates_at(prices, 0), "tiers": tiers}


def _rates_at(prices: ModelPrice, tokens: int) -> dict[str, float | None]:
    fee = getattr(prices, _PER_REQUEST)
    rates = {kind: _rate_at(getattr(prices, key), tokens) for kind, key in _KINDS.items()}
    return {**rates, "per_request": 0.0 if fee is None else float(_rate_of(fee, tokens).scaleb(-3))}


def _rate_at(price: Any, tokens: int) -> float | None:
    return None if price is None else float(_rate_of(price, tokens))


def _rate_of(price: Any, tokens: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if tokens > tier.start]  # in ascending order
    rate: Decimal = reached[-1] if reached else price.base
    return rate
