"""`orchestratex models check`: can the models be called from here, and is what we know about them complete?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

import typer

from orchestratex.errors import InputError

if TYPE_CHECKING:
    from orchestratex.domain.profile import Profile
    from orchestratex.steps.check import Finding
    from orchestratex.steps.services import Services

COLUMNS = ("model", "what", "", "found")
AT_ONCE = 8  # endpoints asked side by side: one that does not answer holds up no other


def check(
    names: Annotated[list[str] | None, typer.Argument(help="The models; by default all that are switched on.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Look at address, key, endpoint, list of models, breaker, limits and prices, at no cost; exits 1 when one fails.

    A model without a key fails when it is named; else it is only left out, as it is from every selection.
    """
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import print_json, print_table

    with reach.reach_store(read_settings(), with_models=True) as reached:
        found = find_out(names or [], reached.services)
    if json:
        print_json([_view(name, findings) for name, findings in found.items()])
    else:
        rows = [(name, each.about, each.grade.value, each.text) for name, each in _flatten(found)]
        print_table(COLUMNS, rows)
    if not all(map(has_passed, found.values())):
        raise typer.Exit(1)


def find_out(names: list[str], services: Services) -> dict[str, list[Finding]]:
    """Findings by model. Raises InputError for unknown names, and when nothing can be asked."""
    from orchestratex.steps.check import check_model
    from orchestratex.steps.profiles import require_known

    known = {profile.model_name: profile for profile in services.store.profiles()}
    require_known(names, known)
    wanted = [known[name] for name in dict.fromkeys(names)] or [each for each in known.values() if each.is_active]
    if not wanted:
        raise InputError("models", "none is switched on; `orchestratex models enable NAME` does that")
    nobody = not any(services.providers.can_serve(profile) for profile in wanted)

    def look(profile: Profile) -> list[Finding]:
        return check_model(profile, services, needs_key=bool(names) or nobody)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {profile.model_name: list(each) for profile, each in zip(wanted, pool.map(look, wanted), strict=True)}


def has_passed(findings: list[Finding]) -> bool:
    """Whether nothing failed."""
    return not any(each.grade.value == "failed" for each in findings)


def _flatten(found: dict[str, list[Finding]]) -> list[tuple[str, Finding]]:
    return [(name, each) for name, findings in found.items() for each in findings]


def _view(name: str, findings: list[Finding]) -> dict[str, object]:
    listed = {each.about: {"grade": each.grade.value, "text": each.text} for each in findings}
    return {"model_name": name, "passed": has_passed(findings), "findings": listed}
