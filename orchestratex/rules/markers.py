"""The fences and tags that prompts use: how quoted text is told from instructions, and where a reply's parts stand.

A fence carries a nonce that the quoted text cannot know, and look-alikes inside the text are defused, so that an answer
cannot end its own block and speak as the prompt. Part of the wire format: the sandbox reads the same marks.
"""

from __future__ import annotations

import re
from typing import Final

PROMPT: Final = "PROMPT"
CONTEXT: Final = "CONTEXT"
ANSWER: Final = "ANSWER"
CRITICISMS: Final = "CRITICISMS"
REPLY: Final = "REPLY"

TASK_ANSWER: Final = "TASK: ANSWER"
TASK_EVALUATE: Final = "TASK: EVALUATE"
TASK_REFINE: Final = "TASK: REFINE"
TASK_ASSESS: Final = "TASK: ASSESS"  # asks only for the assessment that a reply left out

REVISED_TAG: Final = "revised_answer"
POINTS_TAG: Final = "points"
ASSESSMENT_TAG: Final = "assessment"

_LOOK_ALIKE = re.compile(r"<{2,}(?=\s*(?:END\s+)?(?:PROMPT|CONTEXT|ANSWER|CRITICISMS|REPLY)\b)", re.IGNORECASE)


def fence(label: str, text: str, nonce: str) -> str:
    """Quote `text` as data under `label`; what looks like a fence inside it is defused."""
    return f"<<<{label} {nonce}>>>\n{_LOOK_ALIKE.sub('‹‹', text)}\n<<<END {label} {nonce}>>>"


def find_block(label: str, text: str) -> str | None:
    """Return what stands in the first fence with this label, None where there is none."""
    found = re.search(rf"<<<{label} ([0-9a-f]+)>>>\n(.*?)\n<<<END {label} \1>>>", text, re.DOTALL)
    return found.group(2) if found else None


def tag(name: str, text: str) -> str:
    """Wrap a part of a reply."""
    return f"<{name}>\n{text}\n</{name}>"


def find_tag(name: str, text: str) -> str | None:
    """Return the last part of a reply with this tag, stripped; None where there is none."""
    start = text.rfind(f"<{name}>")
    if start < 0:
        return None
    start += len(name) + 2
    end = text.find(f"</{name}>", start)
    return text[start:end].strip() if end >= 0 else None
