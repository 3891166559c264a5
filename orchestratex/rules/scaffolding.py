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
from orchestratex.rules.echoes import take_fences, take_prose, take_words
from orchestratex.rules.meaning import plain_name, read_object, read_score
from orchestratex.rules.reading import MalformedReplyError, find_body, load
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
_TAG: Final = rf"(?:self[_-]?)?{markers.ASSESSMENT_TAG}"
_BARE: Final = re.compile(
    r"""\{\s{0,20}["'“]?(?:assessment|confidence|self[_-]assessment)["'”]?\s{0,5}:""", re.IGNORECASE
)
_OBJECT: Final = re.compile(
    r"""[\s`]{0,9}(?:json\s{1,3})?\{\s{0,20}(?:["'“]|confidence\b|self_assessment\b)""", re.IGNORECASE
)
_ELEMENT: Final = re.compile(r"<[a-z][\w-]{0,40}(?:\s[^<>]{0,200})?/?>", re.IGNORECASE)
_LEFT_OVER: Final = re.compile(
    rf"^[ \t]{{0,8}}(?:<\s{{0,2}}/?\s{{0,2}}{_TAG}\s{{0,2}}/?>?|\[/?{_TAG}\])[ \t]{{0,8}}$",
    re.IGNORECASE | re.MULTILINE,
)
_MARKUP: Final = re.compile(r"\b(?:tags?|elements?|xml|html|markup|jsx|react|vue)\b", re.IGNORECASE)
_WRAPS: Final = re.compile(
    r"<(?P<name>answer|response|output|final_answer|final)(?:\s{1,3}[0-9a-f]{4,40})?>", re.IGNORECASE
)
_ANSWERS: Final = ("answer", "response", "reply", "text", "final_answer", markers.REVISED_TAG)
_FENCE_LINE: Final = re.compile(r"[ \t]{0,8}(?:`{3,8}|~~~)[^\n`]{0,40}")
_HEADING: Final = re.compile(
    r"\W{0,8}(?:my |own )?(?:self[- ]?)?assessment(?: of (?:the|my|this) answer)?\W{0,8}", re.IGNORECASE
)
_SUBSTANCE: Final = re.compile(r"[^\W_]|[^\x00-\x7f‹›«»“”‘’…—–]")  # a letter, a figure, a sign of another script
_LOOK: Final = 400  # characters behind a tag that tell what it holds
_LONGEST: Final = 4_000  # characters of an assessment without tags
_MOST: Final = 32  # parts that are cut out with care for what stands around them
_HOLLOW: Final = re.compile(r"[\s.…]*|<\.\.\.>")


class Cleaned(Record):
    """An answer without what is ours, and the assessments that were taken out of it, in their order."""

    text: str
    assessments: tuple[str, ...] = ()


def clean(text: str, sent: Sent) -> Cleaned:
    """Take out what is ours. The text is empty when nothing of substance is left."""
    given = sent.quoted
    inside, carried = _take_answer(text, given)
    cleaned, assessments = _take_assessments(inside, sent)
    cleaned = _take_tags(cleaned, sent)
    cleaned = take_fences(cleaned, sent)
    cleaned = take_words(cleaned, sent)
    cleaned = take_prose(cleaned, given)
    if _HOLLOW.fullmatch(cleaned) and "..." not in given:
        cleaned = ""
    if cleaned.strip() != text.strip() and not _SUBSTANCE.search(cleaned):
        cleaned = ""
    return Cleaned(text=_close_code(cleaned, text).strip(), assessments=(*assessments, *carried))


def _take_answer(text: str, given: str) -> tuple[str, tuple[str, ...]]:
    """The answer in an object that holds nothing else but an assessment, where the user asked for no JSON."""
    if '"self_assessment"' not in text or text.lstrip()[:1] not in ("{", "`") or re.search(r"json|self_", given, re.I):
        return text, ()
    try:
        body = find_body(text, "{")
        fields = dict(read_object(load(body.text)))
    except MalformedReplyError:
        return text, ()
    keys = [name for name in _ANSWERS if isinstance(fields.get(name), str)]
    if not body.is_whole or len(keys) != 1:
        return text, ()
    answer = fields.pop(keys[0])
    return (answer, (json.dumps(fields),)) if set(fields) <= _ASSESSMENT_KEYS else (text, ())


def _take_assessments(text: str, sent: Sent) -> tuple[str, list[str]]:
    """Take out assessments: tagged ones, and objects that are nothing but one."""
    spans = _tagged_spans(text, sent)
    if not re.search(r"self[_-]assessment", sent.quoted):
        spans += _bare_spans(text, [(start, end) for start, end, _ in spans], sent)
    spans.sort()
    cut = _cut(text, [(start, end) for start, end, _ in spans])
    if not _speaks_of_tags(sent):
        cut = _take_left_over(cut, is_cut=bool(spans))
    return cut, [inside for _, _, inside in spans]


def _speaks_of_tags(sent: Sent) -> bool:
    """Whether the user's text has an element of that name."""
    given = sent.quoted.lower()
    return f"<{markers.ASSESSMENT_TAG}" in given or (
        markers.ASSESSMENT_TAG in given and bool(re.search(r"\b(?:tags?|elements?)\b", given))
    )


def _take_left_over(text: str, *, is_cut: bool) -> str:
    """Take out a tag that was left alone: on a line of its own beside what was cut out, or at the end of the text."""
    found = list(_LEFT_OVER.finditer(text))
    if not found or (not is_cut and (len(found) > 1 or text[found[0].end() :].strip())):
        return text
    fences = [each.start() for each in re.finditer(r"^[ \t]*(?:```|~~~)", text, re.MULTILINE)]
    spans = [each.span() for each in found if not bisect_left(fences, each.start()) % 2]
    return _cut(text, spans)


def _tagged_spans(text: str, sent: Sent) -> list[tuple[int, int, str]]:
    tags = markers.list_tags(_TAG, text, sent.nonce)
    closings = [each for each in tags if each.is_closing]
    starts = [each.start for each in closings]
    is_users = _speaks_of_tags(sent)
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
    is_object = bool(_OBJECT.match(begin))
    if opening.has_mark:
        return True
    if not is_object and (_ELEMENT.search(begin[: max(0, stop - opening.end)]) or begin.lstrip()[:1] == "{"):
        return False  # an element with elements or code in it
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


def _bare_spans(text: str, taken: list[tuple[int, int]], sent: Sent) -> list[tuple[int, int, str]]:
    """Objects without tags whose fields are an assessment's and nobody else's; one that is cut off ends the text."""
    spans: list[tuple[int, int, str]] = []
    place = 0
    for found in list(_BARE.finditer(text))[:16]:
        start = found.start()
        if start < place or any(a <= start < b for a, b in taken) or not _stands_alone(text, start):
            continue
        end = _end_of_assessment(text, start, sent)
        if end is None:
            rest = text[start:]
            if re.match(r'\{\s{0,20}"confidence"[^{}"]{1,40}"self_assessment"', rest):
                closing = rest.rfind("}")
                end = start + closing + 1 if closing > 0 else len(text)
                spans.append((start, end, text[start:end]))
                break
        elif end > start:
            spans.append((start, end, text[start:end]))
            place = end
    return spans


def _stands_alone(text: str, start: int) -> bool:
    """Whether an object begins a line, or follows a heading, a tag or the end of a sentence."""
    before = text[max(0, start - _LOOK) : start].rpartition("\n")[2].strip(" \t")
    return not before or before[-1] in ".!?。>}`]" or bool(_HEADING.fullmatch(before))


def _end_of_assessment(text: str, start: int, sent: Sent) -> int | None:
    """Where the assessment ends that begins at a place: there where it is another object, None where it has no end."""
    place = start
    for _ in range(3):
        place = text.find("}", place, start + _LONGEST) + 1
        if not place:
            return None
        try:
            given = load(text[start:place], names=frozenset({"confidence"}))
        except MalformedReplyError:
            continue
        return (
            place
            if _is_assessment(given, is_last=not text[place:].strip(" \n`"), before=text[:start], sent=sent)
            else start
        )
    return None


def _is_assessment(value: object, *, is_last: bool, before: str, sent: Sent) -> bool:
    if not isinstance(value, dict):
        return False
    names = {plain_name(name) for name in value}
    if names == {markers.ASSESSMENT_TAG}:
        return _is_assessment(next(iter(value.values())), is_last=is_last, before=before, sent=sent)
    if {"confidence", "self_assessment"} <= names <= _ASSESSMENT_KEYS:
        return True
    if names != {"confidence"} or not is_last or not before.strip(" \n`") or "confidence" in sent.quoted.lower():
        return False
    try:
        read_score(next(iter(value.values())), "confidence")
    except MalformedReplyError:
        return False
    return True


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    """The text without some spans, and without the code fences and headings that held nothing else."""
    if len(spans) > _MOST:
        edges = [0, *(place for span in spans for place in span), len(text)]
        return "".join(text[edges[number] : edges[number + 1]] for number in range(0, len(edges), 2))
    for number in range(len(spans) - 1, -1, -1):
        start, end = spans[number]
        floor = spans[number - 1][1] if number else 0  # what was found before it is cut out in its turn
        before, after = text[:start].rstrip(), text[end:].lstrip("\r\n\t ")
        while (inner := _shed_fence(before, after)) is not None and len(inner[0]) >= floor:
            before, after = inner
        head, _, last = before.rpartition("\n")
        if last.strip() and len(last) < 60 and len(head) >= floor and _HEADING.fullmatch(last.strip()):
            before = head.rstrip()
        glue = "" if not before or not after else ("\n" if _FENCE_LINE.match(after) else "\n\n")
        text = text[:floor] + before[floor:] + glue + after
    return text


def _shed_fence(before: str, after: str) -> tuple[str, str] | None:
    """Take off the code fence around what was cut out, when it held nothing else."""
    head, _, last = before.rpartition("\n")
    opening = (
        bool(_FENCE_LINE.fullmatch(last)) and len(re.findall(r"^[ \t]*(?:```|~~~)", before, re.MULTILINE)) % 2 == 1
    )
    first, _, tail = after.partition("\n")
    if not opening or (after and not re.fullmatch(r"[ \t]*(?:`{3,8}|~~~)[ \t]*", first)):
        return None
    return head.rstrip(), tail.lstrip("\r\n")


def _take_tags(text: str, sent: Sent) -> str:
    """Take off the tags of other parts: those with this call's mark, and those that wrap the whole."""
    for name in (markers.REVISED_TAG, markers.POINTS_TAG, markers.ASSESSMENT_TAG):
        own = [(each.start, each.end) for each in markers.list_tags(name, text, sent.nonce) if each.has_mark]
        edges = [0, *(place for span in own for place in span), len(text)]
        text = "".join(text[edges[number] : edges[number + 1]] for number in range(0, len(edges), 2))
    if f"<{markers.POINTS_TAG}" not in sent.quoted.lower():
        text = _take_points(text)
    if f"<{markers.REVISED_TAG}" not in sent.quoted.lower():
        text = _unwrap_revision(text)
    return text if _MARKUP.search(sent.quoted) or "<answer" in sent.quoted.lower() else _unwrap(text)


def _take_points(text: str) -> str:
    """Take out answers to criticisms, which only a revision has."""
    span = markers.find_span(markers.POINTS_TAG, text)
    if span is None or not re.match(r"[\s`]{0,9}(?:json\s)?[\[{]", text[span[0] : span[0] + 20]):
        return text
    if '"accepted"' not in text[span[0] : span[1]]:
        return text
    start, end = text.rfind("<", 0, span[0]), text.find(">", span[1]) + 1
    return _cut(text, [(start, end)])


def _unwrap_revision(text: str) -> str:
    """Take off the tags of a revision around the whole text, also where one of them is missing."""
    opening, closing = f"<{markers.REVISED_TAG}>", f"</{markers.REVISED_TAG}>"
    stripped = text.strip()
    begins, ends = stripped.lower().startswith(opening), stripped.lower().endswith(closing)
    stripped = stripped[len(opening) :] if begins else stripped
    return (stripped[: -len(closing)] if ends else stripped) if begins or ends else text


def _unwrap(text: str) -> str:
    """Take off an element that models like to put around an answer; one with elements in it is the user's."""
    stripped = text.strip()
    opening = _WRAPS.match(stripped)
    if opening is None:
        return text
    closing = re.search(rf"</{opening['name']}(?:\s[^<>]{{0,40}})?>\Z", stripped[-80:], re.IGNORECASE)
    if closing is None:
        return text
    inside = stripped[opening.end() : len(stripped) - len(closing.group())]
    is_users = f"</{opening['name'].lower()}" in inside.lower() or bool(_ELEMENT.match(inside.lstrip()))
    return text if is_users else inside


def _close_code(text: str, original: str) -> str:
    """Drop a code fence that was left open at the end by what was cut out behind it."""
    stripped = text.rstrip()
    if stripped == original.rstrip():
        return text
    head, _, last = stripped.rpartition("\n")
    is_open = len(re.findall(r"^[ \t]*(?:```|~~~)", stripped, re.MULTILINE)) % 2 == 1
    return head if is_open and _FENCE_LINE.fullmatch(last) else text
