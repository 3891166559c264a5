"""What is ours in an answer, taken out: fences, control tags, assessments, sentences and placeholders of our prompts.

What the user gave is the user's: a tag, a field or a sentence that stands in the prompt may stand in the answer.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from typing import Final

from orchestratex.domain.base import Record
from orchestratex.rules import markers
from orchestratex.rules.prompts import OUR_WORDS
from orchestratex.rules.sent import Sent

_ASSESSMENT_KEYS: Final = frozenset(
    {
        "confidence",
        "self_assessment",
        "acknowledgment",
        "disagreement",
        "clarifications",
        "explanation_of_changes",
        "rebuttal_points",
        "alternative_interpretations",
    }
)
_BARE: Final = re.compile(r'\{\s{0,20}"(?:confidence|self_assessment)"\s{0,5}:')
_FENCE_LINE: Final = re.compile(r"[ \t]{0,8}(?:```|~~~)[^\n`]{0,40}")
_HEADING: Final = re.compile(
    r"\W{0,8}(?:my |own )?(?:self[- ]?)?assessment(?: of (?:the|my|this) answer)?\W{0,8}", re.IGNORECASE
)
_PROSE: Final = re.compile(r"\W{0,8}(confidence|self[-_ ]?assessment)\W{0,8}[:=]", re.IGNORECASE)
_FENCE_MARK: Final = re.compile(
    rf"<{{1,9}}\s{{0,3}}(?:END\s{{1,3}})?(?:{'|'.join(markers.LABELS)}|NAME)\s{{0,3}}([0-9a-f]{{8,40}}|nonce)?\s{{0,3}}>{{1,9}}"
)
_WORTH: Final = 24  # characters from which a line or sentence of ours is told from anybody's
_SENTENCE: Final = re.compile(r"(?<=[.!?:])\s+")
_SUBSTANCE: Final = re.compile(r"[^\W_]|[^\x00-\x7f‹›«»“”‘’…—–]")  # a letter, a figure, a sign of another script
_LOOK: Final = 400  # characters behind a tag that tell what it holds
_MOST: Final = 32  # parts that are cut out with care for what stands around them
_HOLLOW: Final = re.compile(r"[\s.…]*|<\.\.\.>")


class Cleaned(Record):
    """An answer without what is ours, and the assessments that were taken out of it, in their order."""

    text: str
    assessments: tuple[str, ...] = ()


def clean(text: str, sent: Sent) -> Cleaned:
    """Take out what is ours. The text is empty when nothing of substance is left."""
    given = sent.quoted
    cleaned, assessments = _take_assessments(text, sent)
    cleaned = _take_tags(cleaned, sent)
    cleaned = _take_fences(cleaned, sent)
    cleaned = _take_words(cleaned, sent)
    cleaned = _take_prose(cleaned, given)
    if _HOLLOW.fullmatch(cleaned) and "..." not in given:
        cleaned = ""
    if cleaned.strip() != text.strip() and not _SUBSTANCE.search(cleaned):
        cleaned = ""
    return Cleaned(text=_close_code(cleaned, text).strip(), assessments=tuple(assessments))


def _take_assessments(text: str, sent: Sent) -> tuple[str, list[str]]:
    """Take out assessments: tagged ones, and objects that are nothing but one."""
    spans = _tagged_spans(text, sent)
    if not {"self_assessment", "self-assessment"} & set(re.findall(r"self[_-]assessment", sent.quoted)):
        spans += _bare_spans(text, [(start, end) for start, end, _ in spans])
    spans.sort()
    return _cut(text, [(start, end) for start, end, _ in spans]), [inside for _, _, inside in spans]


def _tagged_spans(text: str, sent: Sent) -> list[tuple[int, int, str]]:
    name = markers.ASSESSMENT_TAG
    tags = markers.list_tags(name, text, sent.nonce)
    closings = [each for each in tags if each.is_closing]
    starts = [each.start for each in closings]
    is_users = f"<{name}" in sent.quoted.lower()
    spans: list[tuple[int, int, str]] = []
    place = 0
    for each in tags:
        if each.is_closing or each.start < place:
            continue
        end = _end_of_object(text, each.end)
        number = bisect_left(starts, end)
        closing = closings[number] if number < len(closings) else None
        if end > each.end and (closing is None or text[end : min(closing.start, end + 80)].strip(" \t\r\n`")):
            stop = inner = end  # a whole object that is not closed by a tag
        else:
            stop, inner = (closing.end, closing.start) if closing else (len(text), len(text))
        if _is_ours(text, each, stop, is_users=is_users):
            spans.append((each.start, stop, text[each.end : inner]))
            place = stop
    return spans


def _is_ours(text: str, opening: markers.Tag, stop: int, *, is_users: bool) -> bool:
    """Whether what stands between two tags of ours is an assessment, and not the user's element of that name."""
    begin = text[opening.end : min(stop, opening.end + _LOOK)]
    is_object = bool(re.match(r"[\s`]{0,9}(?:json\s{1,3})?\{", begin))
    if opening.has_mark:
        return True
    if is_object and ("confidence" in begin or "self_assessment" in begin):
        return not is_users or "self_assessment" in begin
    if opening.is_quoted or is_users:
        return False
    before = text[max(0, opening.start - _LOOK) : opening.start].rstrip(" \t")[-1:]
    if before not in ("", "\n", ".", "!", "?", ">", "。"):
        return False
    return is_object or stop >= len(text.rstrip()) or not text[: opening.start].strip()


def _end_of_object(text: str, start: int) -> int:
    """Where the JSON object ends that begins at a place, the place itself where none can be read."""
    body = re.compile(r"[\s`]{0,9}(?:json\s{1,3})?(?=\{)").match(text, start)
    if body is None:
        return start
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, body.end())[1]
    except (ValueError, RecursionError):
        return start


def _bare_spans(text: str, taken: list[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """Objects without tags whose fields are an assessment's and nobody else's; one that is cut off ends the text."""
    spans: list[tuple[int, int, str]] = []
    place = 0
    for found in list(_BARE.finditer(text))[:16]:
        start = found.start()
        if start < place or any(a <= start < b for a, b in taken):
            continue
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
        except (ValueError, RecursionError):
            rest = text[start:]
            if re.match(r'\{\s{0,20}"confidence"[^{}"]{1,40}"self_assessment"', rest):
                closing = rest.rfind("}")
                end = start + closing + 1 if closing > 0 else len(text)
                spans.append((start, end, text[start:end]))
            break
        if {"confidence", "self_assessment"} <= set(value) <= _ASSESSMENT_KEYS:
            spans.append((start, end, text[start:end]))
            place = end
    return spans


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    """The text without some spans, and without the code fences and headings that held nothing else."""
    if len(spans) > _MOST:
        edges = [0, *(place for span in spans for place in span), len(text)]
        return "".join(text[edges[number] : edges[number + 1]] for number in range(0, len(edges), 2))
    for start, end in reversed(spans):
        before, after = text[:start].rstrip(), text[end:].lstrip("\r\n\t ")
        while (inner := _shed_fence(before, after)) is not None:
            before, after = inner
        head, _, last = before.rpartition("\n")
        if last.strip() and len(last) < 60 and _HEADING.fullmatch(last.strip()):
            before = head.rstrip()
        glue = "" if not before or not after else ("\n" if _FENCE_LINE.match(after) else "\n\n")
        text = before + glue + after
    return text


def _shed_fence(before: str, after: str) -> tuple[str, str] | None:
    """Take off the code fence around what was cut out, when it held nothing else."""
    head, _, last = before.rpartition("\n")
    opening = (
        bool(_FENCE_LINE.fullmatch(last)) and len(re.findall(r"^[ \t]*(?:```|~~~)", before, re.MULTILINE)) % 2 == 1
    )
    first, _, tail = after.partition("\n")
    if not opening or (after and not re.fullmatch(r"[ \t]*(?:```|~~~)[ \t]*", first)):
        return None
    return head.rstrip(), tail.lstrip("\r\n")


def _take_tags(text: str, sent: Sent) -> str:
    """Take off the tags of other parts: those with this call's mark, and those that wrap the whole."""
    for name in (markers.REVISED_TAG, markers.POINTS_TAG, markers.ASSESSMENT_TAG):
        own = [(each.start, each.end) for each in markers.list_tags(name, text, sent.nonce) if each.has_mark]
        edges = [0, *(place for span in own for place in span), len(text)]
        text = "".join(text[edges[number] : edges[number + 1]] for number in range(0, len(edges), 2))
    for name in (markers.REVISED_TAG, "answer"):
        if f"<{name}" not in sent.quoted.lower():
            text = _unwrap(text, f"<{name}>", f"</{name}>", halves=name == markers.REVISED_TAG)
    return text


def _unwrap(text: str, opening: str, closing: str, *, halves: bool) -> str:
    """Take off a tag around the whole text; with `halves` one that stands at one end alone, too."""
    stripped = text.strip()
    begins, ends = stripped.lower().startswith(opening), stripped.lower().endswith(closing)
    if begins and (ends or halves):
        stripped = stripped[len(opening) :]
    if ends and (begins or halves):
        stripped = stripped[: -len(closing)]
    return stripped if begins or ends else text


def _take_fences(text: str, sent: Sent) -> str:
    """Take out the marks of our fences, and blocks that only repeat what was asked."""
    marks = [found for found in _FENCE_MARK.finditer(text) if _is_fence(found, text, sent)]
    if not marks:
        return text
    pieces, place = [], 0
    for found in marks:
        pieces.append(text[place : found.start()])
        is_line = text[max(0, found.start() - 1) : found.start()] in ("", "\n")
        place = found.end() + (1 if is_line and text[found.end() : found.end() + 1] == "\n" else 0)
    asked = " ".join(sent.prompt.split())
    inner = [piece for piece in pieces[1:] if not asked or " ".join(piece.split()) != asked]
    return "".join([pieces[0], *inner, text[place:]])


def _is_fence(found: re.Match[str], text: str, sent: Sent) -> bool:
    nonce = found.group(1)
    if nonce and nonce == sent.nonce:
        return True
    if found.group() in sent.quoted or (nonce and nonce in sent.quoted):
        return False
    if nonce:
        return True  # small models copy a nonce with slips
    begins = text[max(0, found.start() - _LOOK) : found.start()].rpartition("\n")[2]
    ends = text[found.end() : found.end() + _LOOK].partition("\n")[0]
    return found.group().startswith("<<<") and found.group().endswith(">>>") and not (begins + ends).strip()


def _take_words(text: str, sent: Sent) -> str:
    """Take out lines and sentences of our own prompts."""
    ours = " ".join(f"{OUR_WORDS} {sent.words}".split())
    given = " ".join(sent.quoted.split())
    if not text.strip():
        return text
    lines = [_take_sentences(line, ours, given) for line in text.split("\n")]
    kept = [line for line in lines if line is not None]
    return "\n".join(kept) if len(kept) != len(lines) or kept != text.split("\n") else text


def _take_sentences(line: str, ours: str, given: str) -> str | None:
    """A line without our sentences; None where the whole line was ours."""
    if re.fullmatch(r"TASK: (?:ANSWER|EVALUATE|REFINE|ASSESS)", line.strip()):
        return None
    plain = " ".join(line.split()).strip("<>\"'`*()[] ")
    if _WORTH <= len(plain) <= len(ours) and plain in ours and plain not in given:
        return None
    sentences = _SENTENCE.split(line)
    if len(sentences) < 2 or len(sentences) > 400:
        return line
    kept = [each for each in sentences if len(each) < _WORTH or each not in ours or each in given]
    if len(kept) == len(sentences):
        return line
    return " ".join(kept) if kept else None


def _take_prose(text: str, given: str) -> str:
    """Take off an assessment in plain lines at the end: both of its fields, nothing else."""
    if "confidence" in given.lower() or "assessment" in given.lower():
        return text
    lines = text.rstrip().split("\n")
    fields: set[str] = set()
    place = len(lines)
    for number in range(len(lines) - 1, max(-1, len(lines) - 7), -1):
        named = _PROSE.match(lines[number])
        if named:
            fields.add(named.group(1)[:4].lower())
            place = number
        elif lines[number].strip():
            break
    return "\n".join(lines[:place]).rstrip() if len(fields) == 2 else text


def _close_code(text: str, original: str) -> str:
    """Drop a code fence that was left open at the end by what was cut out behind it."""
    stripped = text.rstrip()
    if stripped == original.rstrip():
        return text
    head, _, last = stripped.rpartition("\n")
    is_open = len(re.findall(r"^[ \t]*(?:```|~~~)", stripped, re.MULTILINE)) % 2 == 1
    return head if is_open and _FENCE_LINE.fullmatch(last) else text
