"""Anthropic's messages dialect: a request read, a message written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from orchestratex.sandbox.calls import (
    Call,
    Completion,
    count_chars,
    find_model,
    read_limit,
    read_object,
    read_text,
)
from orchestratex.sandbox.errors import CallError
from orchestratex.sandbox.manners import check_messages
from orchestratex.sandbox.models import Model
from orchestratex.sandbox.tasks import read_task

_ERROR_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Messages:
    """Messages as Anthropic publishes them."""

    overloaded = 529

    def check_key(self, headers: Mapping[bytes, str]) -> None:
        """See Dialect."""
        if not headers.get(b"x-api-key", "").strip():
            raise CallError(401, "authentication_error", "x-api-key header is required")
        if not headers.get(b"anthropic-version", "").strip():
            raise CallError(400, "invalid_request_error", "anthropic-version: header is required")

    def read_call(self, body: bytes, catalogue: Mapping[str, Model], *, model: str, ordinal: int) -> Call:  # noqa: ARG002
        """See Dialect: the body names the model; there is no seed."""
        request = read_object(body)
        if request.get("stream"):
            raise CallError(400, "invalid_request_error", "The sandbox does not stream.")
        limit = read_limit(request, "max_tokens")
        if limit is None:
            raise CallError(400, "invalid_request_error", "max_tokens: Field required")
        system = read_text(request.get("system", ""))
        user, chars = _read_messages(request.get("messages"))
        schema, tool = _read_schema(request)
        asked = find_model(request.get("model"), catalogue)
        return Call(
            model=asked,
            thoughts=check_messages(asked.manners, request),
            tool=tool,
            task=read_task(system, user),
            ordinal=ordinal,
            max_tokens=limit,
            input_chars=len(system) + chars + count_chars(schema),
            json_schema=schema,
        )

    def dump_completion(self, call: Call, completion: Completion, *, number: int) -> bytes:
        """See Dialect."""
        envelope = {
            "id": f"msg_{call.prompt_sha}{number:08x}",
            "type": "message",
            "role": "assistant",
            "model": call.model.version,
            "content": _write_content(call, completion, number),
            "stop_reason": _stop_reason(call, completion),
            "stop_sequence": None,
            "usage": {
                "input_tokens": completion.input_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": completion.output_tokens,
                "service_tier": "standard",
            },
        }
        return json.dumps(envelope, ensure_ascii=False).encode("utf-8", "replace")

    def dump_error(
        self,
        status: int,
        code: str,  # noqa: ARG002
        message: str,
        *,
        retry_after_s: float | None = None,  # noqa: ARG002
        param: str | None = None,  # noqa: ARG002
    ) -> bytes:
        """See Dialect."""
        kind = _ERROR_TYPES.get(status, "invalid_request_error")
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": None}).encode()

    def headers(self, number: int) -> list[tuple[str, str]]:
        """See Dialect."""
        return [("request-id", f"req_{number:024x}"), ("anthropic-organization-id", "sandbox")]

    def retry_headers(self, seconds: float) -> list[tuple[str, str]]:
        """See Dialect."""
        return [("retry-after", str(math.ceil(seconds))), ("x-should-retry", "true")]


def _read_messages(messages: Any) -> tuple[str, int]:
    """Return the last user message and the length of all."""
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise CallError(400, "invalid_request_error", "messages: Input should be a valid list")
    if any(each.get("role") not in ("user", "assistant") for each in messages):
        raise CallError(400, "invalid_request_error", "messages: roles are `user` and `assistant`")
    texts = [(each["role"], read_text(each.get("content"))) for each in messages]
    users = [text for role, text in texts if role == "user"]
    if not users:
        raise CallError(400, "invalid_request_error", "messages: at least one message is required")
    return users[-1], sum(len(text) for _, text in texts)


def _read_schema(request: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return the schema of the reply and the tool that it goes to, None where it is a text, or free."""
    config = request.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    if isinstance(wanted, dict):
        schema = wanted.get("schema")
        if wanted.get("type") != "json_schema" or not isinstance(schema, dict):
            raise CallError(400, "invalid_request_error", "output_config.format: Input should be a JSON schema")
        return schema, None
    choice = request.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return None, None
    tools = request.get("tools")
    for tool in tools if isinstance(tools, list) else []:
        if isinstance(tool, dict) and tool.get("name") == choice.get("name"):
            schema = tool.get("input_schema")
            if isinstance(schema, dict):
                return schema, str(tool["name"])
    raise CallError(400, "invalid_request_error", "tool_choice: the tool is not among `tools`")


def _write_content(call: Call, completion: Completion, number: int) -> list[dict[str, Any]]:
    thought = {"type": "thinking", "thinking": "", "signature": f"{number:x}"}  # its text is left out, as they do it
    thoughts = [thought] if completion.reasoning_tokens and call.thoughts else []
    if completion.refusal is not None or not completion.text:
        return thoughts
    if call.tool is None:
        return [*thoughts, {"type": "text", "text": completion.text}]
    used = {"id": f"toolu_{number:024x}", "name": call.tool, "input": _to_input(completion.text)}
    return [*thoughts, {"type": "tool_use", **used}]


def _to_input(text: str) -> dict[str, Any]:
    """A tool's input is an object, whatever went wrong: what is cut off or broken fits no schema."""
    try:
        value = json.loads(text)
    except ValueError:
        return {"$PARAMETER_NAME": text}
    return value if isinstance(value, dict) else {"$PARAMETER_NAME": value}


def _stop_reason(call: Call, completion: Completion) -> str:
    if completion.refusal is not None or completion.finish_reason == "content_filter":
        return "refusal"
    if completion.finish_reason == "length":
        return "max_tokens"
    return "tool_use" if call.tool is not None else "end_turn"
