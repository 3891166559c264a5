"""By what a model is reached from here, and what to tell about it when its profile is changed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestratex.cli.reach import Reached
    from orchestratex.domain.profile import Profile
    from orchestratex.providers.base import Providers
    from orchestratex.settings import Settings

SANDBOX_NOTE: Final = (
    "No provider's key is set, and no active model's endpoint goes without one: the sandbox's models answer, by rule "
    "and at no cost."
)
AGAIN: Final = "until `orchestratex up` is started again"


def describe_access(profile: Profile, reached: Reached) -> str | None:
    """Sandbox, gateway, key or open endpoint; None when the model cannot be asked."""
    settings, providers = reached.services.settings, reached.services.providers
    if reached.uses_sandbox:
        return "sandbox" if is_played(profile) else None
    if settings.models_base_url:
        return "gateway"
    if not providers.can_serve(profile):
        return None
    has_key = profile.provider in settings.providers_with_key() and providers.why_withheld(profile) is None
    return "key" if has_key else "open endpoint"


def explain_absence(profile: Profile, reached: Reached) -> str:
    """Why a model cannot be asked, in the width of a table."""
    if reached.uses_sandbox:
        return "not in the sandbox"
    return "key withheld: see check" if reached.services.providers.why_withheld(profile) else "no key is set"


def is_played(profile: Profile) -> bool:
    """Whether the sandbox plays this model: it knows its own eight, by name or version."""
    from orchestratex.sandbox.models import MODELS

    known = {*MODELS, *(model.version for model in MODELS.values())}
    return bool({profile.model_name, profile.model_version} & known)


def describe_change(names: Sequence[str], reached: Reached, settings: Settings, *, is_new: bool) -> list[str]:
    """What to tell who changed these models, as `settings` are those of the next stack.

    Keys that are not sent, keys that a new model needs and nobody has, who plays the models, and that one alone has
    nobody to evaluate it.
    """
    profiles = reached.services.store.profiles()
    changed = [profile for profile in profiles if profile.model_name in names and profile.is_active]
    with _future_providers(reached, settings) as providers:
        served = [profile for profile in profiles if profile.is_active and providers.can_serve(profile)]
        problems = [_explain_key(profile, providers, is_new=is_new) for profile in changed]
    lines = [problem for problem in problems if problem]
    if _plays_on(reached):
        asked = [profile.model_name for profile in served]
        return [*lines, *([_tell_sandbox(asked)] if asked else [])]
    if not served and not reached.uses_sandbox:
        lines.append("No active model can be asked now; without any, the sandbox plays in stacks that start.")
    if len(served) == 1:
        lines.append(describe_single(served[0].model_name))
    return lines


def describe_models(reached: Reached, settings: Settings) -> list[str]:
    """What who asks a prompt has to know about the models; `settings` are those of this command."""
    if not reached.uses_sandbox:
        usable = reached.services.usable_profiles()
        single = [describe_single(usable[0].model_name)] if len(usable) == 1 else []
        return [*single, *_tell_unused_keys(reached, settings)]
    if not _plays_on(reached):
        return [SANDBOX_NOTE]
    with _future_providers(reached, settings) as providers:
        asked = [each for each in reached.services.store.profiles() if each.is_active and providers.can_serve(each)]
    told = _tell_sandbox([each.model_name for each in asked]) if asked else SANDBOX_NOTE
    return [told]


def describe_single(model_name: str) -> str:
    """What a single model means for every prompt."""
    return (
        f"Only one model can be served, {model_name}: it answers, and nobody evaluates. "
        "`orchestratex models add` adds another."
    )


def _tell_unused_keys(reached: Reached, settings: Settings) -> list[str]:
    """What this command has been given and the running stack has not: its workers make the calls."""
    if reached.stack is None or reached.stack.is_owner:
        return []
    known = reached.services.settings
    unused = sorted(settings.providers_with_key() - known.providers_with_key())
    lines = []
    if unused:
        lines.append(f"The running stack has no key for {', '.join(unused)}: these keys are not used {AGAIN}.")
    if settings.models_base_url and settings.models_base_url != known.models_base_url:
        lines.append(f"The running stack was started without ORCHESTRATEX_MODELS_BASE_URL: it is not used {AGAIN}.")
    return lines


def _plays_on(reached: Reached) -> bool:
    """Whether a stack that another command runs has the sandbox play."""
    return reached.uses_sandbox and reached.stack is not None and not reached.stack.is_owner


def _tell_sandbox(asked: Sequence[str]) -> str:
    names = ", ".join(asked)
    return f"The running stack's sandbox plays the models {AGAIN}; then {names} can be asked, and it plays none."


@contextmanager
def _future_providers(reached: Reached, settings: Settings) -> Iterator[Providers]:
    """As this stack reaches models; where its sandbox plays, as the next one would."""
    if not _plays_on(reached):
        yield reached.services.providers
        return
    from orchestratex.bootstrap import make_providers

    providers = make_providers(settings)
    try:
        yield providers
    finally:
        providers.close()


def _explain_key(profile: Profile, providers: Providers, *, is_new: bool) -> str | None:
    name, withheld = profile.model_name, providers.why_withheld(profile)
    if withheld:
        asked = f"is not asked with a key, as none is required: {withheld}"
        return f"{name} {f'cannot be asked: {withheld}' if profile.api_key_required else asked}"
    if not is_new or providers.can_serve(profile) or not profile.api_key_required:
        return None
    return (
        f"{name} cannot be asked: it needs a key, and none for {profile.provider} is set; "
        f"where its endpoint needs none: orchestratex models edit {name} --no-key"
    )
