"""How we read what models reply: strictly, with the repairs that leave no doubt about what was meant."""

from __future__ import annotations

import functools
import json
import re
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from orchestratex.domain.base import CRITERIA, Record, Score
from orchestratex.domain.evaluation import Criteria, Criticism
from orchestratex.rules import markers


class MalformedReplyError(ValueError):
    """Raised when a reply cannot be read; the message says what was wrong with it, for asking again."""


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

    criteria: Criteria
    criticisms: list[Criticism] = []
    positive_aspects: str = ""
    suggested_improvements: str = ""
    alternative_approaches: str = ""
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


_Parsed = TypeVar("_Parsed")
_NUMBERS = frozenset({*CRITERIA, "confidence", "point", "criticism", "number"})
_POINTS = TypeAdapter(list[PointReply])
_ASSESSMENT = TypeAdapter(Assessment)
_EVALUATION = TypeAdapter(EvaluationReply)


def parse_answer(reply: str) -> AnswerReply:
    """Split a reply into answer and assessment. Raises MalformedReplyError when no answer is left."""
    text = _without_tag(markers.ASSESSMENT_TAG, reply).strip()
    if not text:
        raise MalformedReplyError("there is no answer in it")
    return AnswerReply(text=text, assessment=parse_assessment(reply))


def parse_assessment(reply: str) -> Assessment | None:
    """Read the tagged assessment; None where it is missing or unreadable."""
    part = markers.find_tag(markers.ASSESSMENT_TAG, reply)
    if part is None:
        return None
    try:
        return _read(part, _ASSESSMENT, "{")
    except MalformedReplyError:
        return None


def parse_evaluation(reply: str) -> EvaluationReply:
    """Read an evaluator's JSON object. Raises MalformedReplyError saying what is missing or out of range."""
    return _read(reply, _EVALUATION, "{")


@functools.cache
def evaluation_schema() -> dict[str, Any]:
    """The JSON schema of an evaluator's reply, in the strict subset that every dialect holds a model to.

    Every property is required and no other allowed; ranges are left out, for strict modes refuse them: they are checked
    when the reply is read.
    """
    schema = EvaluationReply.model_json_schema()
    return _to_strict(schema, schema.get("$defs", {}))


def parse_refinement(reply: str, *, criticisms: int) -> RefineReply:
    """Read a revision of an answer that had `criticisms` numbered objections.

    Raises MalformedReplyError when the revised answer is missing, or an objection is left unanswered.
    """
    text = markers.find_tag(markers.REVISED_TAG, reply)
    if not text:
        raise MalformedReplyError(f"the part <{markers.REVISED_TAG}> is missing or empty")
    part = markers.find_tag(markers.POINTS_TAG, reply)
    points = _read(part, _POINTS, "[") if part else []
    missing = sorted(set(range(1, criticisms + 1)) - {point.point for point in points})
    if missing:
        raise MalformedReplyError(f"criticisms {missing} are not answered in <{markers.POINTS_TAG}>")
    return RefineReply(text=text, points=points, assessment=parse_assessment(reply))


def _to_strict(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return _to_strict(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    strict: dict[str, Any] = {"type": schema["type"]}
    if "enum" in schema:
        strict["enum"] = schema["enum"]
    if "items" in schema:
        strict["items"] = _to_strict(schema["items"], definitions)
    if "properties" in schema:
        properties = {name: _to_strict(value, definitions) for name, value in schema["properties"].items()}
        strict |= {"properties": properties, "required": list(properties), "additionalProperties": False}
    return strict


def _without_tag(name: str, text: str) -> str:
    start = text.rfind(f"<{name}>")
    if start < 0:
        return text
    end = text.find(f"</{name}>", start)
    return text[:start] + (text[end + len(name) + 3 :] if end >= 0 else "")


def _read(text: str, adapter: TypeAdapter[_Parsed], opening: str) -> _Parsed:
    value = _load(text, opening)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the reply"
        raise MalformedReplyError(f"{where}: {first['msg']}") from error


def _load(text: str, opening: str) -> Any:
    """Parse JSON, repairing what has one reading: fences or prose around it, trailing commas, NaN refused."""
    body = _outermost(text, opening)
    for candidate in (body, re.sub(r",(\s*[}\]])", r"\1", body)):
        try:
            return json.loads(candidate, parse_constant=_refuse_constant, object_pairs_hook=_make_object, strict=False)
        except json.JSONDecodeError as error:
            problem = f"not valid JSON ({error.msg} at character {error.pos})"
        except RecursionError:
            problem = "not valid JSON (nested too deeply)"
        except MalformedReplyError:
            raise
        except ValueError:  # Python reads no integer of thousands of digits
            problem = "not valid JSON (a number is too long)"
    raise MalformedReplyError(problem)


def _outermost(text: str, opening: str) -> str:
    """The text from the first opening to the last closing bracket of the kind that is expected."""
    start = text.find(opening)
    if start < 0:
        raise MalformedReplyError("there is no JSON in it")
    end = text.rfind("}" if opening == "{" else "]")
    return text[start : end + 1] if end > start else text[start:]


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with whole texts, unless true or false stands where a number belongs."""
    for name, value in pairs:
        if name in _NUMBERS and isinstance(value, bool):
            raise MalformedReplyError(f"{name}: {str(value).lower()} is not a number")
    return {name: _whole(value) if isinstance(value, str) else value for name, value in pairs}


def _whole(text: str) -> str:
    """JSON can spell halves of surrogate pairs, which MongoDB cannot keep."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse_constant(name: str) -> Any:
    raise MalformedReplyError(f"{name} is not a number in JSON")
