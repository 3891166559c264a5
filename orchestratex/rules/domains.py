"""What a prompt is about: the domain whose cues weigh most."""

from __future__ import annotations

import re
from typing import Final

from orchestratex.domain.base import Domain
from orchestratex.rules.cues import CUES

# Equal points go to the first: from what is hardest to say by accident to what anyone might say.
PRECEDENCE: Final = (
    Domain.SENTIMENT,
    Domain.TRANSLATION,
    Domain.CODING,
    Domain.MATH,
    Domain.CREATIVE,
    Domain.GENERAL,
    Domain.FACTUAL,
)

ASK_HEAD: Final = 500  # characters: people ask first, or after what they quote
ASK_TAIL: Final = 250
READ_CHARS: Final = 6_000
PREMISE_POINTS: Final = 2.0  # a premise may name a king, which is a weak sign of a question about one
WORD_PROBLEM_POINTS: Final = 5.0

_QUANTITY = re.compile(
    r"\b(?:how (?:many|much|old|far|fast|long|tall|heavy|high|wide)|what (?:percent(?:age)?|fraction|"
    r"is the (?:total|number|"
    r"average|difference|cost|price|ratio|age)|(?:is|was|will be) (?:his|her|their)|time)|calculate|in all|altogether|"
    r"total (?:cost|number|amount|price))\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d[\d,.]{0,15}|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|dozen|twice|half|third|quarter|double|"
    r"thrice|hundred|thousand|fifteen|twenty|thirty|forty|fifty)\b",
    re.IGNORECASE,
)

_PREMISE = re.compile(
    r"\b(?:you|your|he|she|his|her|they|their|him|humanity|mankind|suddenly|one day|world|dead|death|day)\b",
    re.IGNORECASE,
)


def weigh_cues(text: str) -> dict[Domain, float]:
    """Return each domain's points: every cue that is found counts once, however often it occurs."""
    read = text[:READ_CHARS]
    ask = text if len(text) <= ASK_HEAD + ASK_TAIL else f"{text[:ASK_HEAD]}\n{text[-ASK_TAIL:]}"
    points = dict.fromkeys(Domain, 0.0)
    for cue in CUES:
        if cue.pattern.search(read if cue.anywhere else ask):
            points[cue.domain] += cue.points
    if _is_word_problem(ask):
        points[Domain.MATH] += WORD_PROBLEM_POINTS
    return points


def classify_domain(text: str) -> Domain:
    """Return the domain with most points; a story's premise without any request is creative, anything else general."""
    points = weigh_cues(text)
    best = max(PRECEDENCE, key=points.__getitem__)
    if points[best] <= PREMISE_POINTS and _is_premise(text):
        return Domain.CREATIVE
    return best if points[best] else Domain.GENERAL


def _is_word_problem(ask: str) -> bool:
    """Whether a quantity is asked for after at least two were given."""
    asked = [question.start() for question in _QUANTITY.finditer(ask)]
    given = len(_NUMBER.findall(ask))
    return bool(asked) and (given >= 3 or (given == 2 and asked[-1] > 0))


def _is_premise(text: str) -> bool:
    sentence = text.strip()
    return 25 <= len(sentence) <= 600 and not sentence.endswith("?") and _PREMISE.search(sentence) is not None
