"""What versions of models take in a request and what they refuse, in their providers' own words.

A version that is not in the table takes everything, as the sandbox's own models do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestratex.sandbox.errors import CallError

_THOUGHTS: Final = {"none": 0, "minimal": 16, "low": 64, "medium": 128, "high": 256, "xhigh": 512}
_OFF: Final = frozenset({"disabled", "between_tools"})
_LIMITS: Final = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Manners:
    """What a version takes."""

    family: str  # whose words it refuses with
    efforts: tuple[str, ...] = ()  # words for an effort; empty: it takes none
    default: str = "none"  # the effort of a call that names none
    refuses: frozenset[str] = frozenset()  # parameters, and "forced_tool", "format" for ways to a schema
    thinking_types: frozenset[str] = frozenset()  # Anthropic's
    has_budgets: bool = False  # Google's before Gemini 3: thinkingBudget in place of thinkingLevel


def _refusing(*names: str) -> frozenset[str]:
    return frozenset(names)


_THREE: Final = ("low", "medium", "high")
MANNERS: Final[Mapping[str, Manners]] = {
    "gpt-4o-2024-08-06": Manners("openai"),
    "o3-mini": Manners("openai", _THREE, "medium", _refusing("max_tokens", "temperature")),
    "gpt-5.1": Manners("openai", ("none", *_THREE), "none", _refusing("max_tokens")),
    "gpt-6.1-sol": Manners("openai", _THREE, "medium", _refusing("max_tokens", "temperature")),
    "gpt-6.1-terra": Manners("openai", ("none", *_THREE), "medium", _refusing("max_tokens")),
    "grok-4-0709": Manners("xai", (), "high"),
    "grok-4.7": Manners("xai", _THREE, "high"),
    "mistral-large-2407": Manners("mistral", (), "none", _refusing("max_completion_tokens", "seed")),
    "mistral-large-4-0": Manners("mistral", ("none", *_THREE), "none", _refusing("max_completion_tokens", "seed")),
    "claude-3-5-sonnet-20241022": Manners("anthropic", (), "none", _refusing("format")),
    "claude-opus-4-6": Manners("anthropic", _THREE, "none", thinking_types=frozenset({"adaptive", "disabled"})),
    "claude-sonnet-5-5": Manners(
        "anthropic",
        _THREE,
        "high",
        _refusing("temperature", "forced_tool"),
        frozenset({"adaptive", "between_tools"}),
    ),
    "claude-opus-5-5": Manners(
        "anthropic", _THREE, "medium", _refusing("temperature", "forced_tool"), frozenset({"adaptive"})
    ),
    "gemini-2.5-flash": Manners("google", ("none", *_THREE), "medium", has_budgets=True),
    "gemini-4-argon": Manners("google", _THREE, "medium"),
    "gemini-4-hydrogen": Manners("google", _THREE, "medium", _refusing("temperature")),
}


def check_chat(manners: Manners | None, version: str, request: Mapping[str, Any]) -> int:
    """The tokens that a version thinks with in the OpenAI dialect. Raises CallError for what it refuses."""
    if manners is None:
        return 0
    for name in (*_LIMITS, "seed"):
        if name in request and name in manners.refuses:
            raise _refuse_parameter(manners, name)
    effort = request.get("reasoning_effort")
    if effort is not None and effort not in manners.efforts:
        raise _refuse_effort(manners, version, str(effort))
    thoughts = _THOUGHTS[str(effort or manners.default)]
    is_fixed = "temperature" in manners.refuses or (manners.family == "openai" and thoughts > 0)
    if is_fixed and request.get("temperature", 1) != 1:
        message = (
            f"Unsupported value: 'temperature' does not support {request['temperature']} with this model. "
            "Only the default (1) value is supported."
        )
        raise CallError(400, "unsupported_value", message, param="temperature")
    return thoughts


def check_messages(manners: Manners | None, request: Mapping[str, Any]) -> int:
    """The tokens that a version thinks with in Anthropic's dialect. Raises CallError for what it refuses."""
    if manners is None:
        return 0
    if "temperature" in request and "temperature" in manners.refuses:
        raise _invalid("`temperature` is deprecated for this model.")
    wanted = request.get("output_config")
    config: Mapping[str, Any] = wanted if isinstance(wanted, dict) else {}
    if "format" in config and "format" in manners.refuses:
        raise _invalid("output_config: Extra inputs are not permitted")
    effort, kind = config.get("effort"), _thinking_type(request)
    if effort is not None and effort not in manners.efforts:
        raise _invalid("This model does not support the effort parameter.")
    if kind is not None and kind not in manners.thinking_types:
        raise _invalid(f'"thinking.type.{kind}" is not supported for this model.' + _say_other(manners))
    is_forced = isinstance(request.get("tool_choice"), dict) and request["tool_choice"].get("type") in ("tool", "any")
    thoughts = 0 if kind in _OFF else _THOUGHTS[str(effort or manners.default)]
    if manners.default == "none" and kind != "adaptive":
        thoughts = 0  # it thinks when it is told to; an effort without that is of its text
    if is_forced and ("forced_tool" in manners.refuses or thoughts > 0):
        raise _invalid("Thinking may not be enabled when tool_choice forces tool use.")
    return thoughts


def check_generate(manners: Manners | None, generation: Mapping[str, Any]) -> int:
    """The tokens that a version thinks with in Google's dialect. Raises CallError for what it refuses."""
    if manners is None:
        return 0
    if "temperature" in generation and "temperature" in manners.refuses:
        raise CallError(400, "invalid_argument", "temperature is not supported for this model.")
    wanted = generation.get("thinkingConfig")
    config: Mapping[str, Any] = wanted if isinstance(wanted, dict) else {}
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    if level is not None and (manners.has_budgets or level not in manners.efforts):
        which = "" if manners.has_budgets else f" {str(level).upper()}"
        raise CallError(400, "invalid_argument", f"Thinking level{which} is not supported for this model.")
    if budget == 0 and "none" not in manners.efforts:
        raise CallError(400, "invalid_argument", "Budget 0 is invalid. This model only works in thinking mode.")
    if budget is not None:
        return min(int(budget), _THOUGHTS["high"])
    return _THOUGHTS[str(level or manners.default)]


def _thinking_type(request: Mapping[str, Any]) -> str | None:
    thinking = request.get("thinking")
    return str(thinking.get("type")) if isinstance(thinking, dict) else None


def _say_other(manners: Manners) -> str:
    if "between_tools" in manners.thinking_types:
        return ' To turn thinking off on this model, send "thinking": {"type": "between_tools"}.'
    return ' Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'


def _refuse_parameter(manners: Manners, name: str) -> CallError:
    if manners.family == "mistral":
        return CallError(422, "extra_forbidden", f"{name}: Extra inputs are not permitted", param=name)
    message = f"Unsupported parameter: '{name}' is not supported with this model. Use 'max_completion_tokens' instead."
    return CallError(400, "unsupported_parameter", message, param=name)


def _refuse_effort(manners: Manners, version: str, effort: str) -> CallError:
    if manners.efforts:
        known = ", ".join(f"'{word}'" for word in manners.efforts)
        message = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model."
        message += f" Supported values are: {known}."
        return CallError(400, "unsupported_value", message, param="reasoning_effort")
    if manners.family == "xai":
        return CallError(400, "invalid-argument", f"Model {version} does not support parameter reasoningEffort.")
    if manners.family == "mistral":
        return _refuse_parameter(manners, "reasoning_effort")
    return CallError(400, "unknown_parameter", "Unrecognized request argument supplied: reasoning_effort")


def _invalid(message: str) -> CallError:
    return CallError(400, "invalid_request_error", message)


def describe_anthropic(manners: Manners) -> dict[str, Any]:
    """The `capabilities` of Anthropic's list of models."""

    def say(*, is_supported: bool) -> dict[str, Any]:
        return {"supported": is_supported}

    kinds = {kind: say(is_supported=kind in manners.thinking_types) for kind in ("adaptive", "enabled", *sorted(_OFF))}
    return {
        "effort": say(is_supported=bool(manners.efforts))
        | {level: say(is_supported=level in manners.efforts) for level in ("low", "medium", "high", "xhigh", "max")},
        "structured_outputs": say(is_supported="format" not in manners.refuses),
        "thinking": say(is_supported=bool(manners.thinking_types)) | {"types": kinds},
    }


def describe_parameters(manners: Manners) -> dict[str, Any]:
    """What OpenRouter's list says beside a model's name."""
    offered = {"max_tokens", "max_completion_tokens", "temperature", "seed", "response_format", "structured_outputs"}
    taken = offered - manners.refuses | ({"reasoning", "reasoning_effort"} if manners.efforts else set())
    described: dict[str, Any] = {"supported_parameters": sorted(taken)}
    if manners.efforts:
        is_mandatory = "none" not in manners.efforts
        described["reasoning"] = {
            "mandatory": is_mandatory,
            "default_enabled": manners.default != "none",
            "supported_efforts": [level for level in reversed(manners.efforts) if level != "none"],
        }
    return described
