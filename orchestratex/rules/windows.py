"""The formulas of `algorithm_metrics`, from a window's sums. A mean over nothing is None, a count is 0."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from orchestratex.domain.base import Domain, Period, derive_id, to_usd
from orchestratex.domain.metrics import (
    CostEfficiency,
    DomainPerformance,
    Metrics,
    ModelUsage,
    QualityMetrics,
    SystemHealth,
)
from orchestratex.domain.sums import DomainSums, ModelSums, Sums, Tally

TOP_MODELS: Final = 3  # named as preferred in a domain
LEAST_ANSWERS: Final = 3  # first answers that tell how good a model is in a domain


def make_window(period: Period, start: datetime, sums: Sums, *, now: datetime) -> Metrics:
    """Return the metrics of the window that begins at `start`, as if no session had been open then.

    The document's id follows from period and start, so that rolling up again replaces it.
    """
    window = Metrics(
        id=derive_id("metrics", period.value, start.isoformat()),
        metric_date=start,
        time_period=period,
        total_sessions=sums.sessions,
        successful_sessions=sums.completed_sessions,
        failed_sessions=sums.error_sessions,
        average_session_duration=sums.session_minutes.mean,
        total_threads=sums.threads,
        average_iterations_per_thread=sums.iterations.mean,
        max_iterations_reached_count=sums.max_iterations_reached,
        early_termination_count=sums.early_terminations,
        model_usage_stats={name: _measure_model(model) for name, model in sorted(sums.models.items())},
        domain_performance={each.value: _measure_domain(sums.domains.get(each, DomainSums())) for each in Domain},
        cost_efficiency=_measure_cost(sums),
        quality_metrics=QualityMetrics(
            average_final_score=sums.final_score.mean,
            user_satisfaction_rate=sums.accepted.mean,
            criticism_improvement_rate=sums.improved.mean,
            selection_accuracy=sums.selection_accuracy.mean,
        ),
        system_health=_measure_health(sums),
        updated_at=now,
        sums=sums,
    )
    return window.follow(0)


def find_preferred(first_answers: dict[str, Tally]) -> list[str]:
    """Return up to three models by the mean score of their first answers, of those with at least three."""
    known = [(-(scores.mean or 0.0), -scores.count, name) for name, scores in first_answers.items()]
    return [name for _, count, name in sorted(known) if -count >= LEAST_ANSWERS][:TOP_MODELS]


def _measure_model(model: ModelSums) -> ModelUsage:
    failed = model.attempts - model.returned
    return ModelUsage(
        times_selected=model.selected,
        success_rate=_share(model.returned, model.attempts),
        average_score=model.score.mean,
        total_cost=to_usd(model.cost_nanos),
        attempts=model.attempts,
        failed_attempts=failed,
        error_rate=_share(failed, model.attempts),
        average_response_time=_to_ms(model.latency_s),
        answers=model.answers,
        cost_per_answer=to_usd(model.answers_nanos) / model.answers if model.answers else None,
        total_tokens=model.tokens,
    )


def _measure_domain(domain: DomainSums) -> DomainPerformance:
    return DomainPerformance(
        total_requests=domain.threads,
        average_satisfaction=domain.satisfaction.mean,
        preferred_models=find_preferred(domain.first_answers),
        average_iterations=domain.iterations.mean,
    )


def _measure_cost(sums: Sums) -> CostEfficiency:
    """Return what the calls cost in all and for each answer completed, and what the ended sessions cost each.

    An answer's price includes what its evaluation cost. Most cost effective is the model with most points (average
    score) for the dollar of its own answers; a free one goes before all.
    """
    total = sum(model.cost_nanos for model in sums.models.values())
    answers = sum(model.answers for model in sums.models.values())
    values = []
    for name, model in sums.models.items():
        if model.answers and model.score.mean is not None:
            price = model.answers_nanos / model.answers
            values.append((model.score.mean / price if price else float("inf"), model.score.mean, name))
    values.sort(key=lambda value: (-value[0], -value[1], value[2]))
    return CostEfficiency(
        total_cost=to_usd(total),
        cost_per_session=sums.session_cost.mean,
        cost_per_successful_response=to_usd(total) / answers if answers else None,
        most_cost_effective_model=values[0][2] if values else None,
    )


def _measure_health(sums: Sums) -> SystemHealth:
    models = sums.models.values()
    latency = Tally(
        total=sum(model.latency_s.total for model in models), count=sum(model.latency_s.count for model in models)
    )
    attempts = sum(model.attempts for model in models)
    failed = attempts - sum(model.returned for model in models)
    uptime = _share(sums.probes_passed, sums.probes)
    return SystemHealth(
        average_response_time=_to_ms(latency),
        error_rate=_share(failed, attempts),
        uptime_percentage=None if uptime is None else 100 * uptime,
        peak_concurrent_sessions=0,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _to_ms(latency_s: Tally) -> float | None:
    return None if latency_s.mean is None else 1000 * latency_s.mean
