"""`orchestratex solve`: one prompt, from the command line to its final response."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from orchestratex.errors import InputError

if TYPE_CHECKING:
    from bson import ObjectId

    from orchestratex.cli.jobs import Job, Resumption
    from orchestratex.cli.reach import Reached
    from orchestratex.cli.snapshot import Snapshot
    from orchestratex.settings import Settings
    from orchestratex.steps.submit import SessionRequest, ThreadRequest

LOOK_S = 0.2


def solve(
    prompt: Annotated[str, typer.Argument(help="What you want to know; - reads it from stdin.")],
    session: Annotated[str | None, typer.Option(help="Id of the session to add to; by default a new one.")] = None,
    max_iterations: Annotated[int | None, typer.Option(help="Rounds of answering and evaluating, 1-10.")] = None,
    quality_threshold: Annotated[float | None, typer.Option(help="Stop at this score, 1-10.")] = None,
    cost_limit: Annotated[float | None, typer.Option(help="US dollars that may be spent.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds after which it has to end with what it has.")] = None,
    effort: Annotated[str | None, typer.Option(help="How hard models think: none, low, medium or high.")] = None,
    prefer: Annotated[list[str] | None, typer.Option(help="A model to prefer; may be given more than once.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A model to leave out; may be given again.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Answer a prompt: start what is needed, show the progress, print the final response."""
    from orchestratex.cli.inputs import parse_session, parse_thread, read_settings
    from orchestratex.cli.jobs import Job

    settings = read_settings()
    options = {
        "max_iterations": max_iterations,
        "quality_threshold": quality_threshold,
        "deadline_s": deadline,
        "effort": effort,
        "preferred_models": prefer or None,
        "excluded_models": exclude or None,
    }
    wanted: SessionRequest | ObjectId = parse_session(cost_limit, session)
    request: ThreadRequest = parse_thread({"prompt": _read_prompt(prompt), **options})
    run_shown(Job(wanted, [request]), settings, is_json=json)


def _read_prompt(prompt: str) -> str:
    if prompt != "-":
        return prompt
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InputError("prompt", f"what stdin brought is not UTF-8: {error.reason}") from error


def run_shown(job: Job | Resumption, settings: Settings, *, is_json: bool) -> None:
    """Follow a job's one thread and print how it ended, before servers that were started for it are stopped."""
    from orchestratex.cli.run import run_job

    shown: list[Snapshot] = []

    def follow(reached: Reached) -> None:
        snapshot = follow_job(job, reached, is_silent=is_json)
        shown.append(snapshot)
        print_outcome(snapshot, uses_sandbox=reached.uses_sandbox, is_json=is_json)

    try:
        run_job(job, settings, follow, is_silent=is_json)
    except KeyboardInterrupt:
        if not shown:
            say_left(job)
        raise typer.Exit(130) from None
    if shown[0].thread.final_response is None:
        raise typer.Exit(1)


def follow_job(job: Job | Resumption, reached: Reached, *, is_silent: bool) -> Snapshot:
    """Show a job's one thread until it has ended."""
    from orchestratex.cli.follow import Watch
    from orchestratex.cli.progress import open_view
    from orchestratex.cli.snapshot import take_snapshot
    from orchestratex.cli.waits import WaitWatch

    waits = WaitWatch(reached.services)
    watch = Watch(
        lambda: take_snapshot(job.threads[0].id, reached.services),
        is_final=lambda seen: seen.thread.is_ended,
        pause_s=LOOK_S,
        reached=reached,
    )
    with open_view(is_silent=is_silent) as view:
        return watch.run(lambda seen: view.show(seen, waits.tell(seen)))


def say_left(job: Job | Resumption) -> None:
    """Tell who interrupts a job whether it goes on, and what to run."""
    from orchestratex.cli.output import say
    from orchestratex.cli.run import ALONE

    for thread in job.threads:
        if job.is_left_alone:
            say(f"Left as it is, or ended by what was under way. {ALONE}")
            say(f"Go on with: orchestratex retry {thread.id}")
        else:
            say(f"Left to the workers that go on with it; look with: orchestratex show {thread.id}")


def print_outcome(snapshot: Snapshot, *, uses_sandbox: bool, is_json: bool) -> None:
    """Print how a thread ended; why it failed is said once."""
    from orchestratex.cli.advice import advise
    from orchestratex.cli.output import print_json, say
    from orchestratex.cli.result import print_result
    from orchestratex.cli.snapshot import view_result

    if is_json:
        print_json(view_result(snapshot, uses_sandbox=uses_sandbox))
    else:
        has_failed = snapshot.thread.final_response is None
        print_result(snapshot, uses_sandbox=uses_sandbox, tells_failure=not has_failed)
    if snapshot.thread.final_response is None:
        say(f"error: the thread failed: {snapshot.thread.failure_reason}")
        advice = advise(snapshot.thread)
        if advice:
            say(f"next: {advice}")
