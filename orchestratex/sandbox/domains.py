"""What a prompt is about, as the sandbox guesses it, and what every answer in a domain is expected to treat."""

from __future__ import annotations

import re
from typing import Final

from orchestratex.domain.base import Domain

_MAX_CHARS: Final = 4_000  # of a prompt, searched for cues

_CUES: Final = {
    Domain.CODING: re.compile(
        r"```|\bdef \w|\b(?:code|function|python|java|javascript|sql|algorithm|bug|class|api|regex|script|program"
        r"|refactor|compile|debug|unit tests?|code|programm|fonction|función)\b|代码|函数|编程|コード|код\b",
        re.IGNORECASE,
    ),
    Domain.CREATIVE: re.compile(
        r"\b(?:poems?|stor(?:y|ies)|haikus?|lyrics|novel|songs?|fiction|sonnets?|screenplay|slogans?|gedicht|geschichte"
        r"|poème|poema|cuento)\b|诗|故事|物語|стих",
        re.IGNORECASE,
    ),
    Domain.MATH: re.compile(
        r"\d\s*[-+*/^=]\s*\d|\b(?:solve|equations?|integral|derivative|prove|proof|theorem|probability|matrix|sum of"
        r"|calculate|compute|algebra|geometry|gleichung|berechne|équation|ecuación)\b|方程|证明|計算|уравнен",
        re.IGNORECASE,
    ),
    Domain.TRANSLATION: re.compile(
        r"\b(?:translat\w*|übersetz\w*|tradui\w*|traduc\w*|into (?:french|german|spanish|english|chinese|japanese))\b"
        r"|翻译|翻訳|перевед",
        re.IGNORECASE,
    ),
    Domain.SENTIMENT: re.compile(
        r"\b(?:sentiment|tone of|emotions?|opinions? in|positive or negative|reviews?|mood|stimmung)\b|情感|感情",
        re.IGNORECASE,
    ),
    Domain.FACTUAL: re.compile(
        r"\b(?:who (?:is|was|were)|when (?:did|was|is)|where (?:is|was)|what (?:is|are|was|were) the|capital|history"
        r"|invented|discovered|population|year|country|wer war|qui est|quién)\b|历史|什么是|歴史|кто ",
        re.IGNORECASE,
    ),
}

# The phrase by which an answer is recognised to treat it, and what there is to say.
EXPECTATIONS: Final[dict[Domain, dict[str, str]]] = {
    Domain.CODING: {
        "edge cases": "empty input, a single element and the largest size are walked through one by one",
        "error handling": "bad input raises a named error with the offending value in its message",
        "complexity": "time and memory are stated as functions of the input size, with the dominating term",
        "unit tests": "a short table of inputs and expected outputs pins the behaviour down",
        "usage example": "one complete call with its printed result shows how it is meant to be used",
    },
    Domain.CREATIVE: {
        "imagery": "one concrete picture carries each part instead of an abstract statement",
        "narrative voice": "the speaker keeps the same distance and diction from first to last line",
        "tension": "something is at stake early and is not resolved before the end",
        "ending": "the last lines return to the first picture and change its meaning",
        "rhythm": "long and short units alternate so that the stress falls on the words that matter",
    },
    Domain.FACTUAL: {
        "definition": "the term is fixed in one sentence before anything is claimed about it",
        "date and place": "when and where are given with the precision that the sources allow",
        "sources": "each claim is tied to the kind of record from which it is known",
        "misconceptions": "the usual error is named and set right",
        "uncertainty": "what is disputed is kept apart from what is settled",
    },
    Domain.MATH: {
        "assumptions": "the range of every symbol is fixed before it is used",
        "derivation": "each line follows from the one before by a rule that is named",
        "verification": "the result is put back into the statement and holds",
        "special cases": "zero, equality and the limits are treated apart",
        "final result": "the answer stands alone on one line, exact first and rounded second",
    },
    Domain.TRANSLATION: {
        "register": "the level of formality of the original is kept throughout",
        "idioms": "set phrases are carried over by meaning, not word by word",
        "grammar": "agreement, tense and word order follow the target language",
        "fidelity": "nothing is added and nothing is left out",
        "ambiguity": "where the original allows two readings, both are named and one is chosen",
    },
    Domain.SENTIMENT: {
        "polarity": "the overall direction is stated first, in one word",
        "intensity": "a degree from weak to strong is given and justified",
        "textual evidence": "the words that carry the feeling are pointed at",
        "irony": "praise that means blame is looked for and reported",
        "mixed feelings": "opposite signals are weighed instead of averaged away",
    },
    Domain.GENERAL: {
        "summary": "the core of the matter is given in two plain sentences",
        "concrete example": "one worked case from practice shows what is meant",
        "trade-offs": "what is gained on one side is set against what is lost on the other",
        "limits": "it is said where the advice stops being valid",
        "next steps": "three things to do are listed in the order in which they help",
    },
}


def guess_domain(prompt: str) -> Domain:
    """Return the domain with the most cues in the prompt; general where there is none."""
    counts = {domain: len(cue.findall(prompt[:_MAX_CHARS])) for domain, cue in _CUES.items()}
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] else Domain.GENERAL
