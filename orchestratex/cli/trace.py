"""`orchestratex trace`: everything that is stored about a thread."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer


def trace(
    thread_id: Annotated[str, typer.Argument(help="Id of the thread.")],
    json: Annotated[bool, typer.Option("--json", help="Print every document, keyed by collection.")] = False,
) -> None:
    """Show a thread's selections, responses, evaluations, criticism, decisions, costs and events."""
    from orchestratex.cli import reach
    from orchestratex.cli.documents import dump_documents, read_documents
    from orchestratex.cli.inputs import parse_id, read_settings
    from orchestratex.cli.output import make_console, print_json
    from orchestratex.cli.snapshot import Snapshot
    from orchestratex.cli.timeline import draw_trace
    from orchestratex.cli.waits import WaitWatch

    wanted = parse_id("thread_id", thread_id)
    with reach.reach_store(read_settings()) as reached:
        documents = read_documents(wanted, reached.services.store)
        found = WaitWatch(reached.services).find(Snapshot(documents.thread, documents.responses))
    if json:
        print_json(dump_documents(documents))
    else:
        make_console().print(draw_trace(documents, found.tell(datetime.now(UTC)) if found else None))
