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
)


class ModelUsage(Record):
    """How one model did in the window."""

    times_selected: Count
    success_rate: Share | None
    average_score: Score | None
    total_cost: Usd


class DomainPerformance(Record):
    """How one domain went in the window."""

    total_requests: Count
    average_satisfaction: Score | None
    preferred_models: list[ModelName]
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
    error_rate: Share | None
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
    updated_at: UtcDate
