from __future__ import annotations

import logging
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
from orchestratex.errors import StoreUnavailableError
from orchestratex.rules.rollup import Rollup, start_period
from orchestratex.steps.services import Services
from orchestratex.store.base import ModelStats

_log = logging.getLogger(__name__)
_OLDEST_SESSION = timedelta(days=7)  # longer sittings than this do not count in the peak
_SETTLING = timedelta(minutes=5)  # the last hour is rolled up again so long after its end: late calls settle into it


def measure(services: Services) -> list[Metrics]:
    """Roll up the open hour, the one before it while that is fresh, and the profiles' performance. Idempotent."""
    now = services.clock()
    starts = {start_period(Period.HOURLY, moment) for moment in (now - _SETTLING, now)}
    windows = [_roll_up_hour(services, start) for start in sorted(starts)]
    for metrics in windows:
        services.store.put_metrics(metrics)
    try:
        _refresh_profiles(services)
    except StoreUnavailableError as error:  # the windows are written, and the models keep what they had
        _log.warning("the models' performance is not renewed: %s", error)
    return windows


def _roll_up_hour(services: Services, start: datetime) -> Metrics:
    store = services.store
    rollup = Rollup(Period.HOURLY, start, model_names=[profile.model_name for profile in store.profiles()])
    end = rollup.end
    for session in store.scan_between(Session, "session_start", start - _OLDEST_SESSION, end):
        rollup.add_session(session)
    for thread in store.scan_between(Thread, "completed_at", start, end):
        rollup.add_thread(thread)
    for response in store.scan_between(Response, "timestamp", start, end):
        rollup.add_response(response)
    for selection in store.scan_between(Selection, "timestamp", rollup.earliest, end):
        rollup.add_selection(selection)
    for criticism in store.scan_between(CriticismResponse, "timestamp", rollup.earliest, end):
        rollup.add_criticism(criticism)
    probes = probes_passed = 0
    for event in store.scan_between(LogEvent, "timestamp", start, end, event_type="model_probed"):
        probes += 1
        probes_passed += bool(event.details.get("passed"))
    return rollup.result(now=services.clock(), probes=probes, probes_passed=probes_passed)


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
