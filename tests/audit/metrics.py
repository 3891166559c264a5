"""The windows against the documents that they count, lightly: how many and how much; how is a property test's."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.audit.engine import Document, is_close, rule
from tests.audit.records import Records, to_usd

METRICS = "algorithm_metrics"


def _end(window: Document) -> datetime:
    start: datetime = window["metric_date"]
    if window["time_period"] == "monthly":
        return (start + timedelta(days=32)).replace(day=1)
    return start + {"hourly": timedelta(hours=1), "daily": timedelta(days=1)}.get(
        window["time_period"], timedelta(weeks=1)
    )


def _ended_in(window: Document, records: Records, collection: str, field: str) -> list[Document]:
    found = records.documents[collection]
    return [each for each in found if each[field] and window["metric_date"] <= each[field] < _end(window)]


@rule(METRICS)
def it_starts_where_its_period_does(window: Document, _records: Records) -> bool:
    start, period = window["metric_date"], window["time_period"]
    is_hour = (start.minute, start.second, start.microsecond) == (0, 0, 0)
    is_day = period == "hourly" or start.hour == 0
    is_week = period != "weekly" or start.isoweekday() == 1
    return is_hour and is_day and is_week and (period != "monthly" or start.day == 1)


@rule(METRICS)
def there_is_one_of_each_window(window: Document, records: Records) -> bool:
    mine = (window["time_period"], window["metric_date"])
    return sum((each["time_period"], each["metric_date"]) == mine for each in records.documents[METRICS]) == 1


@rule(METRICS)
def a_thread_counts_where_it_completes(window: Document, records: Records) -> bool:
    return window["total_threads"] == len(_ended_in(window, records, "conversation_threads", "completed_at"))


@rule(METRICS)
def a_session_counts_where_it_ends(window: Document, records: Records) -> bool:
    return window["total_sessions"] == len(_ended_in(window, records, "user_sessions", "session_end"))


@rule(METRICS)
def its_sessions_went_well_or_not(window: Document, _records: Records) -> bool:
    return window["successful_sessions"] + window["failed_sessions"] <= window["total_sessions"]


@rule(METRICS)
def its_threads_reached_the_limit_or_stopped_early(window: Document, _records: Records) -> bool:
    return bool(
        max(window["max_iterations_reached_count"], window["early_termination_count"]) <= window["total_threads"]
    )


@rule(METRICS)
def its_cost_is_its_models(window: Document, _records: Records) -> bool:
    return is_close(
        window["cost_efficiency"]["total_cost"],
        sum(stats["total_cost"] for stats in window["model_usage_stats"].values()),
    )


@rule(METRICS)
def all_hours_together_cost_what_all_calls_cost(window: Document, records: Records) -> bool | None:
    hours = [each for each in records.documents[METRICS] if each["time_period"] == "hourly"]
    if window["time_period"] != "hourly":
        return None
    spent = sum(each["cost_efficiency"]["total_cost"] for each in hours)
    return is_close(spent, to_usd(sum(each["cost_nanos"] for each in records.responses.values())))


@rule(METRICS)
def its_threads_are_those_of_its_domains(window: Document, records: Records) -> bool:
    ended = [t for t in _ended_in(window, records, "conversation_threads", "completed_at") if t["domain"] is not None]
    asked = sum(each["total_requests"] for each in window["domain_performance"].values())
    return asked == len(ended)


@rule(METRICS)
def no_domain_prefers_more_than_three_models(window: Document, records: Records) -> bool:
    named = [each["preferred_models"] for each in window["domain_performance"].values()]
    return all(len(set(each)) == len(each) <= 3 and set(each) <= set(records.profiles) for each in named)
