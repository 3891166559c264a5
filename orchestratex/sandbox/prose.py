"""The sentences in which the sandbox speaks: statements of answers and the words of criticism."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from orchestratex.rules import markers
from orchestratex.sandbox.models import Style
from orchestratex.sandbox.world import WRONG_CLAIMS, Requirement

_DETAILED: Final = (
    "As to “{phrase}”: {detail}. This keeps the reader from having to guess it.",
    "“{phrase}” is treated openly here: {detail}. Leaving it out would weaken the rest.",
    "The answer takes up “{phrase}” in its own right: {detail}. That settles most follow-up questions.",
)
_PLAIN: Final = (
    "What “{phrase}” asks for is taken up directly: it is named, limited to what the task needs and tied to the rest.",
    "For “{phrase}” the choice is explained before it is used, so that it can be checked against the task itself.",
    "The part played by “{phrase}” is spelled out with the condition under which it applies and its effect.",
    "Around “{phrase}” the decisive question is what depends on it, and that is answered here in the order of weight.",
)
_FLAWED: Final = (
    "As to “{phrase}”: it {claim}, and so nothing further follows from it.",
    "It is well known that “{phrase}” {claim}, which everything below relies on.",
)
_MISSING_POINTS: Final = (
    "The answer does not cover “{phrase}”{detail}.",
    "“{phrase}” is missing from the answer{detail}.",
    "Nothing is said about “{phrase}”{detail}.",
)
_FLAWED_POINTS: Final = (
    "The statement about “{phrase}” is wrong.",
    "What the answer claims about “{phrase}” is false.",
)
_QUOTE_CHARS: Final = 240


def write_statement(requirement: Requirement, rng: Random, style: Style) -> str:
    """Write the line that covers a requirement."""
    templates = _DETAILED if requirement.detail else _PLAIN
    return style.bullet + rng.choice(templates).format(phrase=requirement.phrase, detail=requirement.detail)


def write_flaw(requirement: Requirement, rng: Random, style: Style) -> str:
    """Write a line that gets a requirement visibly wrong."""
    return style.bullet + rng.choice(_FLAWED).format(phrase=requirement.phrase, claim=rng.choice(WRONG_CLAIMS))


def name_missing(requirement: Requirement, rng: Random) -> str:
    """Say that a requirement is missing."""
    detail = f", where one expects that {requirement.detail}" if requirement.detail else ""
    return rng.choice(_MISSING_POINTS).format(phrase=requirement.phrase, detail=detail)


def name_flaw(requirement: Requirement, rng: Random) -> str:
    """Say that the statement about a requirement is wrong."""
    return rng.choice(_FLAWED_POINTS).format(phrase=requirement.phrase)


def quote_line(line: str) -> str:
    """Quote a line of an answer as evidence."""
    return line.strip()[:_QUOTE_CHARS]


def join_phrases(phrases: list[str]) -> str:
    """List phrases in curly quotes, `nothing` where there are none."""
    return ", ".join(f"“{phrase}”" for phrase in phrases) or "nothing"


def write_assessment(confidence: int, self_assessment: str, rest: Mapping[str, str]) -> str:
    """Write the tagged assessment that ends a reply."""
    return markers.tag(
        markers.ASSESSMENT_TAG, dump({"confidence": confidence, "self_assessment": self_assessment, **rest})
    )


def dump(value: Any) -> str:
    """Write JSON with every script as it is."""
    return json.dumps(value, ensure_ascii=False)
