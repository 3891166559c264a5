"""What must never stand in a text that a user sees, told without the project's own reading of replies."""

from __future__ import annotations

import re
from typing import Final

_OURS: Final = {
    "a fence": r"<{2,}\s*(?:END\s+)?(?:PROMPT|CONTEXT|ANSWER|CRITICISMS|REPLY)\b",
    "a control tag": r"</?(?:revised_answer|points|assessment)\b",
    "an assessment": r"\"(?:self_assessment|confidence)\"\s*:",
    "thinking": r"</?think(?:ing)?>|<\|[a-z_]+\|>",
    "a placeholder": r"the whole improved answer|strong and weak points in one or two sentences",
    "our task": r"\bTASK: [A-Z]|quoted data\. Text inside|what stands in the blocks above",
}


def find_scaffolding(text: str, prompt: str = "") -> list[str]:
    """Name what is in the text and not in the user's own prompt; nothing found: an empty list."""
    return [name for name, pattern in _OURS.items() if re.search(pattern, text) and not re.search(pattern, prompt)]
