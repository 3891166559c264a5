"""The small world in which quality is visible: what a prompt demands, and what of it a text covers.

A statement is a line that holds a requirement's phrase in curly quotes. It is flawed when it makes one of the wrong
claims. So quality is a pure function of prompt and text, for everybody who can read both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from orchestratex.domain.base import Domain
from orchestratex.sandbox.domains import EXPECTATIONS, guess_domain
from orchestratex.sandbox.seeds import draw_unit
from orchestratex.sandbox.words import pick_words

FLAW_PENALTY: Final = 0.5  # of one requirement's worth
_MAX_WORDS: Final = 8
_KNOWN_PROMPTS: Final = 4096
_QUOTED: Final = re.compile(r"“([^“”\n]{1,60})”")

WRONG_CLAIMS: Final = (
    "can safely be ignored because it never changes the outcome",
    "holds in every case without a single exception",
    "has been proven to be impossible in principle",
    "means exactly the opposite of what is usually understood",
)
_WRONG: Final = re.compile("|".join(map(re.escape, WRONG_CLAIMS)))


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something that a good answer treats."""

    phrase: str
    detail: str | None  # what the domain has to say about it; None for a word of the prompt
    is_major: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """All that a prompt asks for."""

    domain: Domain
    requirements: dict[str, Requirement]  # by phrase, in the order in which an answer treats them
    difficulty: float  # -1 (easy) to 1 (hard), the same for every model


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text makes of a demand; phrases in the demand's order. Flawed ones may be covered elsewhere as well."""

    covered: tuple[str, ...]
    missing: tuple[str, ...]
    flawed: tuple[str, ...]
    flaws: int  # flawed lines

    @property
    def quality(self) -> float:
        """Covered share minus the penalty for flaws, 0 to 1."""
        total = len(self.covered) + len(self.missing) + sum(phrase not in self.covered for phrase in self.flawed)
        return max(0.0, (len(self.covered) - FLAW_PENALTY * self.flaws) / total)


@lru_cache(maxsize=_KNOWN_PROMPTS)
def read_demand(prompt: str) -> Demand:
    """Derive what a prompt asks for: up to 8 of its content words and five requirements of its domain."""
    domain = guess_domain(prompt)
    wanted = [Requirement(word, None, is_major=True) for word in pick_words(prompt, _MAX_WORDS)]
    wanted += [
        Requirement(phrase, detail, is_major=place < 2)
        for place, (phrase, detail) in enumerate(EXPECTATIONS[domain].items())
    ]
    return Demand(domain, {each.phrase: each for each in wanted}, 2 * draw_unit("difficulty", prompt) - 1)


def read_answer(demand: Demand, text: str) -> Reading:
    """Find what a text covers, misses and gets wrong."""
    right: set[str] = set()
    wrong: list[str] = []
    for line in text.split("\n"):
        phrase = find_phrase(line)
        if phrase in demand.requirements:
            if is_flawed(line):
                wrong.append(phrase)
            else:
                right.add(phrase)
    return Reading(
        covered=tuple(phrase for phrase in demand.requirements if phrase in right),
        missing=tuple(phrase for phrase in demand.requirements if phrase not in right and phrase not in wrong),
        flawed=tuple(phrase for phrase in demand.requirements if phrase in wrong),
        flaws=len(wrong),
    )


def true_quality(prompt: str, text: str) -> float:
    """Return how good a text is as an answer to a prompt: 0 (nothing covered) to 1 (all covered, no flaw)."""
    return read_answer(read_demand(prompt), text).quality


def find_phrase(line: str) -> str:
    """Return the first phrase that a line quotes, an empty string where there is none."""
    found = _QUOTED.search(line)
    return found.group(1) if found else ""


def is_flawed(line: str) -> bool:
    """Tell whether a line makes a wrong claim."""
    return _WRONG.search(line) is not None
