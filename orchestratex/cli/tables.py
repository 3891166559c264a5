"""Tables that cut no word: columns as wide as their longest word, and where those do not fit, a block for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table

_GAP: Final = 2  # signs between columns
Row = Sequence[str]


def draw_table(columns: Row, rows: Sequence[Row], *, width: int) -> RenderableType:
    """A table of at most `width` signs, but for single words that are longer."""
    widths = fit_columns(columns, rows, width=width)
    return _draw_blocks(columns, rows) if widths is None else _draw_columns(columns, rows, widths)


def choose_columns(columns: Row, rows: Sequence[Row], *, spare: Row, width: int) -> list[int]:
    """Which columns fit side by side, by their places: as many of the spare ones are left out as must be, in order.

    All of them where even without the spare ones the others do not fit.
    """
    for count in range(len(spare) + 1):
        kept = [at for at, column in enumerate(columns) if column not in spare[:count]]
        cells = [[row[at] for at in kept] for row in rows]
        if fit_columns([columns[at] for at in kept], cells, width=width) is not None:
            return kept
    return list(range(len(columns)))


def fit_columns(columns: Row, rows: Sequence[Row], *, width: int) -> list[int] | None:
    """How wide each column is: as its content, the widest narrowed down to their longest word until all fit.

    None where even their longest words do not.
    """
    cells = [[column, *(row[at] for row in rows)] for at, column in enumerate(columns)]
    widths = [max(map(_measure_lines, column)) for column in cells]
    least = [max(map(_measure_words, column)) for column in cells]
    left = width - _GAP * (len(widths) - 1)
    if sum(least) > left:
        return None
    while sum(widths) > left:
        at = max(range(len(widths)), key=lambda each: (widths[each] > least[each], widths[each]))
        widths[at] -= 1
    return widths


def _draw_columns(columns: Row, rows: Sequence[Row], widths: Sequence[int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0), collapse_padding=True)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _draw_blocks(columns: Row, rows: Sequence[Row]) -> Group:
    blocks: list[RenderableType] = []
    for row in rows:
        grid = Table.grid(padding=(0, _GAP))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for column, cell in zip(columns, row, strict=True):
            grid.add_row(column, cell)
        blocks += [grid, ""] if row is not rows[-1] else [grid]
    return Group(*blocks)


def _measure_lines(text: str) -> int:
    return max(map(cell_len, text.split("\n")), default=0)


def _measure_words(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)
