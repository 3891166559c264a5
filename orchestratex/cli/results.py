"""`orchestratex results`: what became of a session's prompts."""

from __future__ import annotations

from typing import Annotated

import typer


def results(session_id: Annotated[str, typer.Argument(help="Id of the session.", metavar="SESSION")]) -> None:
    """Print a session's ended threads as JSONL, in the order in which they were submitted.

    Exits 1 where one has failed or still runs; those that run are left out.
    """
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import parse_id, read_settings
    from orchestratex.cli.output import print_json, say
    from orchestratex.cli.snapshot import view_thread

    wanted = parse_id("session_id", session_id)
    with reach.reach_store(read_settings()) as reached:
        reached.services.store.get_session(wanted)
        threads = sorted(reached.services.store.threads_of(wanted), key=lambda each: (each.created_at, each.id))
    for thread in threads:
        if thread.is_ended:
            print_json({"prompt": thread.original_prompt, **view_thread(thread)}, is_line=True)
    running = [thread for thread in threads if not thread.is_ended]
    if running:
        say(f"still running and left out: {len(running)} of {len(threads)}; orchestratex list --session {wanted}")
    if running or any(thread.final_response is None for thread in threads):
        raise typer.Exit(1)
