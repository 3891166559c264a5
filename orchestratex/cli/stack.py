"""`orchestratex up` and `orchestratex init-db`: what has to run and stand before prompts can be answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orchestratex.local import LocalStack

PROCESSES = ("api", "worker", "control", "beat")


def up(
    flower: Annotated[bool, typer.Option("--flower/--no-flower", help="Whether to run Flower.")] = True,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
) -> None:
    """Run API, workers, control, beat and Flower in this terminal until Ctrl-C, with MongoDB and Redis if unset."""
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import say

    settings = read_settings()
    with reach.open_stack(
        settings,
        (*PROCESSES, "flower") if flower else PROCESSES,
        accept=lambda stack: stack.is_owner or reach.refuse_second(stack, settings),
        worker_count=workers,
        quiet=False,
    ) as stack:
        for line in describe_stack(stack, settings.api_host):
            say(line)
        stack.wait()


def init_db(
    profiles: Annotated[
        Path | None, typer.Option(help="A TOML file of profiles to load; by default ORCHESTRATEX_PROFILES.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list of what was done.")] = False,
) -> None:
    """Bring the database to its present form: validators, indexes, migrations, model profiles. It may run again.

    A file's new models are added, known ones changed in the fields that it names.
    """
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import print_json, print_line

    settings = read_settings()
    named = {"profiles_file": str(profiles) if profiles else settings.profiles_file}
    if settings.mongodb_uri:
        done = reach.init_database(settings.model_copy(update=named))
    else:  # servers that start for this command load no file, so that the lines say what was done
        with reach.reach_store(settings.model_copy(update={"profiles_file": None})) as reached:
            done = reach.init_database(reached.services.settings.model_copy(update=named))
    if json:
        print_json(done)
        return
    for line in done:
        print_line(line)


def describe_stack(stack: LocalStack, api_host: str) -> list[str]:
    """Where what runs can be found."""
    from orchestratex.cli.access import SANDBOX_NOTE

    lines = []
    if "api" in stack.ports:
        lines.append(f"API on http://{api_host}:{stack.ports['api']} (its description: /docs)")
    if "flower" in stack.ports:
        lines.append(f"Flower on http://127.0.0.1:{stack.ports['flower']}")
    if stack.uses_sandbox:
        lines.append(SANDBOX_NOTE)
    return [*lines, "Ctrl-C ends all of it"]
