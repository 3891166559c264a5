"""How a thread's progress looks: a live block on a terminal, a line a change elsewhere, nothing beside JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from orchestratex.cli.output import format_cost, format_score, make_console, say
from orchestratex.cli.snapshot import Snapshot, describe_panels, describe_scores


class View(Protocol):
    """Shows how far a thread is."""

    def show(self, snapshot: Snapshot, note: str) -> None:
        """Show the present state; `note` is what the user should know about it."""


class SilentView:
    """Shows nothing."""

    def show(self, snapshot: Snapshot, note: str) -> None:
        """See View."""


class LineView:
    """Prints a line to stderr whenever it differs from the last."""

    def __init__(self) -> None:
        self._last: tuple[str, str] = ("", "")

    def show(self, snapshot: Snapshot, note: str) -> None:
        """See View."""
        line = " | ".join(f"{name} {value}".strip() for name, value in describe(snapshot))
        for text, last in zip((line, note), self._last, strict=True):
            if text and text != last:
                say(text)
        self._last = (line, note)


class LiveView:
    """Redraws a block on the terminal."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._started = time.monotonic()

    def show(self, snapshot: Snapshot, note: str) -> None:
        """See View."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        for name, value in describe(snapshot):
            grid.add_row(name or "status", value)
        grid.add_row("time", f"{time.monotonic() - self._started:.0f} s")
        block: RenderableType = grid
        if note:
            block = Table.grid()
            block.add_row(grid)
            block.add_row(Spinner("dots", text=note))
        self._live.update(block, refresh=True)


@contextmanager
def open_view(*, is_silent: bool) -> Iterator[View]:
    """The view that suits where stderr goes."""
    if is_silent:
        yield SilentView()
    elif sys.stderr.isatty():
        with Live(console=make_console(is_stderr=True), auto_refresh=False, transient=True) as live:
            yield LiveView(live)
    else:
        yield LineView()


def describe(snapshot: Snapshot) -> list[tuple[str, str]]:
    """The thread's state as names and values; the first, its status, needs no name."""
    thread = snapshot.thread
    pairs = [
        ("", thread.thread_status.value),
        ("iteration", f"{thread.current_iteration} of at most {thread.options.max_iterations}"),
    ]
    if snapshot.working:
        pairs.append(("at work", ", ".join(snapshot.working)))
    if snapshot.waiting:
        pairs.append(("waiting", ", ".join(snapshot.waiting)))
    if thread.scores:
        panels = zip(describe_scores(thread), describe_panels(thread), strict=True)
        shown = (panel if score is None else f"{format_score(score)} ({panel})" for score, panel in panels)
        pairs.append(("scores", " → ".join(shown)))
    pairs.append(("cost", format_cost(snapshot.cost_nanos)))
    return pairs
