"""`orchestratex models`: what we know about the models, and how that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestratex.cli import check, profiles, refresh
from orchestratex.errors import InputError
from orchestratex.providers.origins import KeyOrigins

if TYPE_CHECKING:
    from datetime import datetime

    from orchestratex.domain.profile import Profile
    from orchestratex.settings import Settings

COLUMNS = (
    "model",
    "provider",
    "version",
    "available",
    "reached by",
    "$/M in",
    "$/M out",
    "at once",
    "quality",
    "calls",
)

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command()(profiles.add)
app.command()(profiles.edit)
app.command()(profiles.enable)
app.command()(profiles.disable)
app.command()(check.check)
app.command()(refresh.refresh)


@app.callback()
def models(
    context: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False
) -> None:
    """List the models, with prices per million tokens and whether they can be reached from here; or change them."""
    if context.invoked_subcommand is None:
        list_models(json=json)
    elif json:
        raise InputError("--json", f"belongs behind `{context.invoked_subcommand}`")


def list_models(*, json: bool) -> None:
    """Print the list."""
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import print_json, print_table, say
    from orchestratex.domain.profile import priced_today

    settings = read_settings()
    with reach.reach_store(settings) as reached:
        now = reached.services.clock()
        known = [priced_today(profile, now) for profile in reached.services.store.profiles()]
    is_sandbox = reached.stack is not None and not settings.models_base_url and not settings.provider_keys()
    views = [view_model(profile, describe_reach(profile, settings, is_sandbox=is_sandbox)) for profile in known]
    for view, profile in zip(views, known, strict=True):
        view["is_key_withheld"] = view["reached_by"] is None and is_key_withheld(profile, settings)
        view["retirement"] = _find_retirement(profile, now)
    if json:
        print_json(views)
    else:
        print_table(COLUMNS, [_make_row(view) for view in views])
        for view in views:
            if view["is_active"] and view["retirement"]:
                say(f"{view['model_name']}: {view['retirement']}; `orchestratex models refresh` shows what to do")


def _find_retirement(profile: Profile, now: datetime) -> str | None:
    """That a model is switched off or will be, in words."""
    from orchestratex.catalogues.known import warn_of

    retirement = warn_of(profile.provider, profile.model_version, now.date())
    return retirement.text if retirement else None


def describe_reach(profile: Profile, settings: Settings, *, is_sandbox: bool) -> str | None:
    """By what this installation reaches a model; None when it cannot."""
    if is_sandbox:
        return "sandbox"
    if settings.models_base_url:
        return "gateway"
    if profile.provider in settings.provider_keys() and not is_key_withheld(profile, settings):
        return "key"
    return None if profile.api_key_required else "open endpoint"


def is_key_withheld(profile: Profile, settings: Settings) -> bool:
    """Whether the provider's key is set, and does not go to this model's address; `models check` says why."""
    origins = KeyOrigins(settings.further_origins())
    is_set = profile.provider in settings.provider_keys()
    return is_set and origins.why_withheld(profile.provider, profile.api_endpoint) is not None


def view_model(profile: Profile, reached_by: str | None) -> dict[str, Any]:
    """A model's profile in short."""
    shown = profile.performance_metrics
    return {
        "model_name": profile.model_name,
        "provider": profile.provider,
        "model_version": profile.model_version,
        "is_active": profile.is_active,
        "is_available": profile.is_available,
        "reached_by": reached_by,
        "usd_per_million_input_tokens": round(profile.cost_per_input_token * 1e6, 6),
        "usd_per_million_output_tokens": round(profile.cost_per_output_token * 1e6, 6),
        "max_concurrent_calls": profile.rate_limits.max_concurrent_calls,
        "average_quality_rating": shown.average_quality_rating,
        "success_rate": shown.success_rate,
        "total_requests": shown.total_requests,
        "specialties": [specialty.value for specialty in profile.specialties],
        "prices_as_of": profile.prices_as_of,
    }


def _make_row(view: dict[str, Any]) -> list[str]:
    from orchestratex.cli.output import format_score

    is_available = view["is_active"] and view["is_available"]
    return [
        view["model_name"],
        view["provider"],
        view["model_version"],
        "yes" if is_available else ("no" if view["is_active"] else "switched off"),
        view["reached_by"] or ("key withheld: see check" if view["is_key_withheld"] else "no key is set"),
        f"{view['usd_per_million_input_tokens']:g}",
        f"{view['usd_per_million_output_tokens']:g}",
        str(view["max_concurrent_calls"] or "-"),
        format_score(view["average_quality_rating"]),
        str(view["total_requests"]),
    ]
