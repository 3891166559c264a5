"""`orchestratex models refresh`: what has changed in the catalogues of others since the profiles were looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestratex.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from orchestratex.catalogues.refresh import Proposal
    from orchestratex.domain.profile import Profile
    from orchestratex.steps.services import Services

_MISSING: Final = "is not installed; `pip install 'orchestratex[catalogues]'` brings the catalogues"


def refresh(
    names: Annotated[list[str] | None, typer.Argument(help="The models; by default all.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write what is shown into the profiles.")] = False,
    trust: Annotated[
        str | None,
        typer.Option(help="Follow this catalogue alone from now on where they disagree: genai-prices or model-prices."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Compare prices, contexts and the models themselves with the catalogues that are installed; nothing goes online.

    Where they disagree the dearer counts, until --trust says whom you believe. What is retired gives its slot to the
    model that is shipped today. Models with prices of your own change only when they are named.
    """
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import print_json, say

    if trust is not None and not names:
        raise InputError("--trust", "wants the models' names: whom you believe is said of each model")
    with reach.reach_store(read_settings()) as reached:
        services, now = reached.services, reached.services.clock()
        proposals = find_proposals(names or [], services, now, trust=trust)
        if apply:
            _write(proposals, services, now)
    if json:
        print_json([_view(each) for each in proposals])
        return
    _print(proposals)
    is_open = any(each.is_changed for each in proposals)
    if is_open and not apply:
        say("nothing is written yet; --apply does that")


def find_proposals(names: list[str], services: Services, now: datetime, *, trust: str | None) -> list[Proposal]:
    """What would change in the models. Raises InputError for unknown names, and for a catalogue that is not there."""
    from orchestratex.catalogues.base import NAMES
    from orchestratex.catalogues.refresh import load_catalogues, propose
    from orchestratex.cli.output import say
    from orchestratex.steps.profiles import require_known
    from orchestratex.store.migrations import shipped_rows

    known: dict[str, Profile] = {profile.model_name: profile for profile in services.store.profiles()}
    require_known(names, known)
    if trust is not None and trust not in NAMES:
        raise InputError("--trust", f"must be one of {', '.join(NAMES)}")
    catalogues = load_catalogues()
    found = {each.name for each in catalogues}
    if trust is not None and trust not in found:
        raise InputError("--trust", f"{trust} {_MISSING}")
    for missing in (name for name in NAMES if name not in found):
        say(f"{missing} {_MISSING}")
    shipped = {str(row["model_name"]): row for row in shipped_rows()}
    wanted = [known[name] for name in dict.fromkeys(names)] or list(known.values())
    return [
        propose(profile, catalogues, shipped=shipped, now=now, trust=trust, is_named=bool(names)) for profile in wanted
    ]


def _write(proposals: list[Proposal], services: Services, now: datetime) -> None:
    from orchestratex.steps.profiles import load_profiles

    rows = [{**each.row, "model_name": each.profile.model_name} for each in proposals if each.row]
    load_profiles(rows, services.store, now=now)


def _print(proposals: list[Proposal]) -> None:
    from orchestratex.cli.output import print_line

    for each in proposals:
        mark = "changes" if each.is_changed else "stays"
        print_line(f"{each.profile.model_name} ({each.profile.model_version}) {mark}")
        for finding in each.findings:
            print_line(f"  {finding}")
        if each.is_disputed:
            print_line("  the catalogues disagree: the dearer counts until you decide by --trust")


def _view(proposal: Proposal) -> dict[str, Any]:
    retirement = proposal.retirement
    return {
        "model_name": proposal.profile.model_name,
        "model_version": proposal.profile.model_version,
        "is_changed": proposal.is_changed,
        "is_disputed": proposal.is_disputed,
        "is_retired": retirement is not None and retirement.is_over,
        "retirement": None if retirement is None else retirement.text,
        "findings": proposal.findings,
        "row": _plain(proposal.row),
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    from pydantic_core import to_jsonable_python

    plain: dict[str, Any] = to_jsonable_python(row)
    return plain
