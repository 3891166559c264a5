"""`orchestratex submit`: a file of prompts in one session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestratex.errors import InputError

if TYPE_CHECKING:
    from orchestratex.cli.jobs import Job
    from orchestratex.cli.reach import Reached
    from orchestratex.domain.thread import Thread
    from orchestratex.settings import Settings

COLUMNS = ("line", "thread", "status", "score", "iterations", "cost", "stop_reason", "prompt")
NARROW_COLUMNS = ("line", "thread", "status", "final", "cost", "begins")  # of a terminal of 80 signs
LOOK_S = 1.0
PROMPT_CHARS = 50
NARROW_PROMPT_CHARS = 19
_WIDE = 160  # signs that all columns need


def submit(
    file: Annotated[Path, typer.Argument(help='One {"prompt": ..., options} a line; - reads stdin.')],
    session: Annotated[str | None, typer.Option(help="Id of the session to add to; by default a new one.")] = None,
    cost_limit: Annotated[float | None, typer.Option(help="US dollars that may be spent on all of them.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to wait until all have ended.")] = True,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes, where we start them.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """Submit many prompts: none is taken unless all are good. Exits 0 when all have been completed."""
    from orchestratex.cli.batch import read_batch
    from orchestratex.cli.inputs import parse_session, read_settings
    from orchestratex.cli.jobs import Job
    from orchestratex.cli.run import run_job

    settings = read_settings()
    wanted = parse_session(cost_limit, session)
    requests, lines = read_batch(file)
    job = Job(wanted, requests, lines=lines)
    if not wait:
        _enqueue(job, settings, is_json=json)
        return
    shown: list[Thread] = []

    def follow(reached: Reached) -> None:
        threads = _follow(job, reached, is_silent=json)
        shown.extend(threads)
        _print(threads, lines, is_json=json)  # before servers that were started for it are stopped

    try:
        run_job(job, settings, follow, worker_count=workers, is_silent=json)
    except KeyboardInterrupt:
        if not shown:
            _say_left(job)
        raise typer.Exit(130) from None
    if any(thread.final_response is None for thread in shown):
        raise typer.Exit(1)


def _enqueue(job: Job, settings: Settings, *, is_json: bool) -> None:
    """Submit to workers that run already."""
    from orchestratex.cli import reach
    from orchestratex.cli.access import describe_models
    from orchestratex.cli.output import print_json, print_line, say

    if not reach.names_services(settings) and not reach.is_stack_running(settings):
        raise InputError(
            "--no-wait",
            "no workers run here that could go on without this command; start `orchestratex up`, or set "
            "ORCHESTRATEX_MONGODB_URI and ORCHESTRATEX_REDIS_URL",
        )
    with reach.reach_workers(settings, prepare=job.submit) as reached:
        for note in () if is_json else describe_models(reached, settings):
            say(note)
        for thread in job.threads:
            if is_json:
                print_json({"thread_id": str(thread.id), "session_id": str(thread.session_id)}, is_line=True)
            else:
                print_line(str(thread.id))
        if not is_json:
            say(f"In one session; when they have ended: orchestratex results {job.threads[0].session_id}")


def _follow(job: Job, reached: Reached, *, is_silent: bool) -> list[Thread]:
    from orchestratex.cli.follow import Watch
    from orchestratex.cli.tally import open_tally
    from orchestratex.cli.waits import Idleness, WaitWatch

    wanted = [thread.id for thread in job.threads]

    def look() -> list[Thread]:
        by_id = {thread.id: thread for thread in reached.services.store.threads_of(job.threads[0].session_id)}
        return [by_id[thread_id] for thread_id in wanted]

    idleness = Idleness(WaitWatch(reached.services).explain)
    watch = Watch(look, is_final=lambda seen: all(each.is_ended for each in seen), pause_s=LOOK_S, reached=reached)
    with open_tally(len(wanted), is_silent=is_silent) as show:
        return watch.run(lambda seen: show(seen, idleness.note([t.moves for t in seen], is_worked_on=_is_held(seen))))


def _is_held(threads: list[Thread]) -> bool:
    return any(thread.lease_token is not None for thread in threads)


def _say_left(job: Job) -> None:
    from orchestratex.cli.output import say
    from orchestratex.cli.run import ALONE

    if not job.threads:
        return
    say(f"{len(job.threads)} threads of session {job.threads[0].session_id} are left as they are.")
    if job.is_left_alone:
        say(ALONE.replace(" it ", " them "))
    say(f"Look with: orchestratex show {job.threads[0].id}")


def _print(threads: list[Thread], lines: list[int], *, is_json: bool) -> None:
    from orchestratex.cli.output import format_cost, print_json, print_table, say, stdout_width
    from orchestratex.cli.snapshot import view_thread

    if is_json:
        for line, thread in zip(lines, threads, strict=True):
            print_json({"line": line, **view_thread(thread)}, is_line=True)
        return
    rows = [_make_row(line, thread) for line, thread in zip(lines, threads, strict=True)]
    is_wide = stdout_width() >= _WIDE
    columns = COLUMNS if is_wide else NARROW_COLUMNS
    print_table(columns, [[row[column] for column in columns] for row in rows])
    completed = sum(thread.final_response is not None for thread in threads)
    total = format_cost(sum(thread.total_cost_nanos for thread in threads))
    session_id = threads[0].session_id
    say(f"{completed} of {len(threads)} completed for {total} in session {session_id}; their texts:")
    say(f"orchestratex results {session_id}")


def _make_row(line: int, thread: Thread) -> dict[str, Any]:
    from orchestratex.cli.output import format_cost, format_score, shorten
    from orchestratex.cli.result import describe_score, describe_status

    return {
        "line": line,
        "thread": thread.id,
        "status": describe_status(thread),
        "score": describe_score(thread),
        "final": format_score(thread.final_quality_score),
        "iterations": thread.current_iteration,
        "cost": format_cost(thread.total_cost_nanos),
        "stop_reason": thread.stop_reason.value if thread.stop_reason else "-",
        "prompt": shorten(thread.original_prompt, PROMPT_CHARS),
        "begins": shorten(thread.original_prompt, NARROW_PROMPT_CHARS),
    }
