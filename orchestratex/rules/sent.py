"""What was asked, read back from the prompt that was sent: so a redelivered task reads a reply as the first one did."""

from __future__ import annotations

from orchestratex.domain.base import Record
from orchestratex.rules import markers


class Sent(Record):
    """A prompt in its parts. All are empty where no prompt is known."""

    nonce: str = ""
    quoted: str = ""  # what the user gave: prompt and context, as they were fenced
    prompt: str = ""
    answer: str = ""  # what is to be evaluated, assessed or refined
    words: str = ""  # our own: all that stands outside of the blocks


def read_sent(text: str) -> Sent:
    """Take a stored prompt apart. Its first fence is ours, whatever the quoted texts hold: they come after it."""
    nonce = markers.find_nonce(text)
    if not nonce:
        return Sent(words=text)
    blocks: dict[str, str] = {}
    ours, place = [], 0
    for label in markers.LABELS:  # in the order in which prompts have them
        opening, closing = f"<<<{label} {nonce}>>>\n", f"\n<<<END {label} {nonce}>>>"
        start = text.find(opening, place)
        end = text.find(closing, start + len(opening) - 1) if start >= 0 else -1
        if end < 0:
            continue
        blocks[label] = text[start + len(opening) : end]
        ours.append(text[place:start])
        place = end + len(closing)
    ours.append(text[place:])
    return Sent(
        nonce=nonce,
        quoted="\n".join(blocks.get(label, "") for label in (markers.PROMPT, markers.CONTEXT)),
        prompt=blocks.get(markers.PROMPT, ""),
        answer=blocks.get(markers.ANSWER) or blocks.get(markers.REPLY, ""),
        words="\n".join(ours),
    )
