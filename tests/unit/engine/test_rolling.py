"""Whatever happened, and however late: the windows say what all documents say, counted slowly."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
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
from orchestratex.errors import ProviderOverloadedError, ProviderTimeoutError
from orchestratex.providers.base import CompletionRequest
from orchestratex.steps.measure import measure
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.rolling import roll_range
from orchestratex.store.memory import MemoryStore
from tests.histories import ACTS, STEPS_S, History, StillClock
from tests.make import make_profile
from tests.recount import Everything, recount, window_of
from tests.support import World, answer_by_rule

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
                assert (period, window_of(period, moment)[0]) in known


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


# -- what is due

HOUR_S = 3600
ONE_THREAD: list[Act] = [
    ("open_session", 0, 0),
    ("start_thread", 1, 0),
    ("call", 0, 0),
    ("send", 0, 0),
    ("succeed", 1, 1),
    ("score", 0, 6),
    ("finish", 1, 1),
    ("end_session", 1, 0),
]


def write_month() -> History:
    """A thread every seven or eight hours, in three weeks in which nobody rolled anything up."""
    history = write_history(ONE_THREAD)
    for number in range(1, 61):
        for name, seconds, _ in ONE_THREAD:
            history.act(name, 7 * HOUR_S + 60 * number if name == "open_session" else seconds, number)
    return history


def test_missed_hours_are_caught_up_with_bounded_work_a_run() -> None:
    history = write_month()
    history.clock.move(HOUR_S)

    first = measure(history.services, limit=20)
    shown = [profile.performance_metrics.total_requests for profile in history.store.profiles()]
    rest = [measure(history.services, limit=20) for _ in range(5)]

    assert not first.is_caught_up
    assert 20 < len(first.hours) <= 2 * 20 + 1  # missed ones, marked ones, and the open one
    assert shown == [0, 0, 0]  # half a history says nothing about a model
    assert rest[-1].is_caught_up
    months = history.store.metrics("monthly", limit=9)
    attempts = sum(model.attempts for month in months for model in month.model_usage_stats.values())
    assert sum(profile.performance_metrics.total_requests for profile in history.store.profiles()) == attempts > 40
    assert_true(history)


def test_a_run_that_dies_half_way_is_made_good_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    history = write_month()
    put, puts = history.store.put_window, iter(range(1000))

    def fail(*arguments: Any, **options: Any) -> Any:
        if next(puts) == 3:
            raise RuntimeError("killed")
        return put(*arguments, **options)

    with monkeypatch.context() as broken:
        broken.setattr(history.store, "put_window", fail)
        with pytest.raises(RuntimeError, match="killed"):
            measure(history.services)
    history.roll()

    assert_true(history)


LATE: dict[str, Callable[[History], None]] = {
    "rating": lambda h: h.store.set_session(h.sessions[42], {"user_satisfaction": 9}),
    "acceptance": lambda h: h.store.set_thread(h.threads[42], {"user_accepted": True}),
    "score": lambda h: h.store.update_evaluated(h.responses[42], {"selection_score": 1.5}),
}


@pytest.mark.parametrize("late", LATE)
def test_late_data_changes_the_windows_that_hold_it_and_no_others(late: str) -> None:
    history = write_month()
    history.roll()
    history.clock.move(2 * HOUR_S)
    history.roll()
    before = {window.id: window for window in read_windows(history)}
    moment = history.store.get_thread(history.threads[42]).completed_at

    LATE[late](history)
    history.roll()

    changed = [window for window in read_windows(history) if window != before.get(window.id)]
    assert sorted(window.time_period for window in changed) == sorted(Period)
    assert moment is not None
    assert {window.metric_date for window in changed} == {window_of(period, moment)[0] for period in Period}
    assert_true(history)


def test_a_thread_that_is_taken_up_again_leaves_the_hour_in_which_it_had_ended() -> None:
    history = write_history(ONE_THREAD)
    history.clock.move(3 * HOUR_S)
    history.roll()

    history.act("retry", 0, 0)
    history.roll()
    windows = history.store.metrics("hourly", limit=10)

    assert [(window.total_threads, window.total_sessions) for window in windows] == [(0, 0), (0, 0)]
    assert [window.system_health.peak_concurrent_sessions for window in windows] == [1, 1]
    assert_true(history)


def test_a_history_that_is_brought_in_from_before_is_rolled_up() -> None:
    history = write_history([("open_session", 30 * HOUR_S, 0), ("end_session", 60, 0)])
    history.roll()
    older = write_month()
    assert isinstance(history.store, MemoryStore)
    assert isinstance(older.store, MemoryStore)
    for kind in (Session, Thread, Response, Selection, CriticismResponse):  # as a restore does: past the store's verbs
        history.store._tables[kind].update(older.store._tables[kind])
    history.clock.now = older.clock.now

    history.roll()

    assert_true(history)


def test_hours_whose_documents_are_gone_stay_as_they_are() -> None:
    history = write_month()
    history.roll()
    before = {window.id: window for window in read_windows(history)}
    early = history.store.get_thread(history.threads[42]).completed_at
    assert early is not None

    history.store.close_hours(early + timedelta(hours=1))
    history.store.set_thread(history.threads[42], {"user_accepted": True})
    history.store.set_thread(history.threads[54], {"user_accepted": True})
    history.roll()
    again = roll_range(early - timedelta(days=3), early, history.services)

    changed = {window.metric_date for window in read_windows(history) if window != before.get(window.id)}
    assert changed
    assert all(start >= early or start + timedelta(days=31) > early for start in changed)
    assert history.store.get_window(Period.HOURLY, early.replace(minute=0, second=0, microsecond=0)) in before.values()
    assert again.hours == []
    assert history.store.due_marks(limit=10) == [] or all(
        mark.hour > early for mark in history.store.due_marks(limit=9)
    )


def test_a_range_is_rolled_up_again_whether_or_not_it_is_due() -> None:
    history = write_month()
    history.roll()
    thread = history.store.get_thread(history.threads[42])
    assert isinstance(history.store, MemoryStore)
    assert thread.completed_at is not None
    changed = thread.model_copy(update={"user_accepted": True})
    history.store._tables[Thread][thread.id] = changed  # by another program, past the store's verbs
    assert history.roll() == 0

    rolled = roll_range(thread.completed_at - timedelta(days=1), thread.completed_at, history.services)

    assert {period: len(starts) for period, starts in rolled.changed.items()} == dict.fromkeys(Period, 1)
    assert_true(history)


def test_models_that_come_later_are_not_put_into_what_is_past() -> None:
    history = write_history(ONE_THREAD)
    history.clock.move(HOUR_S)
    history.roll()
    history.store.insert_profiles([make_profile("newcomer")])
    history.store.set_thread(history.threads[0], {"user_accepted": True})

    history.roll()

    now, past = history.store.metrics("hourly", limit=2)
    assert "newcomer" not in past.model_usage_stats
    assert past.quality_metrics.user_satisfaction_rate == 1
    assert "newcomer" in history.store.metrics("hourly", limit=1)[0].model_usage_stats
    assert now.metric_date > past.metric_date


def test_attempts_are_counted_as_they_are_sent() -> None:
    """What providers were asked is what the windows and the profiles count; what waits or is refused unsent is not."""
    dice = random.Random(3)

    def reply(request: CompletionRequest) -> str:
        chance = dice.random()
        if chance < 0.15:
            raise ProviderOverloadedError(request.model_name, "busy")
        if chance < 0.2:
            raise ProviderTimeoutError(request.model_name, "no answer")
        return answer_by_rule(request)

    world = World(reply)
    for _ in range(12):
        world.submit("What is a monad?", max_iterations=2)
    for _ in range(40):
        world.run()
        world.clock.pass_time(60)
        reconcile(world.services)
    while not (rolled := measure(world.services)).is_caught_up:
        assert rolled.hours

    asked = Counter(request.model_name for request in world.provider.requests)
    months = world.store.metrics("monthly", limit=2)
    counted: Counter[str] = Counter()
    for month in months:
        counted.update({name: model.attempts for name, model in month.model_usage_stats.items()})
    failed = sum(model.failed_attempts for month in months for model in month.model_usage_stats.values())
    profiles = {profile.model_name: profile.performance_metrics for profile in world.store.profiles()}

    assert +counted == asked
    assert 0 < failed < asked.total()
    assert {name: shown.total_requests for name, shown in profiles.items() if shown.total_requests} == asked
    assert months[0].system_health.error_rate == pytest.approx(failed / asked.total())
