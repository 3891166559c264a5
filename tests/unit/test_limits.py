"""The limiter's promise under any demand: no window above a limit, the limit used, turns kept."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestratex.limits.base import NoLimiter, Pacing
from orchestratex.limits.memory import MemoryLimiter
from tests.limits import MODEL, Demand, Seconds, Simulation, most_in_window

demands = st.builds(
    lambda low, spread, share, latency, lateness, lost: Demand(
        estimate=lambda rng: rng.randint(low, low * spread),
        actual=lambda rng, estimate: round(estimate * rng.uniform(share, 1)),
        latency=lambda rng: rng.uniform(0, latency),
        lateness=lambda rng: rng.uniform(0, lateness),
        lost=lost,
    ),
    low=st.integers(1, 3000),
    spread=st.integers(1, 6),
    share=st.floats(0.1, 1),
    latency=st.floats(0, 90),
    lateness=st.sampled_from([0, 0.1, 5, 30]),
    lost=st.sampled_from([0, 0.05]),
)


@settings(max_examples=30, deadline=None)
@given(
    demand=demands,
    callers=st.integers(1, 150),
    rpm=st.sampled_from([1, 7, 60, 600]),
    tpm=st.sampled_from([20_000, 90_000]),
    seed=st.integers(0, 1000),
)
def test_no_window_exceeds_a_limit(demand: Demand, callers: int, rpm: int, tpm: int, seed: int) -> None:
    granted = Simulation(demand, callers, rpm=rpm, tpm=tpm, seed=seed).run(150).granted

    most_calls, most_tokens = most_in_window(granted, 60)

    assert most_calls <= rpm
    assert most_tokens <= tpm  # estimates are never below the truth here


@pytest.mark.parametrize(
    "demand",
    [
        Demand(lambda rng: rng.randint(50, 150)),
        Demand(lambda rng: rng.randint(100, 566)),
        Demand(lambda rng: rng.randint(500, 1500)),
        Demand(lambda rng: rng.randint(100, 566), lateness=lambda rng: rng.uniform(0, 1)),
        Demand(lambda rng: rng.randint(400, 800), lambda rng, estimate: round(estimate * rng.uniform(0.4, 1))),
        Demand(lambda rng: rng.randint(300, 400), lambda rng, estimate: round(estimate * rng.uniform(0.5, 1.5))),
    ],
    ids=["requests bind", "both bind", "tokens bind", "late", "estimates above", "estimates around"],
)
def test_the_limit_is_used(demand: Demand) -> None:
    simulation = Simulation(demand, callers=180).run(900)

    assert simulation.utilisation() >= 0.92


@settings(max_examples=20, deadline=None)
@given(low=st.integers(1, 2000), spread=st.integers(1, 5), callers=st.integers(1, 60), seed=st.integers(0, 1000))
def test_calls_go_in_the_order_of_their_bookings(low: int, spread: int, callers: int, seed: int) -> None:
    demand = Demand(lambda rng: rng.randint(low, low * spread))

    simulation = Simulation(demand, callers, seed=seed).run(300)

    place = {call_id: index for index, call_id in enumerate(simulation.booked)}
    order = [place[grant.call_id] for grant in simulation.granted]
    assert order == sorted(order)


@pytest.mark.parametrize("large", [15_000, 30_000], ids=["most of a minute", "more than a minute"])
def test_large_calls_do_not_starve(large: int) -> None:
    demand = Demand(lambda rng: large if rng.random() < 0.05 else 100)

    simulation = Simulation(demand, callers=40).run(1800)

    assert sum(grant.tokens == large for grant in simulation.granted) >= 5
    assert max(simulation.waits) < 900


def test_underestimates_exceed_by_no_more_than_their_error() -> None:
    demand = Demand(lambda _: 500, lambda _, estimate: 2 * estimate, latency=lambda _: 0.5)

    granted = Simulation(demand, callers=100).run(600).granted

    assert most_in_window(granted, 60)[1] <= 20_000 + 500


def test_a_repeated_call_keeps_its_earlier_charge() -> None:
    clock = Seconds()
    limiter = MemoryLimiter(clock)
    limits = {"requests_per_minute": 6000, "tokens_per_minute": 20_000}
    for _ in range(2):  # its worker died after the grant, another asks again
        while wait_s := limiter.book(MODEL, call_id="a", tokens=8000, **limits):
            clock.now += wait_s

    limiter.correct(MODEL, call_id="a", estimated=8000, actual=1)

    assert limiter.book(MODEL, call_id="b", tokens=14_000, **limits) > 0


def test_pace_recovers_after_an_incident() -> None:
    clock = Seconds()
    limiter = MemoryLimiter(clock, Pacing())
    limits = {"requests_per_minute": 60, "tokens_per_minute": 20_000}
    limiter.pause(MODEL, seconds=0)

    clock.now += 6 * 60
    limiter.book(MODEL, call_id="a", tokens=1, **limits)

    assert limiter.book(MODEL, call_id="b", tokens=1, **limits) == pytest.approx(60 / (0.97 * 60))


def test_a_long_wait_is_told_exactly_while_the_pace_recovers() -> None:
    clock = Seconds()
    limiter = MemoryLimiter(clock)
    limits = {"requests_per_minute": 60, "tokens_per_minute": 20_000}
    limiter.pause(MODEL, seconds=10)
    waits = {f"c{number}": limiter.book(MODEL, call_id=f"c{number}", tokens=1, **limits) for number in range(600)}
    start = clock.now

    for call_id, wait_s in waits.items():
        clock.now = start + wait_s
        assert limiter.book(MODEL, call_id=call_id, tokens=1, **limits) == 0.0


def test_no_limiter_never_binds() -> None:
    limiter, rng = NoLimiter(), random.Random(0)

    assert not any(
        limiter.book(MODEL, call_id="a", requests_per_minute=1, tokens_per_minute=1, tokens=rng.randint(1, 9))
        for _ in range(9)
    )
