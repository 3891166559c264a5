"""`orchestratex cancel` and `orchestratex retry`: ending threads early, and taking up again what ended."""

from __future__ import annotations

from typing import Annotated

import typer


def cancel(
    thread_ids: Annotated[list[str], typer.Argument(help="Ids of the threads.", metavar="THREAD_ID...")],
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """End threads now: no further call is made, and each ends with its best response so far, or failed without one."""
    from orchestratex.advance import cancel as cancel_thread
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import parse_id, read_settings
    from orchestratex.cli.output import print_json, print_table
    from orchestratex.cli.snapshot import view_thread

    wanted = [parse_id("thread_id", each) for each in thread_ids]
    with reach.reach_store(read_settings()) as reached:
        for each in wanted:
            reached.services.store.get_thread(each)  # all are known before one is ended
        ended = [cancel_thread(each, reached.services) for each in wanted]
    if json:
        for thread in ended:
            print_json(view_thread(thread), is_line=True)
        return
    rows = [(t.id, t.thread_status.value, t.stop_reason.value if t.stop_reason else "-") for t in ended]
    print_table(("thread", "status", "stop_reason"), rows)


def retry(
    thread_id: Annotated[str, typer.Argument(help="Id of one that failed, was cancelled, met a limit or was left.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Take an ended thread up again from where it stood, or one that nobody works on, and follow it to its end.

    Nothing is paid twice.
    """
    from orchestratex.cli.inputs import parse_id, read_settings
    from orchestratex.cli.jobs import Resumption
    from orchestratex.cli.solve import run_shown

    run_shown(Resumption(parse_id("thread_id", thread_id)), read_settings(), is_json=json)
