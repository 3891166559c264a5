"""What the stores promise of windows, running sums and hours that changed late."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from orchestratex.domain.base import CostSource, Domain, Period, ResponseStatus, SessionStatus, ThreadStatus
from orchestratex.domain.metrics import Metrics
from orchestratex.domain.response import AttemptCost
from orchestratex.domain.sums import DomainSums, ModelSums, Sums, Tally
from orchestratex.rules.windows import make_window
from orchestratex.store.base import Store, Written
from orchestratex.store.memory import MemoryStore
from orchestratex.store.mongo import MongoStore
from tests.contract.test_store import at_once
from tests.histories import ACTS, BEGIN, STEPS_S, History, StillClock
from tests.make import NOW, make_answer, make_metrics, make_session, make_thread

HOUR = timedelta(hours=1)
LONG = 600.0


def make_hour(start: datetime = NOW, **fields: Any) -> Metrics:
    return make_window(Period.HOURLY, start, Sums(**fields), now=NOW + 100 * HOUR)


def put(store: Store, window: Metrics) -> Written:
    known = store.get_window(window.time_period, window.metric_date)
    return store.put_hour(window, seen=known.rolls if known else None)


def peaks(store: Store) -> list[int]:
    return [m.system_health.peak_concurrent_sessions for m in reversed(store.metrics("hourly", limit=100))]


# -- windows


def test_a_window_replaces_the_one_before_and_keeps_its_id(store: Store) -> None:
    put(store, make_hour(threads=1))
    put(store, make_hour(NOW + HOUR))
    store.put_window(make_metrics(time_period="daily", sums=Sums()), seen=None)

    written = put(store, make_hour(threads=2))

    hourly = store.metrics("hourly", limit=5)
    assert written is Written.WRITTEN
    assert [(m.metric_date, m.total_threads, m.rolls) for m in hourly] == [(NOW + HOUR, 0, 1), (NOW, 2, 2)]
    assert len(store.metrics("hourly", limit=1)) == 1


def test_what_changes_nothing_is_not_written(store: Store) -> None:
    put(store, make_hour(threads=1))
    before = store.get_window(Period.HOURLY, NOW)

    again = make_hour(threads=1).model_copy(update={"updated_at": NOW + 200 * HOUR})

    assert put(store, again) is Written.SAME
    assert store.get_window(Period.HOURLY, NOW) == before


@pytest.mark.parametrize("period", [Period.HOURLY, Period.DAILY])
def test_who_read_before_somebody_else_wrote_is_refused(store: Store, period: Period) -> None:
    def write(threads: int, seen: int | None) -> Written:
        window = make_window(period, NOW, Sums(threads=threads), now=NOW)
        return (store.put_hour if period is Period.HOURLY else store.put_window)(window, seen=seen)

    first, late, second = write(1, None), write(2, None), write(3, 1)
    again = write(4, 1)

    assert [first, late, second, again] == [Written.WRITTEN, Written.LOST, Written.WRITTEN, Written.LOST]
    window = store.get_window(period, NOW)
    assert window is not None
    assert (window.total_threads, window.rolls) == (3, 2)


def test_one_window_written_by_many_at_once_is_written_once(store: Store) -> None:
    model = {"m": ModelSums(attempts=1)}
    results = at_once(8, lambda number: store.put_hour(make_hour(threads=number, models=model), seen=None))

    assert sorted(results) == [Written.LOST] * 7 + [Written.WRITTEN]
    assert len(store.metrics("hourly", limit=20)) == 1
    assert store.model_stats()["m"].requests == 1


def test_a_window_of_an_older_version_is_replaced(store: Store, request: pytest.FixtureRequest) -> None:
    store.put_window(make_metrics(), seen=None)
    if isinstance(store, MongoStore):
        store.database["algorithm_metrics"].update_one({}, {"$unset": {"sums": 1, "rolls": 1, "open_sessions": 1}})
    known = store.get_window(Period.HOURLY, NOW)
    assert known is not None

    written = put(store, make_hour(threads=3))

    window = store.get_window(Period.HOURLY, NOW)
    assert written is Written.WRITTEN
    assert window is not None
    assert (window.id, window.total_threads, window.sums) == (known.id, 3, Sums(threads=3))


def test_windows_are_listed_by_their_start_and_the_end_is_open(store: Store) -> None:
    for hours in range(5):
        put(store, make_hour(NOW + hours * HOUR))

    within = store.windows_between(Period.HOURLY, NOW + HOUR, NOW + 3 * HOUR)
    shown = store.metrics("hourly", since=NOW + HOUR, until=NOW + 4 * HOUR, limit=2)

    assert [window.metric_date for window in within] == [NOW + HOUR, NOW + 2 * HOUR]
    assert [window.metric_date for window in shown] == [NOW + 3 * HOUR, NOW + 2 * HOUR]
    assert store.windows_between(Period.DAILY, NOW, NOW + 3 * HOUR) == []


# -- how many sessions are open


def test_sessions_stay_open_from_window_to_window(store: Store) -> None:
    put(store, make_hour(opened=3, sessions=1, peak_rise=3))
    put(store, make_hour(NOW + 5 * HOUR, sessions=1))
    put(store, make_hour(NOW + 6 * HOUR, opened=1, peak_rise=1))

    assert peaks(store) == [3, 2, 2]


def test_windows_that_begin_later_learn_that_more_sessions_were_open(store: Store) -> None:
    put(store, make_hour(NOW + 2 * HOUR, sessions=1, peak_rise=-1))
    put(store, make_hour(NOW + 4 * HOUR, opened=1, peak_rise=1))
    later = make_window(Period.DAILY, NOW + timedelta(days=1), Sums(), now=NOW)
    store.put_window(later, seen=None)

    put(store, make_hour(opened=1, peak_rise=1))
    put(store, make_hour(NOW + HOUR, opened=4, sessions=1, peak_rise=4))

    day = store.get_window(Period.DAILY, later.metric_date)
    assert peaks(store) == [1, 5, 3, 4]
    assert day is not None
    assert (day.open_sessions, day.system_health.peak_concurrent_sessions, day.rolls) == (4, 4, 3)


# -- running sums


def test_running_sums_move_by_what_a_window_changes(store: Store) -> None:
    scores = Tally(total=15_000_000_000, count=2)
    domains = {Domain.CODING: DomainSums(first_answers={"gpt-4.1": scores})}
    model = ModelSums(attempts=4, returned=3, latency_s=Tally(total=600_000_000, count=3), tokens=90, score=scores)
    put(store, make_hour(models={"gpt-4.1": model}, domains=domains))
    put(store, make_hour(NOW + HOUR, models={"gpt-4.1": ModelSums(attempts=1), "b": ModelSums(tokens=1)}))

    before = store.model_stats()["gpt-4.1"]
    put(store, make_hour(models={"gpt-4.1": ModelSums(attempts=3)}))
    after = store.model_stats()["gpt-4.1"]

    assert (before.requests, before.success_rate, before.tokens) == (5, 0.6, 90)
    assert (before.average_response_time, before.average_quality) == (200, 7.5)
    assert before.first_answers == {"coding": scores}
    assert (after.requests, after.tokens, after.average_quality, after.first_answers) == (4, 0, None, {})


# -- hours that changed late

Change = Callable[[Store], object]
ENDED = {"thread_status": ThreadStatus.COMPLETED, "completed_at": NOW, "due_step": None}
SESSION = make_session(session_end=NOW + 2 * HOUR, status=SessionStatus.COMPLETED)
THREAD = make_thread(session_id=SESSION.id, **ENDED)
ESTIMATE = AttemptCost(nanos=1, source=CostSource.ESTIMATED)
ANSWER = make_answer(
    session_id=SESSION.id,
    thread_id=THREAD.id,
    timestamp=NOW + HOUR,
    attempt=1,
    lease_token="held",
    attempt_costs={"1": ESTIMATE},
)
LATE: dict[str, tuple[Change, set[int]]] = {  # hours from NOW that are marked
    "a rating": (lambda s: s.set_session(SESSION.id, {"user_satisfaction": 5}), {0, 2}),
    "an acceptance": (lambda s: s.set_thread(THREAD.id, {"user_accepted": True}), {0}),
    "a retry": (lambda s: s.move_thread(THREAD, {"completed_at": None, "due_step": "select"}), {0}),
    "a session that goes on": (lambda s: s.reopen_session(SESSION.id), {2}),
    "an end with threads that are cancelled": (
        lambda s: s.set_session(SESSION.id, {"status": SessionStatus.TERMINATED}),
        {2},
    ),
    "an answer that comes late": (lambda s: s.complete_response(ANSWER, {"status": ResponseStatus.COMPLETED}), {1}),
    "an attempt that fails late": (lambda s: s.update_response(ANSWER, {"sent_at": None}, is_release=True), {1}),
    "a price that becomes known": (lambda s: s.amend_attempt(ANSWER.id, 1, ESTIMATE), {1}),
    "a score": (lambda s: s.update_evaluated(ANSWER.id, {"selection_score": 7.0}), {1}),
    "a charge to an ended session": (lambda s: s.settle(SESSION.id, "held", 5), {2}),
    "a charge that is put right": (lambda s: s.amend_estimate(SESSION.id, "guess", 5), {2}),
    "a session that ends late": (
        lambda s: s.insert_session(make_session(session_start=NOW + HOUR, session_end=NOW + 3 * HOUR)),
        {1, 3},
    ),
    "threads that are brought in": (lambda s: s.insert_threads([make_thread(**ENDED)]), {0}),
    "calls that are brought in": (lambda s: s.insert_responses([make_answer(timestamp=NOW + HOUR)]), {1}),
    "an acceptance of nobody's": (lambda s: s.set_thread(ObjectId(), {"user_accepted": True}), set()),
    "a thread's totals": (lambda s: s.set_thread(THREAD.id, {"total_tokens_used": 5}), set()),
    "an answer's assessment": (lambda s: s.update_evaluated(ANSWER.id, {"confidence_score": 5.0}), set()),
    "a day's budget": (lambda s: s.settle("day", "held", 5), set()),
}


def clear_all(store: Store) -> None:
    for mark in store.due_marks(limit=100):
        store.clear_mark(mark, is_closed=True)
    if isinstance(store, MongoStore):
        store._noted = {}  # what it marked a moment ago it would not mark again


@pytest.mark.parametrize("change", LATE)
def test_what_changes_after_an_hours_end_marks_the_hour(store: Store, change: str) -> None:
    money: Any = {"total_cost_nanos": 1, "held_nanos": 9, "reservations": {"held": 9}, "estimates": {"guess": 1}}
    store.insert_session(SESSION.model_copy(update=money))
    store.insert_threads([THREAD])
    store.insert_responses([ANSWER])
    clear_all(store)
    act, hours = LATE[change]

    act(store)

    assert {mark.hour for mark in store.due_marks(limit=100)} == {NOW + each * HOUR for each in hours}


def test_what_happens_now_marks_nothing(store: Store, clock: Callable[[], datetime]) -> None:
    now = datetime.now(tz=NOW.tzinfo) if isinstance(store, MongoStore) else clock()
    store.insert_session(make_session(session_start=now))
    store.insert_responses([make_answer(timestamp=now)])

    assert store.due_marks(limit=100) == []


def test_a_young_mark_stays_due(store: Store) -> None:
    store.insert_responses([make_answer()])
    (mark,) = store.due_marks(limit=10)

    store.clear_mark(mark)

    assert [each.hour for each in store.due_marks(limit=10)] == [mark.hour]


def test_an_older_mark_waits_until_what_it_announced_has_surely_come(store: Store) -> None:
    store.insert_responses([make_answer()])
    (mark,) = store.due_marks(limit=10)

    store.clear_mark(mark.model_copy(update={"age_s": 60.0}))
    if isinstance(store, MongoStore):
        waiting: Any = store.database["rollup_hours"].find_one()
        assert waiting["due_at"] - waiting["changed_at"] == timedelta(minutes=10)

    assert store.due_marks(limit=10) == []


def test_a_mark_that_is_old_enough_goes(store: Store) -> None:
    store.insert_responses([make_answer()])
    (mark,) = store.due_marks(limit=10)

    store.clear_mark(mark.model_copy(update={"age_s": 601.0}))

    assert store.due_marks(limit=10) == []
    if isinstance(store, MongoStore):
        assert store.database["rollup_hours"].count_documents({}) == 0


def test_a_mark_that_came_again_meanwhile_stays(store: Store) -> None:
    store.insert_responses([make_answer()])
    (mark,) = store.due_marks(limit=10)
    earlier = mark.model_copy(update={"changed_at": mark.changed_at - HOUR, "age_s": 3600.0})

    store.clear_mark(earlier)

    assert store.due_marks(limit=10) == [mark] or store.due_marks(limit=10)[0].changed_at == mark.changed_at


# -- how far it has come


def test_how_far_it_has_come_is_kept(store: Store) -> None:
    assert store.rollup_state().settled_until is None

    store.settle_rollup(rolled_from=NOW, settled_until=NOW + HOUR)
    store.close_hours(NOW + timedelta(minutes=90))
    store.close_hours(NOW)

    state = store.rollup_state()
    assert (state.rolled_from, state.settled_until, state.closed_until) == (NOW, NOW + HOUR, NOW + HOUR)


def test_the_next_moment_is_that_of_whatever_comes_first(store: Store) -> None:
    store.insert_session(make_session(session_start=NOW + HOUR, session_end=NOW + 5 * HOUR))
    store.insert_threads([make_thread(**{**ENDED, "completed_at": NOW + 3 * HOUR}), make_thread()])
    store.insert_responses([make_answer(timestamp=NOW + 2 * HOUR)])

    found, since = [], NOW
    while (moment := store.next_activity(since)) is not None:
        found.append(moment)
        since = moment + timedelta(milliseconds=1)

    assert found == [NOW + each * HOUR for each in (1, 2, 3, 5)]


# -- all together


@pytest.mark.integration
def test_both_stores_roll_a_history_up_to_the_same(mongo_store: MongoStore) -> None:
    dice = random.Random(1)
    names = [*sorted(ACTS), *["call", "send", "succeed", "finish", "start_thread", "score"] * 3]
    acts = [(dice.choice(names), dice.choice(STEPS_S[:-2]), dice.randrange(1000)) for _ in range(120)]
    mongo_store.database["ai_model_profiles"].delete_many({})

    def tell(store: Store) -> list[Any]:
        history = History(store, StillClock(BEGIN - timedelta(days=2 * 365)))  # long before the server's own clock
        for name, seconds, number in acts:
            history.act(name, seconds, number)
        history.roll()
        windows = [window for period in Period for window in store.metrics(period, limit=100_000)]
        assert history.roll() == 0
        return [window.model_dump(exclude={"updated_at", "rolls"}) for window in windows]

    in_memory = MemoryStore(StillClock())

    for ours, theirs in zip(tell(mongo_store), tell(in_memory), strict=True):
        assert {k: v for k, v in ours.items() if v != theirs[k]} == {k: v for k, v in theirs.items() if v != ours[k]}
