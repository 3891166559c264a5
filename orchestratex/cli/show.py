"""`orchestratex show`: a thread as its user sees it."""

from __future__ import annotations

from typing import Annotated

import typer


def show(
    thread_id: Annotated[str, typer.Argument(help="Id of the thread.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a thread's status and progress, and its final response when it is completed."""
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import parse_id, read_settings
    from orchestratex.cli.output import print_json
    from orchestratex.cli.result import print_result
    from orchestratex.cli.snapshot import take_snapshot, view_result
    from orchestratex.cli.waits import WaitWatch

    wanted = parse_id("thread_id", thread_id)
    with reach.reach_store(read_settings()) as reached:
        snapshot = take_snapshot(wanted, reached.services)
        waiting = WaitWatch(reached.services).find(snapshot)
    if json:
        print_json(view_result(snapshot, waiting))
    else:
        print_result(snapshot, waiting)
