"""The chat-completions dialect: a request read, a completion written."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestratex.sandbox.brain import play
from orchestratex.sandbox.evaluating import Bias
from orchestratex.sandbox.faults import FaultKind
from orchestratex.sandbox.models import Model
from orchestratex.sandbox.seeds import draw_unit
from orchestratex.sandbox.tasks import Task, TaskKind, read_task

_SHA_CHARS: Final = 16
_REFUSAL: Final = "I'm sorry, but I can't help with that request."
_BROKEN: Final = {
    TaskKind.ANSWER: '<assessment>{"confidence": ten, "self_assessment": "as good as it',
    TaskKind.EVALUATE: 'I would say {"criteria": {"accuracy": seven-ish, "relevance" 8 8, [[ "criticisms": {{{',
    TaskKind.REFINE: "<revised_answer>\nI have revised the ans</points><points>[{point: first, accepted: maybe",
    TaskKind.ASSESS: '<assessment>{"confidence": ten, "self_assess',
    TaskKind.CHAT: "\ufffd\ufffd{{{",
}


class CallError(Exception):
    """Raised when a call is none that the dialect allows; carries the status and code of the reply."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model."""

    model: Model
    task: Task
    ordinal: int
    max_tokens: int | None
    input_chars: int

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


def read_call(body: bytes, catalogue: Mapping[str, Model]) -> Call:
    """Read the body of a request; raises CallError for what the dialect does not allow."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise CallError(400, "invalid_json", "The body is not JSON.") from error
    if not isinstance(request, dict):
        raise CallError(400, "invalid_json", "The body is not a JSON object.")
    if request.get("stream"):
        raise CallError(400, "unsupported_value", "The sandbox does not stream.")
    system, user, chars = _read_messages(request.get("messages"))
    return Call(
        model=_find_model(request.get("model"), catalogue),
        task=read_task(system, user),
        ordinal=_read_int(request, "seed") or 0,
        max_tokens=_read_limit(request),
        input_chars=chars,
    )


def complete(call: Call, *, bias: Bias, spoil: FaultKind | None, chars_per_token: float) -> Completion:
    """Let the model speak; `spoil` replaces its words by a refusal, nothing, or what no parser can read."""
    refusal = _REFUSAL if spoil is FaultKind.REFUSAL else None
    text = _spoil(call, spoil) if spoil else play(call.model, call.task, ordinal=call.ordinal, bias=bias)
    kept = text if call.max_tokens is None else text[: int(call.max_tokens * chars_per_token)]
    input_tokens = math.ceil(call.input_chars / chars_per_token)
    output_tokens = math.ceil(len(refusal or kept) / chars_per_token)
    return Completion(
        text=kept,
        refusal=refusal,
        finish_reason="stop" if len(kept) == len(text) else "length",
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_nanos=input_tokens * call.model.input_nanos + output_tokens * call.model.output_nanos,
    )


def model_latency_s(call: Call, completion: Completion) -> float:
    """Return how long the model takes for a completion: a start, a time per token, and up to a fifth either way."""
    steady = call.model.base_latency_s + call.model.token_latency_s * completion.output_tokens
    luck = draw_unit(
        "latency", call.model.name, call.task.kind, call.prompt_sha, call.ordinal, completion.output_tokens
    )
    return steady * (0.8 + 0.4 * luck)


def dump_completion(call: Call, completion: Completion, *, number: int, created: int) -> bytes:
    """Write a completion as OpenAI publishes it."""
    refused = completion.refusal is not None
    envelope = {
        "id": f"chatcmpl-{call.prompt_sha}{number:08x}",
        "object": "chat.completion",
        "created": created,
        "model": call.model.version,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None if refused else completion.text,
                    "refusal": completion.refusal,
                },
                "logprobs": None,
                "finish_reason": completion.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": completion.input_tokens,
            "completion_tokens": completion.output_tokens,
            "total_tokens": completion.input_tokens + completion.output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "system_fingerprint": None,
    }
    return json.dumps(envelope, ensure_ascii=False).encode("utf-8", "replace")


def dump_error(status: int, code: str, message: str) -> bytes:
    """Write an error as OpenAI publishes it."""
    kind = "server_error" if status >= 500 else "requests" if status == 429 else "invalid_request_error"
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def _read_messages(messages: Any) -> tuple[str, str, int]:
    """Return the system message, the last user message and the length of all."""
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise CallError(400, "invalid_messages", "`messages` must be a list of messages.")
    texts = [(str(each.get("role")), _read_content(each.get("content"))) for each in messages]
    system = next((text for role, text in texts if role in ("system", "developer")), "")
    users = [text for role, text in texts if role == "user"]
    if not users:
        raise CallError(400, "invalid_messages", "There is no user message.")
    return system, users[-1], sum(len(text) for _, text in texts)


def _read_content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    raise CallError(400, "invalid_messages", "A message has no text.")


def _find_model(name: Any, catalogue: Mapping[str, Model]) -> Model:
    model = catalogue.get(name.lower()) if isinstance(name, str) else None
    if model is None:
        raise CallError(404, "model_not_found", f"The model `{name}` does not exist or you do not have access to it.")
    return model


def _read_limit(request: dict[str, Any]) -> int | None:
    limit = _read_int(request, "max_completion_tokens") or _read_int(request, "max_tokens")
    if limit is not None and limit < 1:
        raise CallError(400, "invalid_value", "The token limit must be at least 1.")
    return limit


def _read_int(request: dict[str, Any], name: str) -> int | None:
    value = request.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise CallError(400, "invalid_type", f"`{name}` must be an integer.")
    return value


def _spoil(call: Call, kind: FaultKind) -> str:
    return _BROKEN[call.task.kind] if kind is FaultKind.MALFORMED else ""
