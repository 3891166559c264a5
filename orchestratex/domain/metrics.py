from __future__ import annotations

from orchestratex.domain.base import (
    Count,
    Document,
    Millis,
    ModelName,
    Percent,
    Period,
    Record,
    Score,
    Share,
    Usd,
    UtcDate,
    added,
)
from orchestratex.domain.sums import Sums


class ModelUsage(Record):
    """How one model did in the window."""

    times_selected: Count
    success_rate: Share | None  # of its attempts: those that came back with a completion
    average_score: Score | None  # of its answers, first ones and revisions
    total_cost: Usd
    attempts: Count = added(0)  # requests that were sent and are over
    failed_attempts: Count = added(0)  # of those, how many brought no completion
    error_rate: Share | None = added(None)
    average_response_time: Millis | None = added(None)  # of completed calls
    answers: Count = added(0)  # completed first answers and revisions
    cost_per_answer: Usd | None = added(None)  # what those cost, without their evaluations
    total_tokens: Count = added(0)


class DomainPerformance(Record):
    """How one domain went in the window."""

    total_requests: Count
    average_satisfaction: Score | None
    preferred_models: list[ModelName]  # up to three, by mean score of first answers, of models with three or more
    average_iterations: float | None


class CostEfficiency(Record):
    """What the money bought."""

    total_cost: Usd
    cost_per_session: Usd | None
    cost_per_successful_response: Usd | None
    most_cost_effective_model: ModelName | None


class QualityMetrics(Record):
    """How good the answers were."""

    average_final_score: Score | None
    user_satisfaction_rate: Share | None
    criticism_improvement_rate: Share | None
    selection_accuracy: Share | None


class SystemHealth(Record):
    """How the machinery did."""

    average_response_time: Millis | None
    error_rate: Share | None  # of attempts that were sent
    uptime_percentage: Percent | None
    peak_concurrent_sessions: Count


class Metrics(Document):
    """One window of the system's performance. A mean over nothing is None, a count is 0."""

    metric_date: UtcDate  # the start of the window
    time_period: Period
    total_sessions: Count
    successful_sessions: Count
    failed_sessions: Count
    average_session_duration: float | None  # minutes
    total_threads: Count
    average_iterations_per_thread: float | None
    max_iterations_reached_count: Count
    early_termination_count: Count
    model_usage_stats: dict[str, ModelUsage]
    domain_performance: dict[str, DomainPerformance]
    cost_efficiency: CostEfficiency
    quality_metrics: QualityMetrics
    system_health: SystemHealth
    updated_at: UtcDate  # when its content changed last

    # what longer windows and running sums are made of; None: of a version that kept none, rolled up again when due
    sums: Sums | None = added(None)
    open_sessions: int = added(0)  # when the window began; below zero while earlier windows have yet to be rolled up
    rolls: Count = added(0)  # raised by every change; part of the compare-and-set

    @property
    def open_after(self) -> int:
        """How many sessions are open at the window's end."""
        return self.open_sessions + (self.sums.net_sessions if self.sums else 0)

    def follow(self, open_sessions: int) -> Metrics:
        """The same window, begun with so many sessions open."""
        rise = self.sums.peak_rise if self.sums else 0
        health = self.system_health.model_copy(update={"peak_concurrent_sessions": max(0, open_sessions + rise)})
        return self.model_copy(update={"open_sessions": open_sessions, "system_health": health})

    def says_as_much_as(self, other: Metrics) -> bool:
        """Whether both hold the same, whenever and however often they were written."""
        marks = {"id", "updated_at", "rolls"}
        return self.model_dump(exclude=marks) == other.model_dump(exclude=marks)
