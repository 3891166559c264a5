"""The fences and tags that prompts use: how quoted text is told from instructions, and where a reply's parts stand.

A fence carries a nonce that the quoted text cannot know, so that an answer cannot end its own block and speak as the
prompt; what a model could take for a fence is defused, and nothing else is touched: code with `<<` in it stays code. A
tag carries the nonce's end, so that a reply can name a tag without using it. Part of the wire format: the sandbox reads
the same marks.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from typing import Final, NamedTuple

PROMPT: Final = "PROMPT"
CONTEXT: Final = "CONTEXT"
ANSWER: Final = "ANSWER"
CRITICISMS: Final = "CRITICISMS"
REPLY: Final = "REPLY"
LABELS: Final = (PROMPT, CONTEXT, ANSWER, CRITICISMS, REPLY)

TASK_ANSWER: Final = "TASK: ANSWER"
TASK_EVALUATE: Final = "TASK: EVALUATE"
TASK_REFINE: Final = "TASK: REFINE"
TASK_ASSESS: Final = "TASK: ASSESS"  # asks only for the assessment that a reply left out

REVISED_TAG: Final = "revised_answer"
POINTS_TAG: Final = "points"
ASSESSMENT_TAG: Final = "assessment"

_MARK_CHARS: Final = 6  # of the nonce in a tag: as few as a small model copies without a slip
_WINDOW: Final = 90  # visible characters behind an opening that are looked at
_ANGLES: Final = "<＜﹤‹〈《≪⟨⟪❮❬"
_INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
_OPENING = re.compile(rf"[{_ANGLES}][{_ANGLES}{_INVISIBLE}]*+")
_RUN = re.compile(rf"[{_ANGLES}]++")
_UNSEEN = re.compile(rf"[{_INVISIBLE}]++")
_CLOSERS = str.maketrans(dict.fromkeys("›〉》≫⟩⟫❯❭", ">"))
_NAMED = "|".join(LABELS)
_LOOK_ALIKE = re.compile(
    rf"\s*(?:END\s+(?:{_NAMED})\b|(?:{_NAMED})\b\s{{0,3}}[\w.-]{{0,40}}\s{{0,3}}>{{2}})",
    re.IGNORECASE,
)
_FENCE = re.compile(rf"<<<(?:{_NAMED}) ([0-9a-f]+)>>>\n")
_QUOTES: Final = "`'\"“”‘’«»"


def fence(label: str, text: str, nonce: str) -> str:
    """Quote `text` as data under `label`; what a model could take for a fence inside it is defused."""
    return f"<<<{label} {nonce}>>>\n{defuse(text)}\n<<<END {label} {nonce}>>>"


def defuse(text: str) -> str:
    """The text with every look-alike of a fence made harmless, however it is spelt; nothing else is changed."""
    seen = _UNSEEN.sub("", text)  # what a reader sees: its runs of brackets are those of the text, one by one
    doubtful = [len(run.group()) > 2 and _is_fence(seen, run.end()) for run in _RUN.finditer(seen)]
    if not any(doubtful):
        return text
    verdicts = iter(doubtful)
    return _OPENING.sub(lambda run: _blunt(run.group()) if next(verdicts) else run.group(), text)


def _is_fence(seen: str, end: int) -> bool:
    """Whether what follows a run of brackets makes it a fence; full-width letters are read as narrow ones."""
    after = unicodedata.normalize("NFKC", seen[end : end + _WINDOW]).translate(_CLOSERS)
    return bool(_LOOK_ALIKE.match(after))


def _blunt(run: str) -> str:
    return "‹" * len(_UNSEEN.sub("", run))


def find_block(label: str, text: str) -> str | None:
    """Return what stands in the first fence with this label, None where there is none."""
    ends: dict[str, list[int]] = {}
    for found in re.finditer(rf"\n<<<END {label} ([0-9a-f]+)>>>", text):
        ends.setdefault(found.group(1), []).append(found.start())
    for found in re.finditer(rf"<<<{label} ([0-9a-f]+)>>>\n", text):
        places = ends.get(found.group(1), [])
        place = bisect_left(places, found.end())
        if place < len(places):
            return text[found.end() : places[place]]
    return None


def find_nonce(text: str) -> str:
    """The nonce of the first fence in a prompt, which is ours whatever the quoted texts hold; empty without one."""
    found = _FENCE.search(text)
    return found.group(1) if found else ""


def mark(nonce: str) -> str:
    """The end of a nonce that the tags of a reply carry."""
    return nonce[-_MARK_CHARS:]


def tag(name: str, text: str, nonce: str = "") -> str:
    """Wrap a part of a reply."""
    suffix = f" {mark(nonce)}" if nonce else ""
    return f"<{name}{suffix}>\n{text}\n</{name}{suffix}>"


class Tag(NamedTuple):
    """One tag as it stands in a reply."""

    start: int
    end: int
    is_closing: bool
    has_mark: bool  # carries the mark of this call: it is ours beyond doubt
    is_quoted: bool  # stands between quotes: it is spoken of


def list_tags(name: str, text: str, nonce: str = "") -> list[Tag]:
    """Every tag of this name in a reply, in its order."""
    own = mark(nonce) if nonce else None
    spelt = "revised[_ -]answer" if name == REVISED_TAG else name
    tags = []
    for found in re.finditer(rf"<\s{{0,2}}(/?)\s{{0,2}}{spelt}(?=[\s>])([^<>\n]{{0,60}})>", text, re.IGNORECASE):
        before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        is_quoted = bool(before) and before in _QUOTES and bool(after) and after in _QUOTES
        tags.append(
            Tag(found.start(), found.end(), bool(found.group(1)), bool(own) and own in found.group(2), is_quoted)
        )
    return tags


def find_span(name: str, text: str, nonce: str = "") -> tuple[int, int] | None:
    """Where the outermost part with this tag stands (its inside), None where there is none.

    Tags with this call's mark count before those without. Of several parts one after the other the last counts. A text
    that names its own tag is whole: what is opened inside is closed inside, or the first opening and the last closing
    stand.
    """
    tags = [each for each in list_tags(name, text, nonce) if not each.is_quoted]
    if any(each.has_mark and not each.is_closing for each in tags):
        closed = any(each.has_mark and each.is_closing for each in tags)
        tags = [each for each in tags if each.has_mark or (each.is_closing and not closed)]
    return _outermost(tags)


def _outermost(tags: list[Tag]) -> tuple[int, int] | None:
    span: tuple[int, int] | None = None
    depth, start = 0, 0
    for each in tags:
        if not each.is_closing:
            start = start if depth else each.end
            depth += 1
        elif depth > 1:
            depth -= 1
        else:  # the closing of a part, or one more of the part before: the outermost counts
            span = (start, each.start)
            depth = 0
    if span is None and depth:
        closings = [each.start for each in tags if each.is_closing]
        span = (tags[0].end, closings[-1]) if closings and closings[-1] >= tags[0].end else None
    return span


def find_tag(name: str, text: str, nonce: str = "") -> str | None:
    """Return the outermost part of a reply with this tag, stripped; None where there is none."""
    span = find_span(name, text, nonce)
    return text[span[0] : span[1]].strip() if span else None
