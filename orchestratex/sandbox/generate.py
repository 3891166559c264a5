"""Google's generateContent dialect: a request read, candidates written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from orchestratex.sandbox.calls import (
    Call,
    Completion,
    count_chars,
    find_model,
    read_int,
    read_limit,
    read_object,
    read_text,
)
from orchestratex.sandbox.errors import CallError
from orchestratex.sandbox.manners import check_generate
from orchestratex.sandbox.models import Model
from orchestratex.sandbox.tasks import read_task

_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_FINISH_REASONS: Final = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


class Generate:
    """generateContent as Google publishes it."""

    overloaded = 503

    def check_key(self, headers: Mapping[bytes, str]) -> None:
        """See Dialect."""
        if not headers.get(b"x-goog-api-key", "").strip():
            message = (
                "Method doesn't allow unregistered callers. Please use API Key or other form of API consumer identity."
            )
            raise CallError(403, "permission_denied", message)

    def read_call(self, body: bytes, catalogue: Mapping[str, Model], *, model: str, ordinal: int) -> Call:  # noqa: ARG002
        """See Dialect: the path names the model; the seed is in the generation's configuration."""
        request = read_object(body)
        generation = request.get("generationConfig", {})
        if not isinstance(generation, dict):
            raise CallError(400, "invalid_argument", "generationConfig is not an object")
        system = _read_content(request["systemInstruction"]) if "systemInstruction" in request else ""
        user, chars = _read_contents(request.get("contents"))
        schema = _read_schema(generation)
        asked = find_model(model, catalogue)
        return Call(
            model=asked,
            thoughts=check_generate(asked.manners, generation),
            task=read_task(system, user),
            ordinal=read_int(generation, "seed") or 0,
            max_tokens=read_limit(generation, "maxOutputTokens"),
            input_chars=len(system) + chars + count_chars(schema),
            json_schema=schema,
        )

    def dump_completion(self, call: Call, completion: Completion, *, number: int) -> bytes:
        """See Dialect."""
        candidate: dict[str, Any] = {"finishReason": _FINISH_REASONS[completion.finish_reason], "index": 0}
        if completion.refusal is not None:
            candidate["finishReason"] = "SAFETY"
        else:
            candidate["content"] = {"parts": [{"text": completion.text}], "role": "model"}
        envelope = {
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": completion.input_tokens,
                "candidatesTokenCount": completion.output_tokens - completion.reasoning_tokens,
                **({"thoughtsTokenCount": completion.reasoning_tokens} if completion.reasoning_tokens else {}),
                "totalTokenCount": completion.input_tokens + completion.output_tokens,
            },
            "modelVersion": call.model.version,
            "responseId": f"{call.prompt_sha}{number:08x}",
        }
        return json.dumps(envelope, ensure_ascii=False).encode("utf-8", "replace")

    def dump_error(
        self,
        status: int,
        code: str,  # noqa: ARG002
        message: str,
        *,
        retry_after_s: float | None = None,
        param: str | None = None,  # noqa: ARG002
    ) -> bytes:
        """See Dialect: the time to wait is in the body, not in a header."""
        error: dict[str, Any] = {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}
        if retry_after_s is not None:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": kind, "retryDelay": f"{retry_after_s:g}s"}]
        return json.dumps({"error": error}).encode()

    def headers(self, number: int) -> list[tuple[str, str]]:  # noqa: ARG002
        """See Dialect: Google names its answers in the body."""
        return [("server-timing", "gfet4t7; dur=1"), ("x-content-type-options", "nosniff")]

    def retry_headers(self, seconds: float) -> list[tuple[str, str]]:  # noqa: ARG002
        """See Dialect."""
        return []


def _read_contents(contents: Any) -> tuple[str, int]:
    """Return the last user content and the length of all."""
    if not isinstance(contents, list) or not contents or not all(isinstance(each, dict) for each in contents):
        raise CallError(400, "invalid_argument", "contents is not specified")
    texts = [(each.get("role", "user"), _read_content(each)) for each in contents]
    users = [text for role, text in texts if role == "user"]
    if not users:
        raise CallError(400, "invalid_argument", "contents hold no user role")
    return users[-1], sum(len(text) for _, text in texts)


def _read_content(content: Any) -> str:
    return read_text(content.get("parts") if isinstance(content, dict) else None)


def _read_schema(generation: Mapping[str, Any]) -> Mapping[str, Any] | None:
    schema = generation.get("responseSchema")
    if schema is None:
        return None
    if not isinstance(schema, dict) or generation.get("responseMimeType") != "application/json":
        raise CallError(400, "invalid_argument", "responseSchema needs responseMimeType application/json")
    return schema
