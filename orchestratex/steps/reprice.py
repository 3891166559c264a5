"""The prices in the profiles' fields stay those of the day, for people and for other programs.

Calls do not wait for it: they are priced by the schedule itself.
"""

from __future__ import annotations

from orchestratex.domain.base import Component
from orchestratex.domain.profile import todays_costs
from orchestratex.steps.services import Services


def keep_prices_current(services: Services) -> list[str]:
    """Write today's price into the fields of profiles whose schedule has one that differs; returns their names."""
    now, changed = services.clock(), []
    for profile in services.store.profiles():
        if not profile.prices:
            continue
        costs = todays_costs(profile.prices, now)
        if all(getattr(profile, name) == cost for name, cost in costs.items()):
            continue
        services.store.update_profile(profile.model_name, costs)
        given, generated = costs["cost_per_input_token"] * 1e6, costs["cost_per_output_token"] * 1e6
        services.journal.write(
            Component.ORCHESTRATOR,
            "price_changed",
            f"{profile.model_name} costs ${given:g} in and ${generated:g} out per million tokens from now on",
            model=profile.model_name,
        )
        changed.append(profile.model_name)
    return changed
