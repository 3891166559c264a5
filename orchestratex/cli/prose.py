"""A model's text on a terminal: lines end between words, and what is code stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_INDENT: Final = re.compile(r"\s*(?:(?:[-*+]|\d{1,3}[.)])\s+|>\s?)*")  # of a list's item or a quotation
_MOST_INDENT: Final = 12


def wrap_prose(text: str, *, width: int) -> str:
    """The text with line feeds where a terminal of so many signs would cut words; a single word may be longer.

    Lines in fences, indented by four and in tables are left as they are: who copies code wants it whole.
    """
    return "\n".join(_wrap_lines(text.split("\n"), width))


def cut_text(text: str, length: int) -> str:
    """The beginning of a one-line text, ended with a sign for what is left out: between words where there are any.

    Only what has no space near the end, such as a long address or Chinese, is cut where it has to be.
    """
    if len(text) <= length:
        return text
    kept = text[: length - 1]
    at = len(kept) if text[length - 1].isspace() else kept.rfind(" ")
    return f"{kept[:at].rstrip() if at > 0 and at >= length // 3 else kept}…"


def _wrap_lines(lines: list[str], width: int) -> Iterator[str]:
    fence = ""
    for line in lines:
        found = _FENCE.match(line)
        if found and (not fence or line.strip().startswith(fence)):
            fence = "" if fence else found[1]
            yield line
        elif fence or line.startswith(("    ", "\t", "|")) or cell_len(line) <= width:
            yield line
        else:
            yield from _wrap_line(line, width)


def _wrap_line(line: str, width: int) -> Iterator[str]:
    found = _INDENT.match(line)
    indent = " " * min(cell_len(found[0]) if found else 0, _MOST_INDENT)
    words, begun = re.findall(r"\s*\S+", line), ""
    for word in words:
        if begun and cell_len(begun) + cell_len(word) > width:
            yield begun
            begun = indent + word.lstrip()
        else:
            begun += word
    yield begun
