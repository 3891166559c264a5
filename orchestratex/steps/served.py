"""Which models can be asked here, and why none can."""

from __future__ import annotations

from typing import Final

from orchestratex.errors import NoModelError
from orchestratex.steps.services import Services

MODELS: Final = "models"
_LISTED: Final = 8


def require_served(services: Services) -> None:
    """Raise NoModelError where no model can be asked here at all, saying why and what to do."""
    profiles = services.cache.all()
    if not profiles:
        raise NoModelError("the database holds no model profiles; run `orchestratex init-db`")
    active = [profile for profile in profiles if profile.is_active]
    if not active:
        raise NoModelError("no model is active; `orchestratex models enable NAME` switches one on")
    if not any(map(services.providers.can_serve, active)):
        withheld = [f"{each.model_name}: {why}" for each in active if (why := services.providers.why_withheld(each))]
        if withheld:
            raise NoModelError(f"no active model can be asked; {'; '.join(withheld[:_LISTED])}")
        lacking = sorted({profile.provider for profile in active if profile.api_key_required})
        keys = f": no key is set here for {', '.join(lacking[:_LISTED])}" if lacking else ""
        raise NoModelError(
            f"no active model can be asked{keys}; set a provider's key (`orchestratex models` shows them), "
            "ORCHESTRATEX_MODELS_BASE_URL, or in a process that calls none ORCHESTRATEX_KEYED_PROVIDERS"
        )


def list_unserved(services: Services) -> list[str]:
    """The active models that cannot be asked here, by name."""
    active = [profile for profile in services.cache.all() if profile.is_active]
    return sorted(each.model_name for each in active if not services.providers.can_serve(each))


def describe_unreachable(services: Services) -> str | None:
    """Why no model that could be asked can be reached now; None when one can, or none was looked for yet."""
    usable = services.usable_profiles()
    if not usable or any(profile.is_available for profile in usable):
        return None
    reasons = dict.fromkeys(each.out_of_reach or f"{each.model_name}: its last probe failed" for each in usable)
    more = f"; and {len(reasons) - _LISTED} more" if len(reasons) > _LISTED else ""
    told = "; ".join(list(reasons)[:_LISTED])
    return f"no model can be reached: {told}{more}; see `orchestratex models check`"
