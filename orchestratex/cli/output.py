"""How commands speak: results on stdout, everything else on stderr, and no text of a model is ever markup."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from orchestratex.cli.prose import cut_text, wrap_prose
from orchestratex.cli.streams import can_write
from orchestratex.cli.tables import choose_columns, draw_table
from orchestratex.domain.base import to_usd
from orchestratex.terminal import dump_json, escape, escape_json, escape_prose

_PLAIN_WIDTH: Final = 200  # of tables in pipes and files


class HarmlessConsole(Console):
    """A console on which other people's text can do nothing, in whatever it stands."""

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console: made harmless before it is measured, so that columns stay in line."""
        return super().render_str(escape_prose(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """See Console: the last look, for renderables that bring a text of their own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escape_prose(segment.text), segment.style)


def make_console(*, is_stderr: bool = False) -> Console:
    """A console that takes every string as it is."""
    stream = sys.stderr if is_stderr else sys.stdout
    width = None if stream.isatty() else _PLAIN_WIDTH
    return HarmlessConsole(file=stream, markup=False, emoji=False, highlight=False, width=width)


def stdout_width() -> int:
    """How many signs a line of stdout has; in a pipe or a file as many as tables there may have."""
    return make_console().width


def say(text: str) -> None:
    """Tell the user something beside the result."""
    print(escape(text), file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    """Print a line of the result."""
    print(escape(text))


def shorten(text: str, length: int) -> str:
    """The beginning of a text on one line, cut between words."""
    return cut_text(" ".join(escape_prose(text).split()), length)


def print_text(text: str) -> None:
    """Print a model's text: to a terminal with its hidden characters shown and no word cut in two, else verbatim."""
    is_terminal = sys.stdout.isatty()
    sys.stdout.write(wrap_prose(escape_prose(text), width=make_console().width) if is_terminal else text)
    if not text.endswith("\n"):
        sys.stdout.write("\n")
    sys.stdout.flush()


def print_json(value: object, *, is_line: bool = False) -> None:
    """Print one JSON document, on a line of its own or indented for people.

    Where stdout's encoding lacks a character all others than ASCII are JSON's own escapes: the document means the same.
    """
    text = dump_json(value, indent=None if is_line else 2)
    print(text if can_write(text, sys.stdout) else escape_json(text), flush=True)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line."""
    console = make_console()
    if not console.is_terminal:
        for name, value in pairs:
            print_line(f"{name + ':':<14}{value}")
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    for name, value in pairs:
        grid.add_row(escape(name), escape(value))
    console.print(grid)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, spare: Sequence[str] = ()) -> None:
    """Print a table that cuts no word.

    Where the terminal is too narrow the spare columns are left out, as many as must be, in their order, and that is
    said; where that does not help either each row is a block.
    """
    console = make_console()
    cells = [[escape(str(cell)) for cell in row] for row in rows]
    kept = choose_columns(columns, cells, spare=spare, width=console.width)
    shown = [[row[at] for at in kept] for row in cells]
    console.print(draw_table([columns[at] for at in kept], shown, width=console.width))
    if missing := [column for at, column in enumerate(columns) if at not in kept]:
        say(f"left out in so narrow a terminal: {', '.join(missing)}; --json has them")


def format_cost(nanos: int) -> str:
    """An amount in US dollars, with as many digits as single calls cost."""
    return f"${to_usd(nanos):.6f}"


def format_score(score: float | None) -> str:
    """A score from 1 to 10; a dash where there is none."""
    return "-" if score is None else f"{score:.2f}"
