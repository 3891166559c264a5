"""`orchestratex purge`: deleting threads and sessions with everything that belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestratex.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from bson import ObjectId

    from orchestratex.steps.purge import Purged
    from orchestratex.steps.services import Services
    from orchestratex.store.purging import Extent, Scope


def purge(
    user: Annotated[str | None, typer.Option(help="Delete all that this user ever asked.")] = None,
    session: Annotated[str | None, typer.Option(help="Delete this session, by its id.")] = None,
    before: Annotated[
        str | None, typer.Option(help="Only what ended before a day, a moment in UTC, or so long ago: 90d.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Delete threads and sessions for good; says how many first, and asks. The metrics keep what they counted.

    With --user or --session alone, sessions that are open are ended first, and their running threads cancelled; with
    --before only what has ended goes. Exits 1 where something has to wait for calls under way.
    """
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import parse_id, parse_since, read_settings
    from orchestratex.cli.output import print_json, print_line, say

    if user is None and session is None and before is None:
        raise InputError("purge", "name what to delete: --user, --session or --before")
    session_id = None if session is None else parse_id("session_id", session)
    moment = None if before is None else parse_since("--before", before)
    with reach.reach_store(read_settings()) as reached:
        services = reached.services
        scope = _find_scope(user, session_id, moment, services)
        extent = services.store.measure_extent(scope)
        say(_describe_extent(extent, is_ending=moment is None))
        if extent.threads or extent.sessions or (extent.running and moment is None):
            if not yes:
                typer.confirm("Delete them?", abort=True, err=True)
            done = _delete(scope, user, services)
        else:
            done = None
    threads, sessions, left = (done.threads, done.sessions, done.left) if done else (0, 0, 0)
    if json:
        print_json({"threads": threads, "sessions": sessions, "left": left, "found": extent.model_dump()})
    else:
        print_line(f"threads deleted: {threads}; sessions deleted: {sessions}")
    if left:
        say(f"threads that stay until their calls under way are over: {left}; run this again in a minute")
        raise typer.Exit(1)


def _find_scope(user: str | None, session_id: ObjectId | None, before: datetime | None, services: Services) -> Scope:
    from orchestratex.store.purging import Scope

    store = services.store
    sessions = None if user is None else store.sessions_of(user)
    if session_id is not None:
        known = store.get_session(session_id)
        if user is not None and known.user_id != user:
            raise InputError("session_id", f"{session_id} belongs to another user than {user}")
        sessions = [session_id]
    return Scope(sessions=None if sessions is None else tuple(sessions), before=before)


def _describe_extent(extent: Extent, *, is_ending: bool) -> str:
    found = f"To delete for good: ended threads: {extent.threads}; sessions: {extent.sessions}"
    if not extent.running:
        return found
    more = "cancelled first, and deleted, too" if is_ending else "left as they are"
    return f"{found}; threads that still run, {more}: {extent.running}"


def _delete(scope: Scope, user: str | None, services: Services) -> Purged:
    from orchestratex.advance import end_session
    from orchestratex.steps.purge import purge, purge_older

    if scope.sessions is None and scope.before is not None:
        return purge_older(scope.before, services)
    for session_id in (scope.sessions or ()) if scope.before is None else ():
        end_session(session_id, services)
    done = purge(scope, services)
    if user is not None:
        services.store.forget_days(user, until=f"{services.clock():%Y-%m-%d}")
    return done
