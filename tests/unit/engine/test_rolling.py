"""Whatever happened, and however late: the windows say what all documents say, counted slowly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestratex.domain.base import Period
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.log import LogEvent
from orchestratex.domain.metrics import Metrics
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.store.memory import MemoryStore
from tests.histories import ACTS, STEPS_S, History, StillClock
from tests.recount import Everything, recount

Act = tuple[str, float, int]
act = st.tuples(st.sampled_from(sorted(ACTS)), st.sampled_from(STEPS_S), st.integers(0, 200))


def write_history(acts: Sequence[tuple[str, float, int]]) -> History:
    clock = StillClock()
    history = History(MemoryStore(clock), clock)
    for name, seconds, number in acts:
        history.act(name, seconds, number)
    return history


def read_everything(history: History) -> Everything:
    store = history.store
    assert isinstance(store, MemoryStore)
    return Everything(
        store._all(Session),
        store._all(Thread),
        store._all(Response),
        store._all(Selection),
        store._all(CriticismResponse),
        store._all(LogEvent),
        store._all(Profile),
    )


def read_windows(history: History) -> list[Metrics]:
    return [window for period in Period for window in history.store.metrics(period, limit=100_000)]


def assert_same(window: dict[str, Any], expected: dict[str, Any], path: str = "") -> None:
    for name, value in expected.items():
        at = f"{path}{name}"
        if isinstance(value, dict):
            assert set(window[name]) == set(value), at
            assert_same(window[name], value, f"{at}.")
        elif isinstance(value, float):
            assert window[name] == pytest.approx(value, rel=1e-9, abs=1e-9), at
        else:
            assert window[name] == value, at


def assert_true(history: History) -> None:
    """Every window says what all documents say, and no moment at which something counts is without its window."""
    everything, windows = read_everything(history), read_windows(history)
    for window in windows:
        assert_same(window.model_dump(), recount(everything, window.time_period, window.metric_date))
    moments = [r.timestamp for r in everything.responses] + [t.completed_at for t in everything.threads]
    moments += [s.session_start for s in everything.sessions] + [s.session_end for s in everything.sessions]
    moments += [event.timestamp for event in everything.logs]
    known = {(window.time_period, window.metric_date) for window in windows}
    for moment in moments:
        for period in Period:
            if moment is not None:
                assert (period, recount(everything, period, moment)["metric_date"]) in known


@given(st.lists(act, max_size=60))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_windows_say_what_all_documents_say(acts: list[Act]) -> None:
    history = write_history(acts)
    history.roll()

    assert_true(history)


@given(st.lists(act, max_size=40), st.sampled_from(STEPS_S))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_twice_is_once(acts: list[Act], seconds: float) -> None:
    history = write_history(acts)
    history.clock.move(seconds)
    history.roll()
    before = read_windows(history), history.store.model_stats(), history.store.profiles()

    written = history.roll()

    assert written == 0
    assert (read_windows(history), history.store.model_stats(), history.store.profiles()) == before


@pytest.mark.parametrize("seed", range(6))
def test_a_long_history_with_everything_in_it_is_rolled_up_right(seed: int) -> None:
    dice = random.Random(seed)
    names = [*sorted(ACTS), *["call", "send", "succeed", "finish", "start_thread", "score"] * 3]
    acts = [(dice.choice(names), dice.choice(STEPS_S[:-2]), dice.randrange(1000)) for _ in range(700)]

    history = write_history(acts)
    history.roll()

    assert_true(history)


@pytest.mark.parametrize("seed", range(4))
def test_the_models_running_sums_are_those_of_all_hours(seed: int) -> None:
    dice = random.Random(seed)
    acts = [(dice.choice(sorted(ACTS)), dice.choice(STEPS_S), dice.randrange(1000)) for _ in range(500)]
    history = write_history(acts)
    history.roll()
    responses = read_everything(history).responses

    for name, stats in history.store.model_stats().items():
        first = [
            (r.domain, r.selection_score)
            for r in responses
            if r.model_name == name
            and r.role == "primary"
            and r.purpose != "assessment"
            and r.status == "completed"
            and r.selection_score is not None
        ]
        assert {domain: tally.count for domain, tally in stats.first_answers.items()} == {
            domain: sum(each == domain for each, _ in first) for domain in {each for each, _ in first}
        }
        for domain, tally in stats.first_answers.items():
            scores = [score for each, score in first if each == domain]
            assert tally.mean == pytest.approx(sum(scores) / len(scores))
        months = history.store.metrics("monthly", limit=1000)
        assert stats.requests == sum(m.model_usage_stats[name].attempts for m in months if name in m.model_usage_stats)
        assert stats.tokens == sum(
            m.model_usage_stats[name].total_tokens for m in months if name in m.model_usage_stats
        )
