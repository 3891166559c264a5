"""Keys that are not sent, because a profile names an address that they do not belong to: told once, in an event."""

from __future__ import annotations

from orchestratex.domain.base import Component, LogLevel
from orchestratex.domain.profile import Profile
from orchestratex.steps.services import Services


def tell_withheld(services: Services) -> None:
    """Write an event for each active model whose key is withheld, once for each address in this process.

    The model is unavailable from then on; the next probe that finds its address right again says otherwise.
    """
    for profile in services.cache.all():
        problem = services.providers.why_withheld(profile) if profile.is_active else None
        if problem is None:
            services.withheld.pop(profile.model_name, None)
        elif services.withheld.get(profile.model_name) != profile.api_endpoint:
            services.withheld[profile.model_name] = profile.api_endpoint
            _tell(profile, problem, services)


def _tell(profile: Profile, problem: str, services: Services) -> None:
    if profile.api_key_required:
        why = f"{profile.model_name}: {problem}"
        services.store.update_profile(profile.model_name, {"is_available": False, "out_of_reach": why})
        services.cache.forget()
    services.journal.write(
        Component.ORCHESTRATOR,
        "key_withheld",
        f"{profile.model_name}: {problem}",
        level=LogLevel.ERROR,
        model=profile.model_name,
    )
