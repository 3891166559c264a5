"""How many threads of a file are where."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestratex.cli.output import format_cost, make_console, say
from orchestratex.domain.thread import Thread

Show = Callable[[Sequence[Thread], str], None]


@contextmanager
def open_tally(total: int, *, is_silent: bool) -> Iterator[Show]:
    """Shows the threads' states: a bar on a terminal, a line a change elsewhere."""
    if is_silent:
        yield lambda _threads, _note: None
    elif sys.stderr.isatty():
        with _open_bar(total) as show:
            yield show
    else:
        yield _make_lines()


def describe_tally(threads: Sequence[Thread]) -> str:
    """The number of threads in each state, and what they cost so far."""
    counts = Counter(thread.thread_status.value for thread in threads)
    cost = format_cost(sum(thread.total_cost_nanos for thread in threads))
    return f"{', '.join(f'{count} {status}' for status, count in sorted(counts.items()))} | cost {cost}"


@contextmanager
def _open_bar(total: int) -> Iterator[Show]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=make_console(is_stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)

        def show(threads: Sequence[Thread], note: str) -> None:
            ended = sum(thread.is_ended for thread in threads)
            progress.update(task, completed=ended, description=note or describe_tally(threads))

        yield show


def _make_lines() -> Show:
    last = ["", ""]

    def show(threads: Sequence[Thread], note: str) -> None:
        for at, text in enumerate((describe_tally(threads), note)):
            if text and text != last[at]:
                say(text)
            last[at] = text

    return show
