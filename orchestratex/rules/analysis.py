"""What a prompt is: cleaned, and classified by domain, complexity, difficulty and language. Plain rules, and for
the language a small model of letters.

The cues were written for what people ask for in general and checked on recorded prompts (tests/unit/rules/
test_recorded_prompts.py). A trained classifier can take this function's place without a caller noticing.
"""

from __future__ import annotations

from orchestratex.domain.base import Complexity, Domain, Record, Score
from orchestratex.rules.cleaning import clean_prompt
from orchestratex.rules.difficulty import estimate_difficulty, name_complexity
from orchestratex.rules.domains import classify_domain
from orchestratex.rules.language import detect_language


class Analysis(Record):
    """What the step `analyse` records of a prompt."""

    processed_prompt: str
    domain: Domain
    complexity_level: Complexity
    estimated_difficulty: Score
    language: str  # ISO 639-1, "und" when none is recognised


def analyse_prompt(text: str) -> Analysis:
    """Return the cleaned prompt and its classification, in time linear in its length.

    The language is the one that most of the prompt's beginning is written in; code decides nothing.
    """
    prompt = clean_prompt(text)
    domain = classify_domain(prompt)
    difficulty = estimate_difficulty(prompt, domain)
    return Analysis(
        processed_prompt=prompt,
        domain=domain,
        complexity_level=name_complexity(difficulty),
        estimated_difficulty=difficulty,
        language=detect_language(prompt),
    )
