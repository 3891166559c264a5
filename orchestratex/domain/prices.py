"""What a model charges: rates by the size of the request, by the hour of the day, and by date.

Rates are US dollars per million tokens, as price lists state them. All times are UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from typing import Annotated, Final, NamedTuple, Self

from pydantic import Field, model_validator

from orchestratex.domain.base import Count, Record, UtcDate

_MAX_RATE: Final = 10_000  # US dollars per million tokens; whoever writes a price per token or per thousand is far off
_SATURDAY: Final = 5

Rate = Annotated[float, Field(ge=0, le=_MAX_RATE, allow_inf_nan=False)]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]  # HH:MM
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class Span(NamedTuple):
    """From a moment to a later one, both included."""

    start: datetime
    end: datetime


class Rates(Record):
    """What the tokens of one request cost, in US dollars per million.

    A kind without a rate of its own costs what it is part of. Caches that are kept longer than a provider does by
    itself have rates of their own, which are left out: no request of ours asks for one.
    """

    input: Rate
    output: Rate
    cached_input: Rate | None = None
    cache_write: Rate | None = None  # input that the provider puts into its cache
    reasoning: Rate | None = None
    per_request: Rate = 0.0  # US dollars for the call itself


class Tier(Rates):
    """The rates of a whole request whose prompt is longer than a number of tokens."""

    above: Count


class PriceList(Rates):
    """The rates of any request at one time: those of short prompts, and the tiers of longer ones."""

    tiers: list[Tier] = []

    def rates_for(self, input_tokens: int) -> Rates:
        """The rates of a request with so many tokens in its prompt."""
        reached = [tier for tier in self.tiers if input_tokens > tier.above]
        return max(reached, key=lambda tier: tier.above, default=self)

    def rates_up_to(self, input_tokens: int) -> list[Rates]:
        """The rates that a request may come under whose prompt has at most so many tokens."""
        return [self, *(tier for tier in self.tiers if input_tokens > tier.above)]


class Hours(PriceList):
    """What counts at some hours of the day in place of a period's own list, from `start` up to `end`."""

    start: Clock
    end: Clock  # earlier than `start`: on the next day
    weekdays_only: bool = False
    except_on: list[Day] = []  # holidays

    def covers(self, moment: datetime) -> bool:
        """Whether the hours hold at a moment."""
        start, end, now = time.fromisoformat(self.start), time.fromisoformat(self.end), moment.time()
        if start < end and not start <= now < end:
            return False
        if start >= end and not (now >= start or now < end):
            return False
        if self.weekdays_only and moment.weekday() >= _SATURDAY:
            return False
        return moment.date().isoformat() not in self.except_on


class Period(PriceList):
    """What counts from one date until the next period's."""

    since: UtcDate | None = None  # None: always, of a schedule's first period
    hours: list[Hours] = []

    def list_at(self, moment: datetime) -> PriceList:
        """The list in force at a moment of the period: of several hours that cover it the last ones."""
        return next((hours for hours in reversed(self.hours) if hours.covers(moment)), self)


class PriceSchedule(Record):
    """What one source says that a model costs, and from when on. The first period counts for all earlier times."""

    source: str = Field(min_length=1, max_length=200)
    periods: list[Period] = Field(min_length=1)
    is_decided: bool = False  # a person trusts this source where others say something else: it alone is followed

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        dates = [period.since for period in self.periods[1:]]
        if None in dates or dates != sorted(date for date in dates if date is not None):
            raise ValueError("periods must be in order, each but the first with the date since which it counts")
        return self

    def period_at(self, moment: datetime) -> Period:
        """The period that a moment is in."""
        begun = [period for period in self.periods[1:] if period.since is not None and period.since <= moment]
        return begun[-1] if begun else self.periods[0]

    def list_at(self, moment: datetime) -> PriceList:
        """The list in force at a moment."""
        return self.period_at(moment).list_at(moment)

    def lists_within(self, span: Span) -> list[PriceList]:
        """Every list that is in force at some moment of a span."""
        moments = {span.start, span.end, *self._changes_within(span)}
        return [self.list_at(moment) for moment in sorted(moments)]

    def changes_after(self, moment: datetime) -> list[Period]:
        """The periods that are still to come."""
        return [period for period in self.periods[1:] if period.since is not None and period.since > moment]

    def _changes_within(self, span: Span) -> Iterator[datetime]:
        for period in self.periods:
            if period.since is not None and span.start < period.since <= span.end:
                yield period.since
        clocks = {clock for period in self.periods for hours in period.hours for clock in (hours.start, hours.end)}
        if not clocks:
            return
        day = span.start.replace(hour=0, minute=0, second=0, microsecond=0)
        while day <= span.end:
            for clock in {"00:00", *clocks}:  # days of the week and holidays change at midnight
                hour, minute = map(int, clock.split(":"))
                moment = day.replace(hour=hour, minute=minute)
                if span.start < moment <= span.end:
                    yield moment
            day += timedelta(days=1)


def base_rates(schedules: Sequence[PriceSchedule], moment: datetime) -> Rates:
    """The rates of a short request in the period of a moment, whatever the hour; of several sources the dearest."""
    rates: list[Rates] = [schedule.period_at(moment) for schedule in schedules]

    def dearest(name: str, whole: str) -> float | None:
        stated: list[float | None] = [getattr(each, name) for each in rates]
        if all(rate is None for rate in stated):
            return None
        wholes: list[float] = [getattr(each, whole) for each in rates]
        return max(total if rate is None else rate for rate, total in zip(stated, wholes, strict=True))

    return Rates(
        input=max(each.input for each in rates),
        output=max(each.output for each in rates),
        cached_input=dearest("cached_input", "input"),
        cache_write=dearest("cache_write", "input"),
        reasoning=dearest("reasoning", "output"),
        per_request=max(each.per_request for each in rates),
    )
