"""Prices by date, by hour and by length of prompt: what a call costs, and what is set aside for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestratex.domain.prices import PriceSchedule, Span
from orchestratex.domain.profile import Profile, priced_today, todays_costs
from orchestratex.domain.response import Usage
from orchestratex.rules.pricelists import describe_schedule
from orchestratex.rules.pricing import affordable_output, price, served_profile, worst_case
from tests.make import make_profile

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
GEMINI = {
    "source": "a",
    "periods": [{"input": 2, "output": 10, "cached_input": 0.1}, {"since": DECEMBER, "input": 4, "output": 20}],
}
SOL = {
    "source": "a",
    "periods": [
        {
            "input": 2,
            "output": 10,
            "cached_input": 0.1,
            "cache_write": 2.5,
            "tiers": [{"above": 272_000, "input": 4, "output": 15, "cached_input": 0.2, "cache_write": 5}],
        }
    ],
}
PEAK = {"input": 2, "output": 4, "weekdays_only": True, "except_on": ["2026-10-01"]}
DEEPSEEK = {
    "source": "a",
    "periods": [{"input": 1, "output": 2, "hours": [{**PEAK, "start": "01:00", "end": "04:00"}]}],
}
NIGHT = {
    "source": "a",
    "periods": [{"input": 4, "output": 8, "hours": [{"input": 1, "output": 2, "start": "16:30", "end": "00:30"}]}],
}


def make_priced(*schedules: dict[str, Any]) -> Profile:
    return make_profile("mine", prices=list(schedules))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def million(usage: tuple[int, int], profile: Profile, moment: datetime) -> float:
    """US dollars for so many millions of tokens."""
    used = Usage(input_tokens=usage[0] * 10**6, output_tokens=usage[1] * 10**6)
    return price(profile, used, at=moment) / 10**9


@pytest.mark.parametrize(
    ("moment", "dollars"),
    [("2020-01-01", 12), ("2026-11-30T23:59:59.999", 12), ("2026-12-01", 24), ("2030-01-01", 24)],
)
def test_a_price_changes_on_its_date(moment: str, dollars: float) -> None:
    assert million((1, 1), make_priced(GEMINI), at(moment)) == dollars


@pytest.mark.parametrize(
    ("usage", "nanos"),
    [
        ({"input_tokens": 272_000, "output_tokens": 10}, 272_000 * 2000 + 10 * 10_000),
        ({"input_tokens": 272_001, "output_tokens": 10}, 272_001 * 4000 + 10 * 15_000),
        ({"input_tokens": 1000, "cached_tokens": 400, "cache_write_tokens": 600}, 400 * 100 + 600 * 2500),
        ({"input_tokens": 300_000, "cached_tokens": 300_000}, 300_000 * 200),
        ({"input_tokens": 300_000, "cache_write_tokens": 300_000}, 300_000 * 5000),
        ({"input_tokens": 10, "cached_tokens": 8, "cache_write_tokens": 8}, 8 * 100 + 2 * 2500),
    ],
)
def test_a_long_prompt_makes_the_whole_request_dearer(usage: dict[str, int], nanos: int) -> None:
    assert price(make_priced(SOL), Usage(**usage), at=DECEMBER) == nanos


@pytest.mark.parametrize(
    ("moment", "is_peak"),
    [
        ("2026-09-30T00:59:59", False),
        ("2026-09-30T01:00", True),
        ("2026-09-30T03:59:59", True),
        ("2026-09-30T04:00", False),
        ("2026-10-01T02:00", False),  # a holiday
        ("2026-10-03T02:00", False),  # a Saturday
        ("2026-10-05T02:00", True),
    ],
)
def test_hours_count_on_their_days(moment: str, is_peak: bool) -> None:
    assert million((1, 0), make_priced(DEEPSEEK), at(moment)) == (2 if is_peak else 1)


@pytest.mark.parametrize(
    ("moment", "dollars"),
    [
        ("2026-09-30T16:29", 4),
        ("2026-09-30T16:30", 1),
        ("2026-09-30T23:59", 1),
        ("2026-10-01T00:29", 1),
        ("2026-10-01T00:30", 4),
    ],
)
def test_hours_may_run_past_midnight(moment: str, dollars: float) -> None:
    assert million((1, 0), make_priced(NIGHT), at(moment)) == dollars


def test_where_sources_disagree_each_call_counts_at_the_dearest() -> None:
    other = {"source": "b", "periods": [{"input": 1, "output": 30}]}

    assert million((10, 0), make_priced(GEMINI, other), at("2026-11-01")) == 20
    assert million((0, 1), make_priced(GEMINI, other), at("2026-11-01")) == 30


def test_a_fee_for_the_call_is_part_of_it() -> None:
    profile = make_priced({"source": "a", "periods": [{"input": 1, "output": 1, "per_request": 0.005}]})

    assert price(profile, Usage(input_tokens=1), at=DECEMBER) == 5_001_000
    assert worst_case(profile, input_tokens=1, max_tokens=0, span=Span(DECEMBER, DECEMBER)) == 5_001_000


def test_what_is_set_aside_knows_an_increase_that_comes_while_the_call_is_under_way() -> None:
    profile, eve = make_priced(GEMINI), DECEMBER - timedelta(seconds=60)

    before = worst_case(profile, input_tokens=0, max_tokens=1000, span=Span(eve, eve + timedelta(seconds=59)))
    across = worst_case(profile, input_tokens=0, max_tokens=1000, span=Span(eve, DECEMBER))

    assert (before, across) == (1000 * 10_000, 1000 * 20_000)


def test_what_is_set_aside_knows_the_hour_that_comes_while_the_call_is_under_way() -> None:
    early = at("2026-09-30T00:58")

    held = worst_case(
        make_priced(DEEPSEEK), input_tokens=1000, max_tokens=0, span=Span(early, early + timedelta(minutes=4))
    )

    assert held == 1000 * 2000


def test_prompts_that_may_reach_a_tier_are_held_at_its_rates_and_at_those_of_a_cache() -> None:
    span = Span(DECEMBER, DECEMBER)

    assert worst_case(make_priced(SOL), input_tokens=272_000, max_tokens=0, span=span) == 272_000 * 2500
    assert worst_case(make_priced(SOL), input_tokens=272_001, max_tokens=0, span=span) == 272_001 * 5000


def test_the_output_that_is_affordable_fits_at_the_dearest_price_of_the_span() -> None:
    span = Span(DECEMBER - timedelta(seconds=1), DECEMBER)

    assert affordable_output(make_priced(GEMINI), input_tokens=0, nanos=20_000 * 77 + 19_999, span=span) == 77


RATES = st.fixed_dictionaries(
    {"input": st.floats(0, 100), "output": st.floats(0, 100)},
    optional={
        "cached_input": st.floats(0, 100),
        "cache_write": st.floats(0, 100),
        "reasoning": st.floats(0, 100),
        "per_request": st.floats(0, 1),
    },
)
TIERS = st.lists(st.builds(lambda rates, above: {**rates, "above": above}, RATES, st.integers(0, 5000)), max_size=3)
LISTS = st.builds(lambda rates, tiers: {**rates, "tiers": tiers}, RATES, TIERS)
CLOCKS = st.builds(lambda hour, minute: f"{hour:02}:{minute:02}", st.integers(0, 23), st.integers(0, 59))
HOURS = st.builds(
    lambda prices, start, end, is_weekday: {**prices, "start": start, "end": end, "weekdays_only": is_weekday},
    LISTS,
    CLOCKS,
    CLOCKS,
    st.booleans(),
)
PERIODS = st.builds(lambda prices, hours: {**prices, "hours": hours}, LISTS, st.lists(HOURS, max_size=2))
DATES = st.lists(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 3), timezones=st.just(UTC)), max_size=2, unique=True
)


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any]:
    dates = sorted(draw(DATES))
    periods = [draw(PERIODS), *({**draw(PERIODS), "since": date} for date in dates)]
    return {"source": "a", "periods": periods}


@settings(max_examples=200, deadline=None)
@given(st.lists(schedules(), min_size=1, max_size=2), st.data())
def test_no_call_costs_more_than_is_set_aside_for_it(priced: list[dict[str, Any]], data: st.DataObject) -> None:
    profile, tokens = make_priced(*priced), st.integers(0, 6000)
    start = data.draw(st.datetimes(datetime(2025, 12, 31), datetime(2026, 1, 4), timezones=st.just(UTC)))
    length = timedelta(seconds=data.draw(st.integers(0, 90_000)))
    given_tokens, max_tokens = data.draw(tokens), data.draw(tokens)
    used = Usage(
        input_tokens=data.draw(st.integers(0, given_tokens)),
        output_tokens=data.draw(st.integers(0, max_tokens)),
        cached_tokens=data.draw(tokens),
        cache_write_tokens=data.draw(tokens),
        reasoning_tokens=data.draw(tokens),
    )

    cost = price(profile, used, at=start + length * data.draw(st.floats(0, 1)))

    held = worst_case(profile, input_tokens=given_tokens, max_tokens=max_tokens, span=Span(start, start + length))
    assert 0 <= cost <= held


@pytest.mark.parametrize(
    "periods",
    [
        [],
        [{"input": 1, "output": 1}, {"input": 2, "output": 2}],
        [{"input": 1, "output": 1}, {"since": DECEMBER, "input": 1, "output": 1}, {"since": at("2026-01-01"), **SOL}],
        [{"input": -1, "output": 1}],
        [{"input": 1e6, "output": 1}],
        [{"input": float("nan"), "output": 1}],
        [{"input": 1, "output": 1, "hours": [{"input": 1, "output": 1, "start": "24:00", "end": "01:00"}]}],
    ],
)
def test_a_schedule_that_cannot_be_is_refused(periods: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        PriceSchedule.model_validate({"source": "a", "periods": periods})


def test_the_fields_of_a_profile_are_todays_price_of_a_short_request() -> None:
    other = {"source": "b", "periods": [{"input": 3, "output": 1}]}
    profile = make_priced(GEMINI, other)

    today = priced_today(profile, at("2026-11-27"))

    assert (today.cost_per_input_token, today.cost_per_output_token) == (3e-6, 1e-5)
    assert today.cost_per_cached_input_token == 3e-6  # the other source knows no cheaper one
    assert todays_costs(profile.prices, DECEMBER)["cost_per_output_token"] == 2e-5
    flat = make_profile("flat")
    assert priced_today(flat, DECEMBER) is flat


def test_the_version_that_served_is_priced_by_its_own_profile() -> None:
    asked, other = make_profile("a", model_version="m-1"), make_profile("b", model_version="m-2")
    foreign = make_profile("c", model_version="m-3", provider="else")

    assert served_profile(asked, "m-2", [asked, other, foreign]) is other
    assert served_profile(asked, "m-3", [asked, other, foreign]) is asked
    assert served_profile(asked, None, [other]) is asked


def test_people_read_a_schedule_in_one_line() -> None:
    told = describe_schedule(PriceSchedule.model_validate(GEMINI), at("2026-11-27"))

    assert told == "$2 in, $10 out, $0.1 cached; from 2026-12-01: $4 in, $20 out"


def test_profiles_of_older_versions_are_read_and_priced_by_their_fields() -> None:
    old = {name: value for name, value in make_profile("old").model_dump(by_alias=True).items() if name != "prices"}

    profile = Profile.model_validate(old)

    assert profile.prices == []
    assert price(profile, Usage(input_tokens=1, output_tokens=1, cache_write_tokens=1), at=DECEMBER) == 3000
