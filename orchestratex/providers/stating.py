"""What lists of models say about what a model takes, each in its own words. What they do not say stays unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestratex.domain.base import Effort
from orchestratex.domain.capabilities import Capabilities, LimitName, SchemaForm, TemperatureUse, Thinking

_LEVELS: Final = frozenset(level.value for level in Effort)
_OFF: Final = ("disabled", "between_tools")  # types of `thinking`, the surer one last


def read_row(row: Any) -> Capabilities:
    """From a row of a list in the OpenAI dialect, where it says more than a name.

    `supported_parameters` and `reasoning` are OpenRouter's, `supported_reasoning_efforts` is Hyperstack's.
    """
    if not isinstance(row, Mapping):
        return Capabilities()
    known: dict[str, Any] = {}
    taken = _read_names(row.get("supported_parameters"))
    if taken:
        known |= _read_parameters(taken)
    if isinstance(row.get("reasoning"), Mapping):
        known |= _read_reasoning(row["reasoning"])
    elif "supported_reasoning_efforts" in row:
        levels = _read_names(row["supported_reasoning_efforts"])
        known["efforts"] = _pick(levels or ())
    return Capabilities(**known)


def read_anthropic(entry: Mapping[str, Any]) -> Capabilities:
    """From a model's entry in Anthropic's list: its `capabilities`."""
    stated = entry.get("capabilities")
    if not isinstance(stated, Mapping):
        return Capabilities()
    known: dict[str, Any] = {}
    effort, thinking = stated.get("effort"), stated.get("thinking")
    types = thinking.get("types") if isinstance(thinking, Mapping) else None
    if _is_supported(effort) is not None:
        levels = [level for level in _LEVELS if isinstance(effort, Mapping) and _is_supported(effort.get(level))]
        off = [kind for kind in _OFF if isinstance(types, Mapping) and _is_supported(types.get(kind))]
        known["efforts"] = _pick(levels) | ({Effort.NONE: off[-1]} if off and levels else {})
    if _is_supported(thinking) is not None:  # whether it thinks unasked is not said: room for thoughts does no harm
        known["thinking"] = Thinking.BY_DEFAULT if _is_supported(thinking) else Thinking.NEVER
    can_format = _is_supported(stated.get("structured_outputs"))
    if can_format is not None:
        known["schema_form"] = SchemaForm.FORMAT if can_format else SchemaForm.TOOL
    return Capabilities(**known)


def read_google(entry: Mapping[str, Any]) -> Capabilities:
    """From a model's entry in Google's list: whether it thinks. Its levels are not said."""
    if not isinstance(entry.get("thinking"), bool):
        return Capabilities()
    return Capabilities(thinking=Thinking.BY_DEFAULT) if entry["thinking"] else Capabilities(thinking=Thinking.NEVER)


def _read_parameters(taken: frozenset[str]) -> dict[str, Any]:
    known: dict[str, Any] = {
        "temperature": TemperatureUse.ALWAYS if "temperature" in taken else TemperatureUse.NEVER,
        "seed": "seed" in taken,
        "json_schema": bool(taken & {"structured_outputs", "response_format"}),
    }
    if not taken & {"reasoning", "reasoning_effort"}:
        known["efforts"] = {}
    if "max_completion_tokens" in taken and "max_tokens" not in taken:
        known["limit_name"] = LimitName.MAX_COMPLETION_TOKENS
    return known


def _read_reasoning(reasoning: Mapping[str, Any]) -> dict[str, Any]:
    """Its levels (none stated: all), whether it can do without, and whether it thinks unasked."""
    is_mandatory = reasoning.get("mandatory") is True
    stated = reasoning.get("supported_efforts")
    levels = _LEVELS if stated is None else {*_read_names(stated), Effort.NONE.value}
    efforts = _pick(level for level in levels if not (is_mandatory and level == Effort.NONE.value))
    is_default = reasoning.get("default_enabled") is not False
    thinking = Thinking.ALWAYS if is_mandatory else Thinking.BY_DEFAULT if is_default else Thinking.ON_REQUEST
    return {"efforts": efforts, "thinking": thinking}


def _read_names(value: Any) -> frozenset[str]:
    return frozenset(name for name in value if isinstance(name, str)) if isinstance(value, list) else frozenset()


def _pick(levels: Iterable[str]) -> dict[Effort, str]:
    """Of a provider's levels those that we ask for, in our order."""
    stated = set(levels)
    return {level: level.value for level in Effort if level.value in stated}


def _is_supported(value: Any) -> bool | None:
    """What a `{"supported": true}` says, None where it says nothing."""
    stated = value.get("supported") if isinstance(value, Mapping) else None
    return stated if isinstance(stated, bool) else None
