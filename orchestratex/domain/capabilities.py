"""What a model takes in a request: data of its profile, for no name says it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, Field, StrictBool, StrictInt

from orchestratex.domain.base import Effort, Record, UtcDate, added


class Thinking(StrEnum):
    """Whether a model thinks before it answers; what it thinks is billed as output, and counts towards its limit."""

    NEVER = "never"
    ON_REQUEST = "on_request"  # only where an effort is asked for
    BY_DEFAULT = "by_default"  # unless it is asked for none
    ALWAYS = "always"


class TemperatureUse(StrEnum):
    """When a model takes a temperature."""

    ALWAYS = "always"
    UNLESS_THINKING = "unless_thinking"
    NEVER = "never"


class SchemaForm(StrEnum):
    """How a reply is held to a JSON schema, where a dialect has had two ways."""

    FORMAT = "format"  # the field that is there for it
    TOOL = "tool"  # a tool that the model must use, whose input is the reply: models that always think refuse one


class LimitName(StrEnum):
    """What the limit of output tokens is called in the OpenAI dialect."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


# How an effort is said to a model: in a word, in tokens to think with, or by a switch.
EffortWord = StrictBool | StrictInt | Annotated[str, Field(min_length=1, max_length=40)]
_Value = TypeVar("_Value", bound=StrEnum)
_LEVELS: Final = tuple(Effort)  # the least first


def _from_list(efforts: Any) -> Any:
    """A list of levels that are called the same on the wire."""
    return {level: level for level in efforts} if isinstance(efforts, list | tuple) else efforts


class Capabilities(Record):
    """What a model takes. None: not known, then it is asked as most models are, and what it refuses is remembered."""

    thinking: Thinking | None = added(None)
    # the efforts that it takes, each with its word on the wire; a list where the words are the same; empty: none
    efforts: Annotated[dict[Effort, EffortWord] | None, BeforeValidator(_from_list)] = added(None)
    temperature: TemperatureUse | None = added(None)
    seed: bool | None = added(None)
    json_schema: bool | None = added(None)  # False: it cannot hold a reply to a schema, whatever its profile says
    schema_form: SchemaForm | None = added(None)
    limit_name: LimitName | None = added(None)
    # False: the limit of output tokens does not hold for what it thinks, which is bounded by a budget of its own
    limit_holds_thinking: bool | None = added(None)
    # tokens that a call allows at least where it thinks; None: by the effort
    least_output_tokens: Annotated[int, Field(ge=0)] | None = added(None)


class Stated(Record):
    """What a provider's own list says about a model."""

    at: str  # where it was read, see `place_of`
    read_at: UtcDate
    capabilities: Capabilities = Capabilities()


class Refusals(Record):
    """What a model refused, so that it is not sent again."""

    at: str  # where it was refused, see `place_of`
    parameters: list[str] = []


class Parameter(StrEnum):
    """What may be left out of a request, or said otherwise: the last three, by their values (`effort=none`)."""

    TEMPERATURE = "temperature"
    SEED = "seed"
    EFFORT = "effort"
    SCHEMA = "schema"
    LIMIT_NAME = "limit_name"


def name_value(parameter: Parameter, value: str) -> str:
    """One value of a parameter, as refusals name it."""
    return f"{parameter.value}={value}"


def place_of(version: str, dialect: str, origin: str) -> str:
    """Where something was learnt: what one endpoint refuses of a version says nothing of another."""
    return f"{version} at {origin}, in the {dialect} dialect"


def merge(*layers: Capabilities | None) -> Capabilities:
    """For each capability the first layer that knows it."""
    known: dict[str, Any] = {}
    for layer in reversed(layers):
        if layer is not None:
            known |= {name: value for name, value in layer if value is not None}
    return Capabilities.model_construct(**{**dict(Capabilities()), **known})


def without(capabilities: Capabilities, refused: Collection[str]) -> Capabilities:
    """The capabilities that are left when some parameters, or some of their values, were refused."""
    changes: dict[str, Any] = {}
    if Parameter.TEMPERATURE in refused:
        changes["temperature"] = TemperatureUse.NEVER
    if Parameter.SEED in refused:
        changes["seed"] = False
    if capabilities.efforts:
        left = () if Parameter.EFFORT in refused else _left(Parameter.EFFORT, capabilities.efforts, refused)
        changes["efforts"] = {level: capabilities.efforts[level] for level in left}
    forms = _left(Parameter.SCHEMA, SchemaForm, refused)
    if Parameter.SCHEMA in refused or not forms:
        changes["json_schema"] = False
    elif len(forms) == 1:
        changes["schema_form"] = forms[0]
    names = _left(Parameter.LIMIT_NAME, LimitName, refused)
    if len(names) == 1:
        changes["limit_name"] = names[0]
    return capabilities.model_copy(update=changes)


def _left(parameter: Parameter, values: Iterable[_Value], refused: Collection[str]) -> list[_Value]:
    return [value for value in values if name_value(parameter, value) not in refused]


def choose_effort(capabilities: Capabilities, wanted: Effort | None) -> Effort | None:
    """The level that is asked of a model: what is wanted, else the nearest that it takes, of two the lesser.

    None: nothing is said, and the model does as it does.
    """
    if wanted is None or not capabilities.efforts:
        return None
    at = _LEVELS.index(wanted)
    return min(capabilities.efforts, key=lambda level: (abs(_LEVELS.index(level) - at), _LEVELS.index(level)))


def is_thinking(capabilities: Capabilities, effort: Effort | None) -> bool:
    """Whether a model thinks when it is asked for an effort, None: for none in particular."""
    if capabilities.thinking in (Thinking.NEVER, Thinking.ALWAYS):
        return capabilities.thinking is Thinking.ALWAYS
    if effort is None:
        return capabilities.thinking is Thinking.BY_DEFAULT
    return effort is not Effort.NONE


def takes_temperature(capabilities: Capabilities, effort: Effort | None) -> bool:
    """Whether a temperature may be sent beside an effort."""
    if capabilities.temperature is TemperatureUse.UNLESS_THINKING:
        return not is_thinking(capabilities, effort)
    return capabilities.temperature is not TemperatureUse.NEVER


_LEAST_OUTPUT: Final[Mapping[Effort | None, int]] = {
    # OpenAI and Google advise 25,000 and more to begin with; a reply that is cut off is asked for again with more,
    # and every token allowed is money set aside
    Effort.NONE: 0,
    Effort.LOW: 4096,
    None: 8192,
    Effort.MEDIUM: 8192,
    Effort.HIGH: 16384,
}


def least_output(capabilities: Capabilities, effort: Effort | None) -> int:
    """The output tokens that a call has to allow for its text to come after its thoughts; 0 where it does not think."""
    if not is_thinking(capabilities, effort):
        return 0
    if capabilities.least_output_tokens is not None:
        return capabilities.least_output_tokens
    return _LEAST_OUTPUT[effort] or _LEAST_OUTPUT[Effort.LOW]
