"""The formulas of `algorithm_metrics`.

A window is half open: its start belongs to it, its end to the next. What counts where:

- a session in the window of its `session_end`, a thread in that of its `completed_at`;
- selections and criticisms with their thread, because their outcomes are known when it ends;
- responses in the window of their own `timestamp`: money, latency and errors belong to when the call was made, whatever
  became of its thread.

A mean over nothing is None, a count is 0. Sums of money are exact: they are made of billionths of a dollar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from bson import ObjectId

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


class Rollup:
    """One window, rolled up from documents given one by one: none is kept, so that a busy hour needs no more memory.

    More may be given than belongs to the window: what lies outside is left out. Sessions come first, for their ratings
    and the peak: those of the threads too, and those still open. Threads come before selections and criticisms, which
    count with them. What is remembered is a few bytes for each session and thread of the window.
    """

    def __init__(self, period: Period, start: datetime, *, model_names: Iterable[str] = ()) -> None:
        """`model_names` are listed even where the window holds nothing of them."""
        self.period = period
        self.start = start
        self.end = end_period(period, start)
        self.earliest = start  # when the first of the window's threads was created: what they hold is no older
        self._spans: list[tuple[datetime, datetime | None]] = []
        self._ratings: dict[ObjectId, float] = {}
        self._done: set[ObjectId] = set()
        self._ended: Counter[SessionStatus] = Counter()
        self._minutes, self._session_nanos = _Mean(), _Mean()
        self._max_reached = self._early = 0
        self._iterations, self._final, self._accepted, self._improved, self._accuracy = (_Mean() for _ in range(5))
        self._latency, self._failed = _Mean(), _Mean()
        self._domains = {domain: _Domain() for domain in Domain}
        self._models = {name: _Model() for name in model_names}

    def add_session(self, session: Session) -> None:
        """A session counts in the window of its end, its rating with its threads, and all that are open in the peak."""
        if session.user_satisfaction is not None:
            self._ratings[session.id] = session.user_satisfaction
        if session.session_start < self.end and (session.session_end is None or session.session_end > self.start):
            self._spans.append((session.session_start, session.session_end))
        if session.session_end is None or not self._holds(session.session_end):
            return
        self._ended[session.status] += 1
        self._minutes.add((session.session_end - session.session_start).total_seconds() / 60)
        self._session_nanos.add(session.total_cost_nanos)

    def add_thread(self, thread: Thread) -> None:
        """A thread counts when it has ended."""
        if not (thread.is_ended and self._holds(thread.completed_at)):
            return
        self._done.add(thread.id)
        self.earliest = min(self.earliest, thread.created_at)
        self._iterations.add(thread.current_iteration)
        self._final.add(thread.final_quality_score)
        self._accepted.add(thread.user_accepted)
        self._max_reached += thread.max_iterations_reached
        self._early += thread.thread_status is ThreadStatus.COMPLETED and not thread.max_iterations_reached
        if thread.domain is not None:
            self._domains[thread.domain].add(thread, self._ratings.get(thread.session_id))

    def add_response(self, response: Response) -> None:
        """A call counts when it was made."""
        if not self._holds(response.timestamp):
            return
        if response.status is ResponseStatus.COMPLETED:
            self._latency.add(response.response_time)
        if _is_decided(response):
            self._failed.add(response.status is ResponseStatus.FAILED)
        self._model(response.model_name).add(response)

    def add_selection(self, selection: Selection) -> None:
        """A selection counts with its thread; picking the response to show (phase `final`) selects no model."""
        if selection.thread_id not in self._done:
            return
        self._accuracy.add(selection.selection_accuracy_score)
        self._model(selection.selected_model).selected += selection.selection_phase is not SelectionPhase.FINAL

    def add_criticism(self, criticism: CriticismResponse) -> None:
        """A criticism response counts with its thread, where the revision was scored."""
        if criticism.thread_id in self._done and criticism.improvement_score is not None:
            self._improved.add(criticism.improvement_score > NO_CHANGE)

    def result(self, *, now: datetime, probes: int = 0, probes_passed: int = 0) -> Metrics:
        """Return the metrics. `probes` were made in the window on all models together.

        The document's id follows from period and start, so that rolling up again replaces it.
        """
        return Metrics(
            id=derive_id("metrics", self.period.value, self.start.isoformat()),
            metric_date=self.start,
            time_period=self.period,
            total_sessions=self._ended.total(),
            successful_sessions=self._ended[SessionStatus.COMPLETED],
            failed_sessions=self._ended[SessionStatus.ERROR],
            average_session_duration=self._minutes.value,
            total_threads=len(self._done),
            average_iterations_per_thread=self._iterations.value,
            max_iterations_reached_count=self._max_reached,
            early_termination_count=self._early,
            model_usage_stats={name: model.usage for name, model in sorted(self._models.items())},
            domain_performance={domain.value: held.performance for domain, held in self._domains.items()},
            cost_efficiency=self._measure_cost(),
            quality_metrics=QualityMetrics(
                average_final_score=self._final.value,
                user_satisfaction_rate=self._accepted.value,
                criticism_improvement_rate=self._improved.value,
                selection_accuracy=self._accuracy.value,
            ),
            system_health=SystemHealth(
                average_response_time=self._latency.value,
                error_rate=self._failed.value,
                uptime_percentage=100 * probes_passed / probes if probes else None,
                peak_concurrent_sessions=count_peak(self._spans, self.start, self.end),
            ),
            updated_at=now,
        )

    def _holds(self, moment: datetime | None) -> bool:
        return moment is not None and self.start <= moment < self.end

    def _model(self, name: str) -> _Model:
        return self._models.setdefault(name, _Model())

    def _measure_cost(self) -> CostEfficiency:
        """Return what the calls cost in all and for each answer completed, and what the ended sessions cost each.

        An answer's price includes what its evaluation cost. Most cost effective is the model with most points (average
        score) for the dollar of its own answers; a free one goes before all.
        """
        total = sum(model.cost_nanos for model in self._models.values())
        answers = sum(model.answers for model in self._models.values())
        values = []
        for name, model in self._models.items():
            if model.answers and model.score.value is not None:
                price = model.answers_nanos / model.answers
                values.append((model.score.value / price if price else float("inf"), model.score.value, name))
        values.sort(key=lambda value: (-value[0], -value[1], value[2]))
        spent = self._session_nanos.value
        return CostEfficiency(
            total_cost=to_usd(total),
            cost_per_session=None if spent is None else to_usd(round(spent)),
            cost_per_successful_response=to_usd(round(total / answers)) if answers else None,
            most_cost_effective_model=values[0][2] if values else None,
        )


def count_peak(spans: Iterable[tuple[datetime, datetime | None]], start: datetime, end: datetime) -> int:
    """Return the most sessions open at one moment of the window; one that ends as another starts is past.

    A span is a session's start and end; one without an end is still open.
    """
    changes = []
    for opened, ended in spans:
        closed = ended or end
        if opened >= end or closed <= start:
            continue
        changes += [(max(opened, start), 1), (min(closed, end), -1)]
    peak = open_now = 0
    for _, change in sorted(changes):
        open_now += change
        peak = max(peak, open_now)
    return peak


class _Mean:
    """A mean of the known values, None over nothing."""

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.total += value
            self.count += 1

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None


class _Model:
    """A model's share of the window."""

    def __init__(self) -> None:
        self.selected = self.cost_nanos = self.answers = self.answers_nanos = 0
        self.success, self.score = _Mean(), _Mean()

    def add(self, response: Response) -> None:
        self.cost_nanos += response.cost_nanos
        if _is_decided(response):
            self.success.add(response.status is ResponseStatus.COMPLETED)
        if _is_answer(response):
            self.answers += 1
            self.answers_nanos += response.cost_nanos
            self.score.add(response.selection_score)

    @property
    def usage(self) -> ModelUsage:
        return ModelUsage(
            times_selected=self.selected,
            success_rate=self.success.value,
            average_score=self.score.value,
            total_cost=to_usd(self.cost_nanos),
        )


class _Domain:
    """How a domain went: satisfaction is the rating of the threads' sessions, each thread counting once.

    The preferred models are the up to three that gave most of the best responses, then those with the better scores.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.satisfaction, self.iterations = _Mean(), _Mean()
        self.best: dict[str, _Mean] = {}

    def add(self, thread: Thread, rating: float | None) -> None:
        self.requests += 1
        self.satisfaction.add(rating)
        self.iterations.add(thread.current_iteration)
        if thread.best_model_id is not None:
            self.best.setdefault(thread.best_model_id, _Mean()).add(thread.final_quality_score or 0.0)

    @property
    def performance(self) -> DomainPerformance:
        def rank(name: str) -> tuple[float, float, str]:
            scores = self.best[name]
            return -scores.count, -(scores.value or 0.0), name

        return DomainPerformance(
            total_requests=self.requests,
            average_satisfaction=self.satisfaction.value,
            preferred_models=sorted(self.best, key=rank)[:TOP_MODELS],
            average_iterations=self.iterations.value,
        )


def _is_decided(response: Response) -> bool:
    return response.status in {ResponseStatus.COMPLETED, ResponseStatus.FAILED}


def _is_answer(response: Response) -> bool:
    """Whether it is a completed response to the prompt, not an opinion on one."""
    return (
        response.status is ResponseStatus.COMPLETED
        and response.role in _ANSWERING
        and response.response_type is not ResponseType.EVALUATION
    )
