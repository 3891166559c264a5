"""The JSON schemas that hold a reply in form and in bounds, in what each server's dialect takes of the language.

Without bounds a small model fills a list until its limit cuts it off. What a dialect does not take is left out;
whatever it lets through is checked when the reply is read.
"""

from __future__ import annotations

import functools
from typing import Any, Final, NamedTuple

from orchestratex.domain.base import CRITERIA, Purpose, Role, Severity
from orchestratex.domain.profile import Profile

_Schema = dict[str, Any]


class Bounds(NamedTuple):
    """What a dialect takes."""

    has_number_enum: bool = True  # else minimum and maximum
    has_max_items: bool = False
    has_max_length: bool = False


# Kept to what is documented: a keyword that it does not know makes a server refuse the call.
_BOUNDS: Final = {
    "openai": Bounds(has_max_items=True),  # strict mode takes no lengths of texts
    "google": Bounds(has_number_enum=False, has_max_items=True),  # enumerations are texts there
}
_COMMON: Final = Bounds()  # xAI, Mistral and Anthropic's strict tools take enumerations alone
_OWN: Final = Bounds(has_max_items=True, has_max_length=True)  # llama.cpp and vLLM compile a grammar of all of it
_LONG, _SHORT = 400, 160


def reply_schema(profile: Profile, role: Role, purpose: Purpose) -> _Schema | None:
    """The schema of a reply from this model, as bounded as its server takes it; None for a reply that is free text."""
    is_own = profile.api_endpoint.startswith("http://")
    if purpose is Purpose.ASSESSMENT:
        return assessment_schema(profile.dialect, profile.provider, is_own=is_own)
    if role is Role.EVALUATOR:
        return evaluation_schema(profile.dialect, profile.provider, is_own=is_own)
    return None


@functools.cache
def evaluation_schema(dialect: str = "", provider: str = "", *, is_own: bool = False) -> _Schema:
    """The schema of an evaluator's reply: what was found first, the scores last.

    Every property is required and no other allowed, as strict modes want it. `is_own` says that the server is one's own
    (reached without TLS). Without a dialect the schema holds what all take.
    """
    maker = _Maker(_find_bounds(dialect, provider, is_own=is_own))
    criticism = maker.make_object(
        point=maker.make_text(_LONG),
        severity=maker.make_choice([each.value for each in Severity]),
        evidence=maker.make_text(_LONG),
    )
    return maker.make_object(
        checks=maker.make_list(maker.make_text(_SHORT), 8),
        criticisms=maker.make_list(criticism, 6),
        has_plain_error={"type": "boolean"},
        positive_aspects=maker.make_text(_LONG),
        suggested_improvements=maker.make_text(_LONG),
        alternative_approaches=maker.make_text(_LONG),
        criteria=maker.make_object(**{name: maker.make_score() for name in CRITERIA}),
        confidence=maker.make_score(),
    )


@functools.cache
def assessment_schema(dialect: str = "", provider: str = "", *, is_own: bool = False) -> _Schema:
    """The schema of a model's assessment of its own answer."""
    maker = _Maker(_find_bounds(dialect, provider, is_own=is_own))
    return maker.make_object(self_assessment=maker.make_text(_LONG), confidence=maker.make_score())


def _find_bounds(dialect: str, provider: str, *, is_own: bool) -> Bounds:
    if is_own and dialect == "openai":
        return _OWN
    return _BOUNDS.get(provider if dialect == "openai" else dialect, _COMMON)


class _Maker:
    """Writes the parts of a schema within what a dialect takes."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def make_object(self, **properties: _Schema) -> _Schema:
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def make_list(self, items: _Schema, most: int) -> _Schema:
        made: _Schema = {"type": "array", "items": items}
        return made | {"maxItems": most} if self.bounds.has_max_items else made

    def make_text(self, most: int) -> _Schema:
        return {"type": "string", "maxLength": most} if self.bounds.has_max_length else {"type": "string"}

    def make_choice(self, values: list[str]) -> _Schema:
        return {"type": "string", "enum": values}

    def make_score(self) -> _Schema:
        if self.bounds.has_number_enum:
            return {"type": "integer", "enum": list(range(1, 11))}
        return {"type": "integer", "minimum": 1, "maximum": 10}
