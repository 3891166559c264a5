from __future__ import annotations

import time

from orchestratex.domain.base import Component, LogLevel
from orchestratex.domain.profile import Profile
from orchestratex.errors import ProviderError
from orchestratex.steps.services import Services


def probe(services: Services) -> dict[str, bool]:
    """Ask each active model's endpoint, at no cost, whether it serves the model; the next selection sees it."""
    return {profile.model_name: _probe(profile, services) for profile in services.usable_profiles()}


def _probe(profile: Profile, services: Services) -> bool:
    started = time.perf_counter()
    problem: str | None = None
    try:
        if not services.providers.of(profile).probe(profile):
            problem = f"{profile.model_name}: its provider does not list {profile.model_version}"
    except ProviderError as error:
        problem = str(error)
    passed = problem is None
    services.store.update_profile(
        profile.model_name,
        {
            "is_available": passed,
            "last_health_check": services.clock(),
            "probes": profile.probes + 1,
            "probes_passed": profile.probes_passed + passed,
        },
    )
    services.journal.write(
        Component.ORCHESTRATOR,
        "model_probed",
        problem or f"{profile.model_name} answers",
        level=LogLevel.DEBUG if passed else LogLevel.WARNING,
        model=profile.model_name,
        processing_time=(time.perf_counter() - started) * 1000,
        passed=passed,
    )
    return passed
