"""A call to a model, whatever the dialect: what is asked, what the model says, what it costs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestratex.sandbox.brain import play
from orchestratex.sandbox.errors import CallError
from orchestratex.sandbox.evaluating import Bias
from orchestratex.sandbox.faults import FaultKind
from orchestratex.sandbox.models import Model
from orchestratex.sandbox.schemas import fit
from orchestratex.sandbox.seeds import draw_unit
from orchestratex.sandbox.tasks import Task, TaskKind

_SHA_CHARS: Final = 16
_REFUSAL: Final = "I'm sorry, but I can't help with that request."
ENDED: Final = {FaultKind.CUT_OFF: "length", FaultKind.EMPTY_CUT_OFF: "length", FaultKind.FILTERED: "content_filter"}
_NO_LIMIT: Final = 4096  # tokens that a model allows itself
_BROKEN: Final = {
    TaskKind.ANSWER: '<assessment>{"confidence": ten, "self_assessment": "as good as it',
    TaskKind.EVALUATE: 'I would say {"criteria": {"accuracy": seven-ish, "relevance" 8 8, [[ "criticisms": {{{',
    TaskKind.REFINE: "<revised_answer>\nI have revised the ans</points><points>[{point: first, accepted: maybe",
    TaskKind.ASSESS: '<assessment>{"confidence": ten, "self_assess',
    TaskKind.CHAT: "\ufffd\ufffd{{{",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model."""

    model: Model
    task: Task
    ordinal: int
    max_tokens: int | None
    input_chars: int
    json_schema: Mapping[str, Any] | None = None  # of the reply
    tool: str | None = None  # the tool that the reply has to be given to
    thoughts: int = 0  # tokens that the model thinks before its first word

    @property
    def prompt_sha(self) -> str:
        """A short fingerprint of the prompt."""
        return hashlib.sha256(self.task.prompt.encode("utf-8", "surrogatepass")).hexdigest()[:_SHA_CHARS]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model said, counted."""

    text: str
    refusal: str | None
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    reasoning_tokens: int = 0  # part of the output


def read_object(body: bytes) -> dict[str, Any]:
    """Read the JSON object of a request; raises CallError."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise CallError(400, "invalid_json", "The body is not JSON.") from error
    if not isinstance(request, dict):
        raise CallError(400, "invalid_json", "The body is not a JSON object.")
    return request


def find_model(name: Any, catalogue: Mapping[str, Model]) -> Model:
    """Return the model that answers to a name; raises CallError."""
    model = catalogue.get(name.lower()) if isinstance(name, str) else None
    if model is None:
        raise CallError(404, "model_not_found", f"The model `{name}` does not exist or you do not have access to it.")
    return model


def read_int(request: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number of a request, None where it is left out; raises CallError."""
    value = request.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise CallError(400, "invalid_type", f"`{name}` must be an integer.")
    return value


def read_limit(request: Mapping[str, Any], *names: str) -> int | None:
    """Return the most tokens that may be generated, None where nothing is said; raises CallError."""
    limit = next(filter(None, (read_int(request, name) for name in names)), None)
    if limit is not None and limit < 1:
        raise CallError(400, "invalid_value", "The token limit must be at least 1.")
    return limit


def read_text(content: Any) -> str:
    """Return the text of a message: itself, or its parts; raises CallError."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    raise CallError(400, "invalid_messages", "A message has no text.")


def count_chars(schema: Mapping[str, Any] | None) -> int:
    """Return what a schema adds to the input: providers bill it as text."""
    return 0 if schema is None else len(json.dumps(schema))


def complete(
    call: Call, *, bias: Bias, spoil: FaultKind | None, chars_per_token: float, bills_worst_case: bool = False
) -> Completion:
    """Let the model speak; `spoil` replaces its words by a refusal, nothing, or what no parser can read."""
    refusal = _REFUSAL if spoil is FaultKind.REFUSAL else None
    text = _spoil(call, spoil, bias) if spoil else _speak(call, bias)
    thoughts = call.thoughts if call.max_tokens is None else min(call.thoughts, call.max_tokens)
    kept = text if call.max_tokens is None else text[: int((call.max_tokens - thoughts) * chars_per_token)]
    input_tokens = math.ceil(call.input_chars / chars_per_token)
    output_tokens = thoughts + math.ceil(len(refusal or kept) / chars_per_token)
    if bills_worst_case and call.max_tokens is not None:
        output_tokens = call.max_tokens
    finish_reason = "stop" if len(kept) == len(text) else "length"
    if spoil in ENDED:
        finish_reason = ENDED[spoil]
        output_tokens = output_tokens if spoil is FaultKind.FILTERED else call.max_tokens or _NO_LIMIT
    return Completion(
        text=kept,
        refusal=refusal,
        finish_reason=finish_reason,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_nanos=input_tokens * call.model.input_nanos + output_tokens * call.model.output_nanos,
        reasoning_tokens=output_tokens if spoil is FaultKind.EMPTY_CUT_OFF else min(thoughts, output_tokens),
    )


def model_latency_s(call: Call, completion: Completion) -> float:
    """Return how long the model takes for a completion: a start, a time per token, and up to a fifth either way."""
    steady = call.model.base_latency_s + call.model.token_latency_s * completion.output_tokens
    luck = draw_unit(
        "latency", call.model.name, call.task.kind, call.prompt_sha, call.ordinal, completion.output_tokens
    )
    return steady * (0.8 + 0.4 * luck)


def _speak(call: Call, bias: Bias) -> str:
    text = play(call.model, call.task, ordinal=call.ordinal, bias=bias)
    return text if call.json_schema is None else fit(text, call.json_schema)


def _spoil(call: Call, kind: FaultKind, bias: Bias) -> str:
    if kind in {FaultKind.CUT_OFF, FaultKind.FILTERED}:
        whole = _speak(call, bias)
        return whole[: len(whole) // 2]
    return _BROKEN[call.task.kind] if kind is FaultKind.MALFORMED else ""
