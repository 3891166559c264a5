"""`orchestratex list`: finding threads again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestratex.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from orchestratex.domain.thread import Thread
    from orchestratex.store.listing import Wanted

COLUMNS = ("thread", "session", "user", "status", "stood", "score", "cost", "prompt")
NARROW_COLUMNS = ("thread", "status", "stood", "score", "cost", "begins")  # of a terminal of 80 signs
PROMPT_CHARS = 50
NARROW_PROMPT_CHARS = 17
MOST = 1000
_WIDE = 150  # signs that all columns need


def list_threads(
    session: Annotated[str | None, typer.Option(help="Only threads of this session, by its id.")] = None,
    user: Annotated[str | None, typer.Option(help="Only threads of this user.")] = None,
    status: Annotated[str | None, typer.Option(help="running, queued, ended, completed, failed, or one step.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Submitted since a day, a moment in UTC, or so long ago: 2h.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Threads to show, the newest, 1-1000.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List threads, the newest first, and how long each has stood where it is (since it ended, where it has)."""
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import print_json

    if not 1 <= limit <= MOST:
        raise InputError("--limit", f"must be from 1 to {MOST}")
    wanted = _parse_wanted(session, user, status, since)
    with reach.reach_store(read_settings()) as reached:
        services = reached.services
        if wanted.session_id is not None:
            services.store.get_session(wanted.session_id)
        found = services.store.find_threads(wanted, limit=limit + 1)
        now = services.clock()
    threads = found[:limit]
    if json:
        print_json([view_listed(thread, now) for thread in threads])
    else:
        _print(threads, now, is_cut=len(found) > limit)
    if len(found) > limit:
        from orchestratex.cli.output import say

        say(f"There are more; these are the newest {limit}. --limit shows up to {MOST}, --since and others fewer.")


def view_listed(thread: Thread, now: datetime) -> dict[str, Any]:
    """A thread in a list, for programs."""
    from orchestratex.domain.base import to_usd
    from orchestratex.rules.scoring import round_score

    return {
        "id": thread.reference,
        "thread_id": str(thread.id),
        "session_id": str(thread.session_id),
        "user_id": thread.user_id,
        "status": thread.thread_status.value,
        "is_queued": thread.is_queued,
        "stood_s": round(_measure_stood(thread, now), 3),
        "final_quality_score": round_score(thread.final_quality_score),
        "stop_reason": thread.stop_reason.value if thread.stop_reason else None,
        "failure_reason": thread.failure_reason,
        "total_cost": to_usd(thread.total_cost_nanos),
        "prompt": thread.original_prompt,
        "created_at": thread.created_at.isoformat(),
        "completed_at": thread.completed_at.isoformat() if thread.completed_at else None,
    }


def _measure_stood(thread: Thread, now: datetime) -> float:
    """Seconds since its last move, or since its end."""
    return max(0.0, (now - (thread.completed_at or thread.updated_at)).total_seconds())


def _parse_wanted(session: str | None, user: str | None, status: str | None, since: str | None) -> Wanted:
    from orchestratex.cli.inputs import parse_id, parse_since
    from orchestratex.store.listing import Wanted

    statuses, is_queued = _parse_status(status)
    return Wanted(
        session_id=None if session is None else parse_id("session_id", session),
        user_id=user,
        statuses=statuses,
        is_queued=is_queued,
        since=None if since is None else parse_since("--since", since),
    )


def _parse_status(text: str | None) -> tuple[Any, bool | None]:
    from orchestratex.domain.base import ThreadStatus

    ended = (ThreadStatus.COMPLETED, ThreadStatus.FAILED)
    groups = {"ended": ended, "running": tuple(each for each in ThreadStatus if each not in ended)}
    if text is None or text == "queued":
        return None, None if text is None else True
    if text in groups:
        return groups[text], False if text == "running" else None
    if text in list(ThreadStatus):
        return (ThreadStatus(text),), None
    raise InputError("--status", f"must be one of {', '.join(['running', 'queued', 'ended', *ThreadStatus])}")


def _print(threads: list[Thread], now: datetime, *, is_cut: bool) -> None:
    from orchestratex.cli.output import format_cost, print_line, print_table, stdout_width

    if not threads:
        print_line("no thread there")
        return
    columns = COLUMNS if stdout_width() >= _WIDE else NARROW_COLUMNS
    rows = [_make_row(thread, now) for thread in threads]
    print_table(columns, [[row[column] for column in columns] for row in rows])
    count = f"{len(threads)} thread{'' if len(threads) == 1 else 's'}"
    cost = format_cost(sum(thread.total_cost_nanos for thread in threads))
    print_line(f"the newest {count}, {cost} so far" if is_cut else f"{count}, {cost} in all")


def _make_row(thread: Thread, now: datetime) -> dict[str, Any]:
    from orchestratex.cli.output import format_cost, format_score, shorten
    from orchestratex.cli.result import describe_status
    from orchestratex.rules.ages import describe_age

    return {
        "thread": thread.id,
        "session": thread.session_id,
        "user": shorten(thread.user_id, 20) or "-",
        "status": "queued" if thread.is_queued else describe_status(thread),
        "stood": describe_age(_measure_stood(thread, now)),
        "score": format_score(thread.final_quality_score),
        "cost": format_cost(thread.total_cost_nanos),
        "prompt": shorten(thread.original_prompt, PROMPT_CHARS),
        "begins": shorten(thread.original_prompt, NARROW_PROMPT_CHARS),
    }
