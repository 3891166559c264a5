"""A file of prompts: one JSON object a line, all of them good or none is taken."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestratex.cli.inputs import parse_thread
from orchestratex.errors import InputError
from orchestratex.steps.submit import ThreadRequest


def read_batch(path: Path) -> tuple[list[ThreadRequest], list[int]]:
    """The requests of a file (- is stdin) and their line numbers; empty lines are skipped. Raises InputError."""
    requests: list[ThreadRequest] = []
    numbers: list[int] = []
    for number, line in _read_lines(path):
        requests.append(_parse_line(number, line))
        numbers.append(number)
    if not requests:
        raise InputError("file", f"{path} holds no prompt")
    return requests, numbers


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    # bytes are split at newlines alone: JSON strings may hold what str.splitlines takes for line ends
    for number, raw in enumerate(_read_bytes(path).split(b"\n"), start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"line {number}", f"is not UTF-8: {error.reason} at byte {error.start}") from error
        if line.strip():
            yield number, line


def _read_bytes(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError("file", f"{path} cannot be read: {error.strerror}") from error


def _parse_line(number: int, line: str) -> ThreadRequest:
    try:
        data: Any = json.loads(line)
    except RecursionError as error:
        raise InputError(f"line {number}", "is not JSON: nested too deeply") from error
    except ValueError as error:
        raise InputError(f"line {number}", f"is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"line {number}", 'is no JSON object like {"prompt": "..."}')
    try:
        return parse_thread(_name_reference(data))
    except InputError as error:
        raise InputError(f"line {number}", str(error).replace("reference: ", "id: ")) from error


def _name_reference(data: dict[str, Any]) -> dict[str, Any]:
    """A line's `id` is what a thread calls its reference: an `id` of a thread is ours."""
    if "id" in data and "reference" in data:
        raise InputError("id", "means the same as reference; leave one out")
    return {"reference" if name == "id" else name: value for name, value in data.items()}
