"""What a call asks for, read from its two messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestratex.rules import markers


class TaskKind(StrEnum):
    """The four tasks of the engine, and an ordinary chat."""

    ANSWER = "answer"
    EVALUATE = "evaluate"
    REFINE = "refine"
    ASSESS = "assess"
    CHAT = "chat"


_KINDS: Final = {
    markers.TASK_ANSWER: TaskKind.ANSWER,
    markers.TASK_EVALUATE: TaskKind.EVALUATE,
    markers.TASK_REFINE: TaskKind.REFINE,
    markers.TASK_ASSESS: TaskKind.ASSESS,
}
_POINT: Final = re.compile(r"^[ \t]*(\d{1,4})[.)][ \t]+(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Point:
    """One numbered criticism."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Task:
    """One call's material; what the call does not quote is empty."""

    kind: TaskKind
    prompt: str
    answer: str
    criticisms: str
    nonce: str = ""  # of the call's marks

    @property
    def points(self) -> list[Point]:
        """The numbered criticisms."""
        return [Point(int(found[1]), found[2].strip()) for found in _POINT.finditer(self.criticisms)]


def read_task(system: str, user: str) -> Task:
    """Read a call: the system message's first line names the task, the fences hold its material."""
    kind = _KINDS.get(system.lstrip().partition("\n")[0].strip(), TaskKind.CHAT)
    if kind is TaskKind.CHAT:
        return Task(kind, prompt=user, answer="", criticisms="")
    quoted = markers.REPLY if kind is TaskKind.ASSESS else markers.ANSWER
    prompt = markers.find_block(markers.PROMPT, user)
    return Task(
        kind,
        prompt=user if prompt is None else prompt,
        answer=markers.find_block(quoted, user) or "",
        criticisms=markers.find_block(markers.CRITICISMS, user) or "",
        nonce=markers.find_nonce(user),
    )
