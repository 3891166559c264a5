from __future__ import annotations

from datetime import datetime, timedelta

from orchestratex.domain.base import Period
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.log import LogEvent
from orchestratex.domain.metrics import Metrics
from orchestratex.domain.profile import PerformanceMetrics, Profile
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.rules.rollup import end_period, roll_up, start_period
from orchestratex.steps.services import Services
from orchestratex.store.base import ModelStats

_OLDEST_SESSION = timedelta(days=7)  # longer sittings than this do not count in the peak
_SETTLING = timedelta(minutes=5)  # the last hour is rolled up again so long after its end: late calls settle into it


def measure(services: Services) -> list[Metrics]:
    """Roll up the open hour, the one before it while that is fresh, and the profiles' performance. Idempotent."""
    now = services.clock()
    starts = {start_period(Period.HOURLY, moment) for moment in (now - _SETTLING, now)}
    windows = [_roll_up_hour(services, start) for start in sorted(starts)]
    for metrics in windows:
        services.store.put_metrics(metrics)
    _refresh_profiles(services)
    return windows


def _roll_up_hour(services: Services, start: datetime) -> Metrics:
    end = end_period(Period.HOURLY, start)
    store = services.store
    probes = store.find_between(LogEvent, "timestamp", start, end, event_type="model_probed")
    threads = store.find_between(Thread, "completed_at", start, end)
    earliest = min((thread.created_at for thread in threads), default=start)  # what they hold began with them
    return roll_up(
        period_start=start,
        period=Period.HOURLY,
        sessions=store.find_between(Session, "session_start", start - _OLDEST_SESSION, end),
        threads=threads,
        responses=store.find_between(Response, "timestamp", start, end),
        selections=store.find_between(Selection, "timestamp", earliest, end),
        criticisms=store.find_between(CriticismResponse, "timestamp", earliest, end),
        profiles=store.profiles(),
        probes=len(probes),
        probes_passed=sum(bool(event.details.get("passed")) for event in probes),
        now=services.clock(),
    )


def _refresh_profiles(services: Services) -> None:
    stats = services.store.model_stats()
    for profile in services.store.profiles():
        metrics = _performance(profile, stats.get(profile.model_name, ModelStats()))
        services.store.update_profile(profile.model_name, {"performance_metrics": metrics})


def _performance(profile: Profile, stats: ModelStats) -> PerformanceMetrics:
    return PerformanceMetrics(
        average_response_time=stats.average_response_time,
        success_rate=stats.success_rate,
        average_quality_rating=stats.average_quality,
        total_requests=stats.requests,
        total_tokens_processed=stats.tokens,
        uptime_percentage=100 * profile.probes_passed / profile.probes if profile.probes else None,
    )
