"""`orchestratex models check`: can the models be called from here, and is what we know about them complete?"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

import typer

from orchestratex.errors import InputError

if TYPE_CHECKING:
    from orchestratex.cli.outcome import Tried
    from orchestratex.cli.reach import Reached
    from orchestratex.domain.profile import Profile
    from orchestratex.steps.check import Finding

COLUMNS = ("model", "what", "", "found")
CALL_COLUMNS = ("model", "answer", "s", "evaluation", "s", "cost")
AT_ONCE = 8  # endpoints asked side by side: one that does not answer holds up no other

Found = dict[str, list["Finding"]]


def check(
    names: Annotated[list[str] | None, typer.Argument(help="The models; by default all that are switched on.")] = None,
    call: Annotated[
        bool, typer.Option("--call", help="Let each model answer a short prompt and evaluate another's answer, too.")
    ] = False,
    cost_limit: Annotated[
        float | None,
        typer.Option(help="US dollars that the calls may cost together; by default 0.20 for each model."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Look at address, key, endpoint, list of models, breaker, limits and prices, at no cost; exits 1 when one fails.

    A model without a key fails when it is named; else it is only left out, as it is from every selection.
    """
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import read_settings

    if cost_limit is not None and not call:
        raise InputError("--cost-limit", "belongs to --call: without it nothing is paid for")
    tried: dict[str, Tried] = {}
    if call:
        found, tried = _call(names or [], cost_limit, is_json=json)
    else:
        with reach.reach_store(read_settings(), with_models=True) as reached:
            found = find_out(names or [], reached)
            _print(found, tried, is_json=json)
    if not all(map(has_passed, found.values())) or not all(each.has_passed for each in tried.values()):
        raise typer.Exit(1)


def _call(names: list[str], cost_limit: float | None, *, is_json: bool) -> tuple[Found, dict[str, Tried]]:
    from orchestratex.cli.inputs import plan_own_session, read_settings
    from orchestratex.cli.output import say
    from orchestratex.cli.run import run_job
    from orchestratex.cli.trial import Trial

    plan_own_session(cost_limit)  # a limit that is none is told before anything is started
    trial = Trial(names, cost_limit)

    def follow(reached: Reached) -> dict[str, Tried]:
        tried = trial.run(reached, is_silent=is_json)
        _print(trial.found, tried, is_json=is_json)  # before servers that were started for it are stopped
        return tried

    try:
        tried, _ = run_job(trial, read_settings(), follow, is_silent=is_json)
    except KeyboardInterrupt:
        say("The calls under way are left as they are.")
        raise typer.Exit(130) from None
    return trial.found, tried


def _print(found: Found, tried: Mapping[str, Tried], *, is_json: bool) -> None:
    from orchestratex.cli.output import print_json, print_line, print_table

    if is_json:
        print_json([_view(name, findings, tried.get(name)) for name, findings in found.items()])
        return
    print_table(COLUMNS, [(name, each.about, each.grade.value, each.text) for name, each in _flatten(found)])
    asked = {name: each for name, each in tried.items() if each.was_wanted} or tried
    if asked:  # whom nobody has a key for stands in the first table
        print_line("")
        print_table(CALL_COLUMNS, [each.row(name) for name, each in asked.items()])


def find_out(names: list[str], reached: Reached) -> Found:
    """Findings by model. Raises InputError for unknown names, and when nothing can be asked."""
    from orchestratex.cli.access import is_played
    from orchestratex.steps.check import check_model
    from orchestratex.steps.profiles import require_known

    services = reached.services
    known = {profile.model_name: profile for profile in services.store.profiles()}
    require_known(names, known)
    wanted = [known[name] for name in dict.fromkeys(names)] or [each for each in known.values() if each.is_active]
    if not wanted:
        raise InputError("models", "none is switched on; `orchestratex models enable NAME` does that")
    nobody = not any(services.providers.can_serve(profile) for profile in wanted)

    def look(profile: Profile) -> list[Finding]:
        in_sandbox = is_played(profile) if reached.uses_sandbox else None
        return check_model(profile, services, needs_key=bool(names) or nobody, in_sandbox=in_sandbox)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {profile.model_name: list(each) for profile, each in zip(wanted, pool.map(look, wanted), strict=True)}


def has_passed(findings: list[Finding]) -> bool:
    """Whether nothing failed."""
    return not any(each.grade.value == "failed" for each in findings)


def _flatten(found: Found) -> list[tuple[str, Finding]]:
    return [(name, each) for name, findings in found.items() for each in findings]


def _view(name: str, findings: list[Finding], tried: Tried | None) -> dict[str, object]:
    listed = {each.about: {"grade": each.grade.value, "text": each.text} for each in findings}
    passed = has_passed(findings) and (tried is None or tried.has_passed)
    return {"model_name": name, "passed": passed, "findings": listed, **({"call": tried.view()} if tried else {})}
