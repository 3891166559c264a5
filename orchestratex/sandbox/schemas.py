"""Structured output: a text held to a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from orchestratex.rules import markers

_NUMBER: Final = 5


def fit(text: str, schema: Mapping[str, Any]) -> str:
    """Return the text when it is an object already, else an object of the schema that holds it."""
    if "self_assessment" in schema.get("properties", {}):
        text = markers.find_tag(markers.ASSESSMENT_TAG, text) or text  # the tags are for free text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return text if isinstance(value, dict) else json.dumps(_fill(schema, text), ensure_ascii=False)


def _fill(schema: Mapping[str, Any], text: str) -> Any:
    """The plainest value of a schema; Google spells its types in capitals."""
    kind = str(schema.get("type", "string")).lower()
    if kind == "object":
        return {name: _fill(each, text) for name, each in schema.get("properties", {}).items()}
    if "enum" in schema:
        return schema["enum"][0]
    return {"array": [], "boolean": True, "number": _NUMBER, "integer": _NUMBER}.get(kind, text)
