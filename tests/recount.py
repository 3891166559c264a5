"""The metrics of a window once more, slowly and plainly: from all documents, as FIELDS.md and the schema read.

Nothing of the engine's own counting is used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.log import LogEvent
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread

DOMAINS = ("coding", "creative", "factual", "math", "translation", "sentiment", "general")


@dataclass(frozen=True)
class Everything:
    """All documents there are."""

    sessions: Sequence[Session]
    threads: Sequence[Thread]
    responses: Sequence[Response]
    selections: Sequence[Selection]
    criticisms: Sequence[CriticismResponse]
    logs: Sequence[LogEvent]
    profiles: Sequence[Profile]


def window_of(period: str, moment: datetime) -> tuple[datetime, datetime]:
    """The window that holds a moment, found by walking to it day by day."""
    start = moment.replace(minute=0, second=0, microsecond=0)
    if period == "hourly":
        return start, start + timedelta(hours=1)
    start = start.replace(hour=0)
    while (period == "weekly" and start.isoweekday() != 1) or (period == "monthly" and start.day != 1):
        start -= timedelta(days=1)
    end = start + timedelta(days=1)
    while (period == "weekly" and end.isoweekday() != 1) or (period == "monthly" and end.day != 1):
        end += timedelta(days=1)
    return start, end


def recount(everything: Everything, period: str, moment: datetime) -> dict[str, Any]:
    """The schema's fields of the window that holds a moment."""
    start, end = window_of(period, moment)

    def within(at: datetime | None) -> bool:
        return at is not None and start <= at < end

    sessions = [session for session in everything.sessions if within(session.session_end)]
    threads = [thread for thread in everything.threads if within(thread.completed_at)]
    calls = [response for response in everything.responses if within(response.timestamp)]
    ids = {thread.id for thread in threads}
    selections = [selection for selection in everything.selections if selection.thread_id in ids]
    criticisms = [each for each in everything.criticisms if each.thread_id in ids and each.improvement_score]
    probes = [e.details["passed"] for e in everything.logs if e.event_type == "model_probed" and within(e.timestamp)]
    names = {profile.model_name for profile in everything.profiles}
    names |= {call.model_name for call in calls} | {selection.selected_model for selection in selections}
    models = {name: _model(name, calls, selections) for name in names}
    answers = [call for call in calls if _is_answer(call)]
    cost = sum(call.cost_nanos for call in calls) / 1e9
    sent = sum(_sent(call) for call in calls)
    return {
        "metric_date": start,
        "time_period": period,
        "total_sessions": len(sessions),
        "successful_sessions": sum(session.status == "completed" for session in sessions),
        "failed_sessions": sum(session.status == "error" for session in sessions),
        "average_session_duration": _mean((s.session_end - s.session_start).total_seconds() / 60 for s in sessions),  # type: ignore[operator]
        "total_threads": len(threads),
        "average_iterations_per_thread": _mean(thread.current_iteration for thread in threads),
        "max_iterations_reached_count": sum(thread.max_iterations_reached for thread in threads),
        "early_termination_count": sum(
            thread.thread_status == "completed" and not thread.max_iterations_reached for thread in threads
        ),
        "model_usage_stats": models,
        "domain_performance": {name: _domain(name, everything, threads, answers) for name in DOMAINS},
        "cost_efficiency": {
            "total_cost": cost,
            "cost_per_session": _mean(session.total_cost_nanos / 1e9 for session in sessions),
            "cost_per_successful_response": cost / len(answers) if answers else None,
            "most_cost_effective_model": _cheapest(answers),
        },
        "quality_metrics": {
            "average_final_score": _mean(thread.final_quality_score for thread in threads),
            "user_satisfaction_rate": _mean(thread.user_accepted for thread in threads),
            "criticism_improvement_rate": _mean((each.improvement_score or 0) > 5.5 for each in criticisms),
            "selection_accuracy": _mean(selection.selection_accuracy_score for selection in selections),
        },
        "system_health": {
            "average_response_time": _mean(call.response_time for call in calls if call.status == "completed"),
            "error_rate": sum(_sent(c) - _returned(c) for c in calls) / sent if sent else None,
            "uptime_percentage": 100 * sum(probes) / len(probes) if probes else None,
            "peak_concurrent_sessions": _peak(everything.sessions, start, end),
        },
    }


def _model(name: str, calls: Sequence[Response], selections: Sequence[Selection]) -> dict[str, Any]:
    mine = [call for call in calls if call.model_name == name]
    answers = [call for call in mine if _is_answer(call)]
    sent, returned = sum(map(_sent, mine)), sum(map(_returned, mine))
    return {
        "times_selected": sum(s.selected_model == name and s.selection_phase != "final" for s in selections),
        "success_rate": returned / sent if sent else None,
        "average_score": _mean(answer.selection_score for answer in answers),
        "total_cost": sum(call.cost_nanos for call in mine) / 1e9,
        "attempts": sent,
        "failed_attempts": sent - returned,
        "error_rate": (sent - returned) / sent if sent else None,
        "average_response_time": _mean(call.response_time for call in mine if call.status == "completed"),
        "answers": len(answers),
        "cost_per_answer": _mean(answer.cost_nanos / 1e9 for answer in answers),
        "total_tokens": sum(call.tokens_used.total_tokens for call in mine if call.tokens_used),
    }


def _domain(
    name: str, everything: Everything, threads: Sequence[Thread], answers: Sequence[Response]
) -> dict[str, Any]:
    mine = [thread for thread in threads if thread.domain == name]
    ratings = {session.id: session.user_satisfaction for session in everything.sessions}
    scores: dict[str, list[float]] = {}
    for answer in answers:
        if answer.role == "primary" and answer.domain == name and answer.selection_score is not None:
            scores.setdefault(answer.model_name, []).append(answer.selection_score)
    known = {model: values for model, values in scores.items() if len(values) >= 3}
    ranked = sorted(
        known, key=lambda model: (-round(sum(known[model]) / len(known[model]), 9), -len(known[model]), model)
    )
    return {
        "total_requests": len(mine),
        "average_satisfaction": _mean(ratings.get(thread.session_id) for thread in mine),
        "preferred_models": ranked[:3],
        "average_iterations": _mean(thread.current_iteration for thread in mine),
    }


def _is_answer(call: Response) -> bool:
    return call.status == "completed" and call.role in {"primary", "refiner"} and call.purpose in {"answer", "re_ask"}


def _sent(call: Response) -> int:
    """Requests that left and are over: the last one of a call that somebody waits for is not."""
    is_open = call.lease_token is not None and call.sent_at is not None and not _returned(call)
    return (call.attempts_sent or 0) - is_open


def _returned(call: Response) -> bool:
    return call.status == "completed" or call.finish_reason is not None


def _cheapest(answers: Sequence[Response]) -> str | None:
    """Most points for the dollar of its own answers; a free model before all."""
    best: tuple[float, float, str] | None = None
    for name in sorted({answer.model_name for answer in answers}):
        mine = [answer for answer in answers if answer.model_name == name]
        score = _mean(answer.selection_score for answer in mine)
        if score is None:
            continue
        price = sum(answer.cost_nanos for answer in mine) / len(mine)
        value = (round(score / price, 18) if price else float("inf"), round(score, 9), name)
        if best is None or value[:2] > best[:2]:
            best = value
    return best[2] if best else None


def _peak(sessions: Sequence[Session], start: datetime, end: datetime) -> int:
    """The most sessions open at any moment of the window: it can only change where one starts or ends."""
    moments = {start}
    for session in sessions:
        moments |= {at for at in (session.session_start, session.session_end) if at is not None and start <= at < end}
    return max(
        sum(s.session_start <= at and (s.session_end is None or s.session_end > at) for s in sessions) for at in moments
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
