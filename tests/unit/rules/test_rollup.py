from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from orchestratex.domain.base import (
    Domain,
    Period,
    Purpose,
    ResponseStatus,
    ResponseType,
    Role,
    SelectionPhase,
    SessionStatus,
    Strategy,
    ThreadStatus,
)
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.metrics import Metrics
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.rules.periods import end_period, start_period
from orchestratex.rules.rollup import Rollup
from orchestratex.rules.windows import make_window

START = datetime(2025, 3, 1, 10, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def make_session(begin: float = 0, end: float | None = 30, **fields: Any) -> Session:
    values: dict[str, Any] = {
        "user_id": "u",
        "session_start": at(begin),
        "session_end": None if end is None else at(end),
        "status": SessionStatus.ACTIVE if end is None else SessionStatus.COMPLETED,
        "created_at": at(begin),
        "updated_at": at(begin),
    }
    return Session(**{**values, **fields})


def make_thread(session: Session, completed: float | None = 20, **fields: Any) -> Thread:
    values: dict[str, Any] = {
        "session_id": session.id,
        "original_prompt": "p",
        "domain": Domain.MATH,
        "thread_status": ThreadStatus.INITIALIZING if completed is None else ThreadStatus.COMPLETED,
        "completed_at": None if completed is None else at(completed),
        "created_at": at(0),
        "updated_at": at(0),
    }
    return Thread(**{**values, **fields})


def make_response(thread: Thread, model: str = "a", minute: float = 10, **fields: Any) -> Response:
    values: dict[str, Any] = {
        "thread_id": thread.id,
        "session_id": thread.session_id,
        "iteration_number": 1,
        "model_name": model,
        "role": Role.PRIMARY,
        "response_type": ResponseType.INITIAL,
        "status": ResponseStatus.COMPLETED,
        "purpose": Purpose.ANSWER,
        "timestamp": at(minute),
        "sent_at": at(minute),
    }
    return Response(**{**values, **fields})


def make_selection(thread: Thread, model: str = "a", **fields: Any) -> Selection:
    values: dict[str, Any] = {
        "thread_id": thread.id,
        "session_id": thread.session_id,
        "iteration_number": 1,
        "selection_phase": SelectionPhase.INITIAL,
        "algorithm_version": "1",
        "selection_strategy": Strategy.HYBRID,
        "candidates_considered": [],
        "selected_model": model,
        "selection_confidence": 5,
        "primary_selection_factors": [],
        "timestamp": at(1),
        "selection_time": 1,
    }
    return Selection(**{**values, **fields})


def make_criticism(thread: Thread, score: float | None) -> CriticismResponse:
    texts = ("acknowledgment", "disagreement", "clarifications", "revised_answer", "explanation_of_changes")
    return CriticismResponse(
        **dict.fromkeys((*texts, "rebuttal_points", "alternative_interpretations"), ""),
        thread_id=thread.id,
        session_id=thread.session_id,
        original_response_id=ObjectId(),
        criticism_evaluation_ids=[],
        responding_model="a",
        iteration_number=2,
        specific_improvements=[],
        criticism_processing_time=0,
        response_generation_time=0,
        total_tokens_used=0,
        cost=0,
        improvement_score=score,
        timestamp=at(5),
    )


def roll(
    *,
    period: Period = Period.HOURLY,
    sessions: Sequence[Session] = (),
    threads: Iterable[Thread] = (),
    responses: Iterable[Response] = (),
    selections: Iterable[Selection] = (),
    criticisms: Iterable[CriticismResponse] = (),
    models: Iterable[str] = (),
    probes: int = 0,
    probes_passed: int = 0,
) -> Metrics:
    rollup = Rollup(START, end_period(period, START), model_names=models)
    ratings = {session.id: session.user_satisfaction for session in sessions}
    for session in sessions:
        rollup.add_start(session)
        rollup.add_end(session)
    for thread in threads:
        rollup.add_thread(thread, ratings.get(thread.session_id))
    for response in responses:
        rollup.add_response(response)
    for selection in selections:
        rollup.add_selection(selection)
    for criticism in criticisms:
        rollup.add_criticism(criticism)
    for number in range(probes):
        rollup.add_probe(passed=number < probes_passed)
    return make_window(period, START, rollup.result(), now=at(61))


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        (Period.HOURLY, datetime(2024, 12, 31, 23, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
        (Period.DAILY, datetime(2024, 12, 31, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
        (Period.WEEKLY, datetime(2024, 12, 30, tzinfo=UTC), datetime(2025, 1, 6, tzinfo=UTC)),
        (Period.MONTHLY, datetime(2024, 12, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
    ],
)
def test_windows_follow_the_calendar(period: Period, start: datetime, end: datetime) -> None:
    assert start_period(period, datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)) == start
    assert end_period(period, start) == end


def test_months_have_their_own_length() -> None:
    assert end_period(Period.MONTHLY, datetime(2024, 2, 1, tzinfo=UTC)) == datetime(2024, 3, 1, tzinfo=UTC)


def test_an_empty_window_counts_zero_and_knows_no_means() -> None:
    metrics = roll(models=["a", "b"])

    assert (metrics.total_sessions, metrics.total_threads, metrics.cost_efficiency.total_cost) == (0, 0, 0)
    assert metrics.average_session_duration is None
    assert set(metrics.quality_metrics.model_dump().values()) == {None}
    assert set(metrics.domain_performance) == {domain.value for domain in Domain}
    assert set(metrics.model_usage_stats) == {"a", "b"}
    assert metrics.model_usage_stats["a"].success_rate is None
    assert metrics.system_health.uptime_percentage is None


def test_rolling_up_again_is_the_same_document() -> None:
    assert roll().id == roll().id != roll(period=Period.DAILY).id


def test_sessions_count_where_they_end() -> None:
    sessions = [
        make_session(-10, 0),
        make_session(0, 20, status=SessionStatus.ERROR),
        make_session(0, 59.99, status=SessionStatus.TERMINATED),
        make_session(0, 60),
        make_session(0, None),
    ]

    metrics = roll(sessions=sessions)

    assert (metrics.total_sessions, metrics.successful_sessions, metrics.failed_sessions) == (3, 1, 1)
    assert metrics.average_session_duration == pytest.approx((10 + 20 + 59.99) / 3, abs=0.01)


def test_threads_count_where_they_complete() -> None:
    session = make_session(user_satisfaction=8)
    threads = [
        make_thread(
            session, 0, current_iteration=3, max_iterations_reached=True, best_model_id="a", user_accepted=True
        ),
        make_thread(session, 30, best_model_id="b", final_quality_score=9, user_accepted=False),
        make_thread(session, 30, best_model_id="b", final_quality_score=7),
        make_thread(session, 30, thread_status=ThreadStatus.FAILED, domain=Domain.CODING),
        make_thread(session, 60),
        make_thread(session, None),
    ]

    metrics = roll(sessions=[session], threads=threads)

    assert metrics.total_threads == 4
    assert metrics.average_iterations_per_thread == 1.5
    assert (metrics.max_iterations_reached_count, metrics.early_termination_count) == (1, 2)
    assert metrics.domain_performance["math"].average_satisfaction == 8
    assert metrics.domain_performance["coding"].total_requests == 1
    assert metrics.quality_metrics.average_final_score == 8
    assert metrics.quality_metrics.user_satisfaction_rate == 0.5


def test_money_counts_when_the_call_was_made() -> None:
    session = make_session(total_cost_nanos=5_000_000_000)
    thread = make_thread(session)
    responses = [
        make_response(thread, "a", cost_nanos=100_000_000, selection_score=6, response_time=100),
        make_response(thread, "b", cost_nanos=300_000_000, selection_score=8, response_time=300),
        make_response(thread, "b", role=Role.EVALUATOR, response_type=ResponseType.EVALUATION, cost_nanos=200_000_000),
        make_response(thread, "a", status=ResponseStatus.FAILED, cost_nanos=1),
        make_response(thread, "a", status=ResponseStatus.SUPERSEDED, sent_at=None),
        make_response(thread, "a", minute=60, cost_nanos=7_000_000_000),
    ]

    metrics = roll(sessions=[session], threads=[thread], responses=responses, probes=4, probes_passed=3)

    cost = metrics.cost_efficiency
    assert cost.total_cost == pytest.approx(0.600000001)
    assert cost.cost_per_session == 5
    assert cost.cost_per_successful_response == pytest.approx(0.3)
    assert cost.most_cost_effective_model == "a"
    assert metrics.model_usage_stats["a"].success_rate == 0.5
    assert metrics.model_usage_stats["b"].average_score == 8
    assert metrics.model_usage_stats["b"].total_cost == 0.5
    assert metrics.system_health.average_response_time == 200
    assert metrics.system_health.error_rate == 0.25
    assert metrics.system_health.uptime_percentage == 75


def test_selections_and_criticisms_count_with_their_thread() -> None:
    session = make_session()
    thread, later = make_thread(session), make_thread(session, 90)
    selections = [
        make_selection(thread, selection_accuracy_score=0.5),
        make_selection(thread, selection_phase=SelectionPhase.REFINEMENT, selection_accuracy_score=1.0),
        make_selection(thread, selection_phase=SelectionPhase.FINAL),
        make_selection(later, selection_accuracy_score=0.0),
    ]
    criticisms = [make_criticism(thread, score) for score in (7.0, 5.5, None)] + [make_criticism(later, 9.0)]

    metrics = roll(sessions=[session], threads=[thread, later], selections=selections, criticisms=criticisms)

    assert metrics.model_usage_stats["a"].times_selected == 2
    assert metrics.quality_metrics.selection_accuracy == 0.75
    assert metrics.quality_metrics.criticism_improvement_rate == 0.5


@pytest.mark.parametrize(
    ("spans", "before", "peak"),
    [
        ([], 0, 0),
        ([], 2, 2),
        ([(0, 10), (10, 20)], 0, 1),
        ([(0, 10), (9, 20), (5, 7)], 0, 2),
        ([(-50, None), (-5, 70), (59, None)], 2, 3),
        ([(-50, -10), (60, 70), (-5, 0)], 1, 0),
        ([(-50, 0), (0, 5)], 1, 1),
        ([(-50, 0), (7, 7)], 1, 0),
        ([(-50, 1)], 1, 1),
    ],
)
def test_peak_is_the_most_sessions_open_at_once(
    spans: list[tuple[float, float | None]], before: int, peak: int
) -> None:
    metrics = roll(sessions=[make_session(*span) for span in spans]).follow(before)

    assert metrics.system_health.peak_concurrent_sessions == peak


FAILED = {"status": ResponseStatus.FAILED}


@pytest.mark.parametrize(
    ("fields", "attempts", "returned"),
    [
        ({"attempts_sent": 1}, 1, 1),
        ({"attempts_sent": 3}, 3, 1),
        ({"attempts_sent": 3, **FAILED}, 3, 0),
        ({"attempts_sent": 1, "finish_reason": "stop", **FAILED}, 1, 1),
        ({"attempts_sent": None, "sent_at": None, **FAILED}, 0, 0),
        ({"attempts_sent": 1, "status": ResponseStatus.PENDING, "lease_token": "t"}, 0, 0),
        ({"attempts_sent": 2, "status": ResponseStatus.SUPERSEDED, "lease_token": "t"}, 1, 0),
        ({"attempts_sent": 2, "status": ResponseStatus.PENDING, "sent_at": None}, 2, 0),
        ({"attempts_sent": 2, "status": ResponseStatus.SUPERSEDED, "finish_reason": "stop"}, 2, 1),
        ({"sent_at": None}, 1, 1),
    ],
    ids=[
        "answered at once",
        "answered at the third attempt",
        "never answered",
        "came back and could not be read",
        "failed before it was sent",
        "under way",
        "under way for the second time and wanted no longer",
        "waits for another attempt",
        "came too late",
        "of an older version",
    ],
)
def test_errors_are_counted_by_the_attempts_that_were_sent(
    fields: dict[str, Any], attempts: int, returned: int
) -> None:
    metrics = roll(responses=[make_response(make_thread(make_session()), **fields)])

    model = metrics.model_usage_stats["a"]
    assert (model.attempts, model.failed_attempts) == (attempts, attempts - returned)
    assert model.success_rate == (returned / attempts if attempts else None)
    failed = (attempts - returned) / attempts if attempts else None
    assert metrics.system_health.error_rate == model.error_rate == failed


def make_first_answers(**scores: list[float]) -> list[Response]:
    thread = make_thread(make_session())
    return [
        make_response(thread, model, selection_score=score, domain=Domain.MATH)
        for model, values in scores.items()
        for score in values
    ]


def test_models_are_preferred_by_the_mean_score_of_three_first_answers_or_more() -> None:
    thread = make_thread(make_session())
    answers = make_first_answers(a=[6, 6, 6, 6, 6], b=[9, 9], c=[7, 8, 9], d=[5, 5, 5], e=[8, 8, 8, 8])
    revision: dict[str, Any] = {"role": Role.REFINER, "response_type": ResponseType.IMPROVEMENT}
    others = [
        make_response(thread, "b", selection_score=9, domain=Domain.MATH, **revision),
        make_response(thread, "b", selection_score=9, domain=Domain.CODING),
        make_response(thread, "b", domain=Domain.MATH, purpose=Purpose.ASSESSMENT),
    ]

    metrics = roll(responses=[*answers, *others])

    assert metrics.domain_performance["math"].preferred_models == ["e", "c", "a"]
    assert metrics.domain_performance["coding"].preferred_models == []


def test_an_assessment_is_no_answer() -> None:
    answer, assessment = (
        make_response(make_thread(make_session()), purpose=purpose, cost_nanos=1_000_000_000)
        for purpose in (Purpose.ANSWER, Purpose.ASSESSMENT)
    )

    metrics = roll(responses=[answer, assessment])

    assert metrics.cost_efficiency.cost_per_successful_response == 2
    assert metrics.model_usage_stats["a"].answers == 1


@pytest.mark.parametrize(
    ("moment", "week", "month"),
    [
        ("2026-12-31T23:59:59.999+00:00", "2026-12-28", "2026-12-01"),
        ("2027-01-01T00:00:00+00:00", "2026-12-28", "2027-01-01"),
        ("2027-01-04T00:00:00+00:00", "2027-01-04", "2027-01-01"),
        ("2024-12-30T00:00:00+00:00", "2024-12-30", "2024-12-01"),
        ("2021-01-03T23:59:00+00:00", "2020-12-28", "2021-01-01"),
        ("2026-03-29T03:30:00+02:00", "2026-03-23", "2026-03-01"),
        ("2026-11-02T00:30:00+01:00", "2026-10-26", "2026-11-01"),
    ],
)
def test_weeks_are_those_of_iso_and_days_those_of_utc(moment: str, week: str, month: str) -> None:
    when = datetime.fromisoformat(moment)

    assert start_period(Period.WEEKLY, when) == datetime.fromisoformat(week).replace(tzinfo=UTC)
    assert start_period(Period.MONTHLY, when) == datetime.fromisoformat(month).replace(tzinfo=UTC)
    assert start_period(Period.DAILY, when) == when.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.parametrize("period", Period)
def test_windows_follow_each_other_without_gap_or_overlap(period: Period) -> None:
    start = start_period(period, datetime(2026, 2, 27, 5, tzinfo=UTC))
    for _ in range(60):
        end = end_period(period, start)
        assert start_period(period, end) == end
        assert start_period(period, end - timedelta(milliseconds=1)) == start
        start = end
