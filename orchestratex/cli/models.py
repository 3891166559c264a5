"""`orchestratex models`: what we know about the models, and how that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestratex.cli import check, profiles, refresh
from orchestratex.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from orchestratex.domain.profile import Profile

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

SPARE = ("calls", "quality", "at once", "provider")  # where a terminal is narrow

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
    from orchestratex.cli.access import describe_access, explain_absence
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import print_json, print_table, say
    from orchestratex.domain.profile import priced_today

    with reach.reach_store(read_settings()) as reached:
        now = reached.services.clock()
        known = [priced_today(profile, now) for profile in reached.services.store.profiles()]
        views = [view_model(profile, describe_access(profile, reached)) for profile in known]
        absences = [explain_absence(profile, reached) for profile in known]
        for view, profile in zip(views, known, strict=True):
            is_withheld = reached.services.providers.why_withheld(profile) is not None
            view["is_key_withheld"] = view["reached_by"] is None and is_withheld
            view["retirement"] = _find_retirement(profile, now)
    if json:
        print_json(views)
        return
    print_table(COLUMNS, [_make_row(view, absence) for view, absence in zip(views, absences, strict=True)], spare=SPARE)
    for view in views:
        if view["is_active"] and view["retirement"]:
            say(f"{view['model_name']}: {view['retirement']}; `orchestratex models refresh` shows what to do")


def _find_retirement(profile: Profile, now: datetime) -> str | None:
    """That a model is switched off or will be, in words."""
    from orchestratex.catalogues.known import warn_of

    retirement = warn_of(profile.provider, profile.model_version, now.date())
    return retirement.text if retirement else None


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


def _make_row(view: dict[str, Any], absence: str) -> list[str]:
    from orchestratex.cli.output import format_score

    is_available = view["is_active"] and view["is_available"]
    return [
        view["model_name"],
        view["provider"],
        view["model_version"],
        "yes" if is_available else ("no" if view["is_active"] else "switched off"),
        view["reached_by"] or absence,
        f"{view['usd_per_million_input_tokens']:g}",
        f"{view['usd_per_million_output_tokens']:g}",
        str(view["max_concurrent_calls"] or "-"),
        format_score(view["average_quality_rating"]),
        str(view["total_requests"]),
    ]
