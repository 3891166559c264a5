"""The formulas of `algorithm_metrics`.

A window is half open: its start belongs to it, its end to the next. What counts where:

- a session in the window of its `session_end`, a thread in that of its `completed_at`;
- selections and criticisms with their thread, because their outcomes are known when it ends;
- responses in the window of their own `timestamp`: money, latency and errors belong to when the call was made, whatever
  became of its thread.

A mean over nothing is None, a count is 0. Sums of money are exact: they are made of billionths of a dollar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from orchestratex.domain.base import (
    Domain,
    Period,
    ResponseStatus,
    ResponseType,
    Role,
    SelectionPhase,
    SessionStatus,
    ThreadStatus,
    derive_id,
    to_usd,
)
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.metrics import (
    CostEfficiency,
    DomainPerformance,
    Metrics,
    ModelUsage,
    QualityMetrics,
    SystemHealth,
)
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread

NO_CHANGE: Final = 5.5  # the improvement_score of a revision that is as good as what it revises
TOP_MODELS: Final = 3  # named as preferred in a domain

_ANSWERING: Final = frozenset({Role.PRIMARY, Role.REFINER})


def start_period(period: Period, moment: datetime) -> datetime:
    """Return the start of the window that holds the moment: the full hour, midnight, Monday, the first of the month."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    starts: dict[Period, datetime] = {
        Period.HOURLY: hour,
        Period.DAILY: day,
        Period.WEEKLY: day - timedelta(days=day.weekday()),
        Period.MONTHLY: day.replace(day=1),
    }
    return starts[period]


def end_period(period: Period, start: datetime) -> datetime:
    """Return the end of the window that begins at `start`, which is the start of the next one."""
    if period is Period.MONTHLY:
        return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start + {Period.HOURLY: timedelta(hours=1), Period.DAILY: timedelta(days=1)}.get(period, timedelta(weeks=1))


def roll_up(
    *,
    period_start: datetime,
    period: Period,
    sessions: Iterable[Session],
    threads: Iterable[Thread],
    responses: Iterable[Response],
    selections: Iterable[Selection],
    criticisms: Iterable[CriticismResponse],
    profiles: Iterable[Profile],
    probes: int = 0,
    probes_passed: int = 0,
    now: datetime,
) -> Metrics:
    """Return the metrics of one window. Callers may pass more than belongs to it: what lies outside is left out.

    `sessions` has to hold those of the threads too, for the users' ratings, and those still open, for the peak.
    `probes` were made in the window on all models together. The document's id follows from period and start, so that
    rolling up again replaces it.
    """
    start, end = period_start, end_period(period, period_start)

    def lies_within(moment: datetime | None) -> bool:
        return moment is not None and start <= moment < end

    everyone = list(sessions)
    ended = [s for s in everyone if lies_within(s.session_end)]
    done = [t for t in threads if t.is_ended and lies_within(t.completed_at)]
    done_ids = {t.id for t in done}
    calls = [r for r in responses if lies_within(r.timestamp)]
    choices = [s for s in selections if s.thread_id in done_ids]
    weighed = [c.improvement_score for c in criticisms if c.thread_id in done_ids and c.improvement_score is not None]
    names = sorted(
        {p.model_name for p in profiles} | {r.model_name for r in calls} | {s.selected_model for s in choices}
    )
    usage = {name: _measure_model(name, calls, choices) for name in names}
    ratings = {s.id: s.user_satisfaction for s in everyone}
    return Metrics(
        id=derive_id("metrics", period.value, start.isoformat()),
        metric_date=start,
        time_period=period,
        total_sessions=len(ended),
        successful_sessions=sum(s.status is SessionStatus.COMPLETED for s in ended),
        failed_sessions=sum(s.status is SessionStatus.ERROR for s in ended),
        average_session_duration=_mean(
            (s.session_end - s.session_start).total_seconds() / 60 for s in ended if s.session_end
        ),
        total_threads=len(done),
        average_iterations_per_thread=_mean(t.current_iteration for t in done),
        max_iterations_reached_count=sum(t.max_iterations_reached for t in done),
        early_termination_count=sum(
            t.thread_status is ThreadStatus.COMPLETED and not t.max_iterations_reached for t in done
        ),
        model_usage_stats=usage,
        domain_performance={
            domain.value: _measure_domain([t for t in done if t.domain is domain], lambda t: ratings.get(t.session_id))
            for domain in Domain
        },
        cost_efficiency=_measure_cost(ended, calls, usage),
        quality_metrics=QualityMetrics(
            average_final_score=_mean(t.final_quality_score for t in done),
            user_satisfaction_rate=_mean(t.user_accepted for t in done),
            criticism_improvement_rate=_mean(score > NO_CHANGE for score in weighed),
            selection_accuracy=_mean(s.selection_accuracy_score for s in choices),
        ),
        system_health=SystemHealth(
            average_response_time=_mean(r.response_time for r in calls if r.status is ResponseStatus.COMPLETED),
            error_rate=_mean(r.status is ResponseStatus.FAILED for r in calls if _is_decided(r)),
            uptime_percentage=100 * probes_passed / probes if probes else None,
            peak_concurrent_sessions=count_peak(everyone, start, end),
        ),
        updated_at=now,
    )


def count_peak(sessions: Iterable[Session], start: datetime, end: datetime) -> int:
    """Return the most sessions open at one moment of the window; one that ends as another starts is past."""
    changes = []
    for session in sessions:
        closed = session.session_end or end
        if session.session_start >= end or closed <= start:
            continue
        changes += [(max(session.session_start, start), 1), (min(closed, end), -1)]
    peak = open_now = 0
    for _, change in sorted(changes):
        open_now += change
        peak = max(peak, open_now)
    return peak


def _measure_model(name: str, calls: Sequence[Response], choices: Sequence[Selection]) -> ModelUsage:
    """Return the model's share of the window; picking the response to show (phase `final`) is not a selection of it."""
    own = [r for r in calls if r.model_name == name]
    return ModelUsage(
        times_selected=sum(s.selected_model == name and s.selection_phase is not SelectionPhase.FINAL for s in choices),
        success_rate=_measure_success(own),
        average_score=_mean(r.selection_score for r in own if _is_answer(r)),
        total_cost=_add_costs(own),
    )


def _measure_domain(threads: Sequence[Thread], find_rating: Callable[[Thread], float | None]) -> DomainPerformance:
    """Return how a domain went: satisfaction is the rating of the threads' sessions, each thread counting once.

    The preferred models are the up to three that gave most of the best responses, then those with the better scores.
    """
    scores: dict[str, list[float]] = {}
    for thread in threads:
        if thread.best_model_id is not None:
            scores.setdefault(thread.best_model_id, []).append(thread.final_quality_score or 0.0)
    best = sorted(scores, key=lambda name: (-len(scores[name]), -sum(scores[name]) / len(scores[name]), name))
    return DomainPerformance(
        total_requests=len(threads),
        average_satisfaction=_mean(find_rating(t) for t in threads),
        preferred_models=best[:TOP_MODELS],
        average_iterations=_mean(t.current_iteration for t in threads),
    )


def _measure_cost(ended: Sequence[Session], calls: Sequence[Response], usage: dict[str, ModelUsage]) -> CostEfficiency:
    """Return what the window's calls cost in all and for each answer completed, and what the ended sessions cost each.

    An answer's price includes what its evaluation cost. Most cost effective is the model with most points (average
    score) for the dollar of its own answers; a free one goes before all.
    """
    total = sum(r.cost_nanos for r in calls)
    answers = [r for r in calls if _is_answer(r)]
    values = []
    for name, stats in usage.items():
        own = [r for r in answers if r.model_name == name]
        if own and stats.average_score is not None:
            price = sum(r.cost_nanos for r in own) / len(own)
            values.append((stats.average_score / price if price else float("inf"), stats.average_score, name))
    values.sort(key=lambda value: (-value[0], -value[1], value[2]))
    spent = _mean(s.total_cost_nanos for s in ended)
    return CostEfficiency(
        total_cost=to_usd(total),
        cost_per_session=None if spent is None else to_usd(round(spent)),
        cost_per_successful_response=to_usd(round(total / len(answers))) if answers else None,
        most_cost_effective_model=values[0][2] if values else None,
    )


def _measure_success(calls: Iterable[Response]) -> float | None:
    return _mean(r.status is ResponseStatus.COMPLETED for r in calls if _is_decided(r))


def _is_decided(response: Response) -> bool:
    return response.status in {ResponseStatus.COMPLETED, ResponseStatus.FAILED}


def _is_answer(response: Response) -> bool:
    """Whether it is a completed response to the prompt, not an opinion on one."""
    return (
        response.status is ResponseStatus.COMPLETED
        and response.role in _ANSWERING
        and response.response_type is not ResponseType.EVALUATION
    )


def _was_sent(response: Response) -> bool:
    return response.sent_at is not None or response.status is ResponseStatus.COMPLETED


def _add_costs(responses: Iterable[Response]) -> float:
    return to_usd(sum(r.cost_nanos for r in responses))


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the known values, None over nothing."""
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
