"""How we read what models reply: what is plainly meant is read, what leaves doubt is refused in words to act on.

Each reader takes the prompt that was sent: from it come the nonce of the tags and what the user gave, so that a reply
is read the same whenever it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from orchestratex.domain.base import CRITERIA, Record, Score, Severity
from orchestratex.domain.evaluation import Criteria, Criticism
from orchestratex.rules import markers
from orchestratex.rules.meaning import (
    kind_of,
    plain_names,
    read_carried,
    read_confidence,
    read_criteria,
    read_criticisms,
    read_object,
    read_score,
    read_text,
    read_truth,
    refuse_twice,
)
from orchestratex.rules.quoting import refuse_quoted
from orchestratex.rules.reading import MalformedReplyError, find_body, list_objects, load
from orchestratex.rules.scaffolding import clean
from orchestratex.rules.sent import Sent, read_sent
from orchestratex.rules.thinking import strip_before_json, strip_thinking

__all__ = [
    "AnswerReply",
    "Assessment",
    "EvaluationReply",
    "MalformedReplyError",
    "PointReply",
    "RefineReply",
    "parse_answer",
    "parse_assessment",
    "parse_evaluation",
    "parse_refinement",
]

MAX_ACCURACY_WITH_ERROR = 4.0  # of an answer with a plain error, as the prompt says


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Assessment(_Reply):
    """What a model thinks of its own reply."""

    confidence: Score
    self_assessment: str = ""
    acknowledgment: str = ""
    disagreement: str = ""
    clarifications: str = ""
    explanation_of_changes: str = ""
    rebuttal_points: str = ""
    alternative_interpretations: str = ""


class AnswerReply(Record):
    """An answer, and its assessment where the model gave one."""

    text: str
    assessment: Assessment | None


class EvaluationReply(_Reply):
    """An evaluator's reply."""

    criticisms: list[Criticism] = []
    has_plain_error: bool = False
    positive_aspects: str = ""
    suggested_improvements: str = ""
    alternative_approaches: str = ""
    criteria: Criteria  # accuracy is at most 4 where the answer has a plain error
    confidence: Score


class PointReply(_Reply):
    """The answer to one numbered criticism."""

    point: int = Field(ge=1, validation_alias=AliasChoices("point", "criticism", "number"))
    accepted: bool
    change: str = ""
    why: str = ""


class RefineReply(Record):
    """A revision with its answers to the criticisms."""

    text: str
    points: list[PointReply]
    assessment: Assessment | None


_MOST_ASSESSMENTS = 16  # that are looked at in one reply
_TEXTS = ("positive_aspects", "suggested_improvements", "alternative_approaches")
_SCORE_NAMES = frozenset({*CRITERIA, "confidence"})
_POINT_NAMES = ("point", "criticism", "number")
_POINT = TypeAdapter(PointReply)


def parse_answer(reply: str, sent: str = "") -> AnswerReply:
    """Split a reply into answer and assessment; nothing of ours is left in the answer.

    Raises MalformedReplyError when there is no answer beside thinking, assessments and words of the prompt.
    """
    asked = read_sent(sent)
    cleaned = clean(strip_thinking(reply, asked.quoted), asked)
    if not cleaned.text:
        raise MalformedReplyError("there is no answer in it: reply with the answer itself, and nothing else")
    _refuse_nonce(cleaned.text, asked)
    return AnswerReply(text=cleaned.text, assessment=_last_assessment(cleaned.assessments))


def parse_assessment(reply: str, sent: str = "") -> Assessment | None:
    """Read the assessment of a reply, tagged or alone; None where it is missing or unreadable."""
    asked = read_sent(sent)
    text = strip_before_json(reply)
    part = markers.find_tag(markers.ASSESSMENT_TAG, text, asked.nonce)
    return _read_assessment(part if part is not None else text)


def parse_evaluation(reply: str, sent: str = "") -> EvaluationReply:
    """Read an evaluator's JSON object: the reply itself, never one that it quotes from the answer.

    Raises MalformedReplyError saying what is missing, of a wrong kind or out of range.
    """
    body = find_body(strip_before_json(reply), "{")
    given = read_carried(load(body.text, names=_SCORE_NAMES))
    refuse_twice(given, ("confidence", "criticisms"))
    criteria = read_criteria(given)
    criticisms = read_criticisms(given.get("criticisms"))
    confidence = read_confidence(given)
    refuse_quoted(body, criteria, criticisms, answer=read_sent(sent).answer)
    has_error = _has_plain_error(given, criticisms)
    if has_error:
        criteria["accuracy"] = min(criteria["accuracy"], MAX_ACCURACY_WITH_ERROR)
    return EvaluationReply(
        criteria=Criteria(**criteria),
        criticisms=[Criticism.model_validate(each) for each in criticisms],
        has_plain_error=has_error,
        confidence=confidence,
        **{name: read_text(given.get(name), name) for name in _TEXTS},
    )


def parse_refinement(reply: str, sent: str = "", *, criticisms: int) -> RefineReply:
    """Read a revision of an answer that had `criticisms` numbered objections: in tagged parts, or as one JSON object.

    Raises MalformedReplyError when the revised answer is missing, or an objection is left unanswered.
    """
    asked = read_sent(sent)
    text = strip_thinking(reply, asked.quoted)
    revised, rest = _split_refinement(text, asked)
    cleaned = clean(strip_thinking(revised, asked.quoted), asked)
    if not cleaned.text:
        raise MalformedReplyError(f"the part <{markers.REVISED_TAG}> is missing or empty")
    _refuse_nonce(cleaned.text, asked)
    points = rest if isinstance(rest, list) else _find_points(rest, asked)
    missing = sorted(set(range(1, criticisms + 1)) - {point.point for point in points})
    if missing:
        raise MalformedReplyError(f"criticisms {missing} are not answered in <{markers.POINTS_TAG}>")
    outside = clean(rest, asked).assessments if isinstance(rest, str) else ()
    assessment = _last_assessment((*cleaned.assessments, *outside))
    return RefineReply(text=cleaned.text, points=points, assessment=assessment)


def _split_refinement(text: str, asked: Sent) -> tuple[str, str | list[PointReply]]:
    """The revised answer, and what stands behind it: text with the points, or the points themselves."""
    span = _find_revision(text, asked)
    if span is not None:
        opening = text.rfind("<", 0, span[0])
        return text[span[0] : span[1]], f"{text[: max(0, opening)]}\n{text[span[1] :]}"
    if text.lstrip()[:1] in ("{", "`") and markers.REVISED_TAG in text[:400]:
        given = read_object(load(find_body(text, "{").text))
        revised = given.get(markers.REVISED_TAG)
        if isinstance(revised, str):
            return revised, _read_points(given.get(markers.POINTS_TAG))
    raise MalformedReplyError(f"the part <{markers.REVISED_TAG}> is missing or empty")


def _find_revision(text: str, asked: Sent) -> tuple[int, int] | None:
    """Where the revised answer stands: within its tags, or from its opening to the points behind it."""
    tags = markers.list_tags(markers.REVISED_TAG, text, asked.nonce)
    closings = [each for each in tags if each.is_closing and not each.is_quoted]
    points = [
        each
        for each in markers.list_tags(markers.POINTS_TAG, text, asked.nonce)
        if not (each.is_closing or each.is_quoted)
    ]
    own = [each for each in points if each.has_mark] or points
    behind = [each for each in own if closings and each.start >= closings[0].end]
    end = behind[0].start if behind else len(text)
    span = markers.find_span(markers.REVISED_TAG, text[:end], asked.nonce)
    openings = [each for each in tags if not each.is_closing and not each.is_quoted]
    if span is None and openings and own and own[-1].start > openings[0].end:
        span = (openings[0].end, own[-1].start)
    return span


def _find_points(text: str, asked: Sent) -> list[PointReply]:
    openings = [each for each in markers.list_tags(markers.POINTS_TAG, text, asked.nonce) if not each.is_closing]
    if openings:
        span = markers.find_span(markers.POINTS_TAG, text, asked.nonce)
        part = text[span[0] : span[1]] if span else text[openings[-1].end :]
    elif '"accepted"' in text:
        part = text
    else:
        return []
    if span_of := markers.list_tags(markers.ASSESSMENT_TAG, part, asked.nonce):
        part = part[: span_of[0].start]
    return _read_points(_load_points(part)) if part.strip() else []


def _load_points(part: str) -> Any:
    """The points as they were written: a list, one object, or objects one after the other."""
    brackets = [place for place in (part.find("["), part.find("{")) if place >= 0]
    if not brackets:
        raise MalformedReplyError(f"there is no JSON in <{markers.POINTS_TAG}>")
    opening = part[min(brackets)]
    if opening == "{" and (found := _list_points(part)):
        return found
    body = find_body(part, opening).text
    return load(body, names=frozenset(_POINT_NAMES))


def _list_points(part: str) -> list[Any]:
    try:
        return [value for _, _, value in list_objects(part)] if part.count("{") > 1 else []
    except MalformedReplyError:
        return []


def _read_points(value: Any) -> list[PointReply]:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping) and isinstance(value.get(markers.POINTS_TAG), list | Mapping):
        value = value[markers.POINTS_TAG]
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    points = [_read_point(item, f"points[{place}]") for place, item in enumerate(items)]
    both = {each.point for each in points if each.accepted} & {each.point for each in points if not each.accepted}
    if both:
        raise MalformedReplyError(f"criticism {min(both)} is both accepted and disputed: say one")
    return points


def _read_point(item: Any, name: str) -> PointReply:
    if not isinstance(item, Mapping):
        raise MalformedReplyError(
            f"`{name}` must be an object with point, accepted, change and why, you gave {kind_of(item)}"
        )
    named = plain_names(item)
    refuse_twice(named, (*_POINT_NAMES, "accepted"))
    item = dict(named)
    if isinstance(item.get("accepted"), str):
        item["accepted"] = {"accepted": True, "disputed": False, "rejected": False}.get(
            item["accepted"].strip().casefold(), item["accepted"]
        )
    for key in _POINT_NAMES:
        if isinstance(item.get(key), str):
            item[key] = item[key].strip().strip("#.")
        if isinstance(item.get(key), bool):
            raise MalformedReplyError(
                f"`{name}.{key}` must be the criticism's number, you gave {str(item[key]).lower()}"
            )
    texts = {key: read_text(item.get(key), f"{name}.{key}") for key in ("change", "why")}
    try:
        return _POINT.validate_python({**item, **texts})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedReplyError(f"`{name}.{where}`: {first['msg'].lower()}") from error


def _has_plain_error(given: Mapping[str, Any], criticisms: list[dict[str, str]]) -> bool:
    """What the evaluator says; where it says nothing, a criticism of something wrong or harmful says it."""
    said = read_truth(given.get("has_plain_error"))
    return any(each["severity"] == Severity.CRITICAL for each in criticisms) if said is None else said


def _refuse_nonce(text: str, asked: Sent) -> None:
    if asked.nonce and asked.nonce in text:
        raise MalformedReplyError("it repeats the marks of the blocks: leave them out")


def _last_assessment(parts: tuple[str, ...]) -> Assessment | None:
    read = (_read_assessment(part) for part in reversed(parts[-_MOST_ASSESSMENTS:]))
    return next((each for each in read if each is not None), None)


def _read_assessment(text: str) -> Assessment | None:
    try:
        given = read_object(load(find_body(text, "{").text, names=frozenset({"confidence"})))
        refuse_twice(given, ("confidence",))
        confidence = read_score(given.get("confidence"), "confidence")
    except MalformedReplyError:
        return None
    return Assessment(confidence=confidence, **{name: _text_or_empty(given.get(name)) for name in _OTHER_FIELDS})


_OTHER_FIELDS = tuple(name for name in Assessment.model_fields if name != "confidence")


def _text_or_empty(value: Any) -> str:
    try:
        return read_text(value, "")
    except MalformedReplyError:
        return ""
