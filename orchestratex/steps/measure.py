"""What the beat measures: the windows of metrics, and from the same sums what each model has shown."""

from __future__ import annotations

import logging

from orchestratex.domain.profile import PerformanceMetrics, Profile
from orchestratex.errors import StoreUnavailableError
from orchestratex.steps.rolling import HOURS_A_RUN, Rolled, roll_up
from orchestratex.steps.services import Services
from orchestratex.store.base import ModelStats

_log = logging.getLogger(__name__)


def measure(services: Services, *, limit: int = HOURS_A_RUN) -> Rolled:
    """Roll up what is due and renew the profiles' performance; while hours are missing, that stays as it was.

    Idempotent. Raises StoreUnavailableError.
    """
    rolled = roll_up(services, limit=limit)
    if rolled.is_caught_up:
        try:
            _refresh_profiles(services)
        except StoreUnavailableError as error:  # the windows are written, and the models keep what they had
            _log.warning("the models' performance is not renewed: %s", error)
    return rolled


def _refresh_profiles(services: Services) -> None:
    stats = services.store.model_stats()
    for profile in services.store.profiles():
        metrics = _performance(profile, stats.get(profile.model_name, ModelStats()))
        if metrics != profile.performance_metrics:
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
