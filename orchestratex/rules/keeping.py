"""How much of what a provider sent is kept: a document holds 16 MB, and a reply stands in several of them."""

from __future__ import annotations

from typing import Final

from orchestratex.domain.base import Role
from orchestratex.domain.response import Completion

# An answer stands in its response twice, beside its prompt, and in each prompt that evaluates or refines it; all
# evaluations of a panel stand in one prompt. These are some hundred times what the models' own limits allow.
MOST_ANSWER_BYTES: Final = 2_000_000
MOST_EVALUATION_BYTES: Final = 250_000
_MOST_NAME_CHARS: Final = 300


def fit_completion(completion: Completion, role: Role) -> Completion:
    """The completion as it is kept: a text that no document could hold is cut, and says by how much."""
    most = MOST_EVALUATION_BYTES if role is Role.EVALUATOR else MOST_ANSWER_BYTES
    text = _cut(completion.text, most)
    left_out = 0 if text is completion.text else _count_bytes(completion.text) - _count_bytes(text)
    return completion.model_copy(
        update={
            "text": text,
            "bytes_left_out": left_out,
            "request_id": completion.request_id and completion.request_id[:_MOST_NAME_CHARS],
            "model_version": completion.model_version and completion.model_version[:_MOST_NAME_CHARS],
        }
    )


def leave_out_text(completion: Completion) -> Completion:
    """The completion without its text, which says how much that was."""
    left_out = completion.bytes_left_out + _count_bytes(completion.text)
    return completion.model_copy(update={"text": "", "bytes_left_out": left_out})


def _cut(text: str, most: int) -> str:
    if len(text) * 4 <= most or _count_bytes(text) <= most:
        return text
    return text.encode()[:most].decode(errors="ignore")


def _count_bytes(text: str) -> int:
    return len(text.encode())
