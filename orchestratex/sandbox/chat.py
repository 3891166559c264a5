"""OpenAI's chat-completions dialect: a request read, a completion written."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

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
from orchestratex.sandbox.manners import check_chat
from orchestratex.sandbox.models import Model
from orchestratex.sandbox.tasks import read_task


class Chat:
    """Chat completions as OpenAI publishes them."""

    overloaded = 500

    def check_key(self, headers: Mapping[bytes, str]) -> None:
        """See Dialect."""
        scheme, _, key = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise CallError(401, "invalid_api_key", "You didn't provide an API key.")

    def read_call(self, body: bytes, catalogue: Mapping[str, Model], *, model: str, ordinal: int) -> Call:  # noqa: ARG002
        """See Dialect: the body names the model, and may hold a seed."""
        request = read_object(body)
        if request.get("stream"):
            raise CallError(400, "unsupported_value", "The sandbox does not stream.")
        system, user, chars = _read_messages(request.get("messages"))
        schema = _read_schema(request.get("response_format"))
        asked = find_model(request.get("model"), catalogue)
        return Call(
            model=asked,
            thoughts=check_chat(asked.manners, asked.version, request),
            task=read_task(system, user),
            ordinal=read_int(request, "seed") or read_int(request, "random_seed") or 0,
            max_tokens=read_limit(request, "max_completion_tokens", "max_tokens"),
            input_chars=chars + count_chars(schema),
            json_schema=schema,
        )

    def dump_completion(self, call: Call, completion: Completion, *, number: int) -> bytes:
        """See Dialect."""
        refused = completion.refusal is not None
        envelope = {
            "id": f"chatcmpl-{call.prompt_sha}{number:08x}",
            "object": "chat.completion",
            "created": int(time.time()),
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
                "completion_tokens_details": {"reasoning_tokens": completion.reasoning_tokens},
            },
            "system_fingerprint": None,
        }
        return json.dumps(envelope, ensure_ascii=False).encode("utf-8", "replace")

    def dump_error(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after_s: float | None = None,  # noqa: ARG002
        param: str | None = None,
    ) -> bytes:
        """See Dialect."""
        kind = "server_error" if status >= 500 else "requests" if status == 429 else "invalid_request_error"
        return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()

    def headers(self, number: int) -> list[tuple[str, str]]:
        """See Dialect."""
        return [("x-request-id", f"req_{number:032x}"), ("openai-version", "2020-10-01")]

    def retry_headers(self, seconds: float) -> list[tuple[str, str]]:
        """See Dialect."""
        return [("retry-after", str(math.ceil(seconds))), ("retry-after-ms", str(round(seconds * 1000)))]


def _read_messages(messages: Any) -> tuple[str, str, int]:
    """Return the system message, the last user message and the length of all."""
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise CallError(400, "invalid_messages", "`messages` must be a list of messages.")
    texts = [(str(each.get("role")), read_text(each.get("content"))) for each in messages]
    system = next((text for role, text in texts if role in ("system", "developer")), "")
    users = [text for role, text in texts if role == "user"]
    if not users:
        raise CallError(400, "invalid_messages", "There is no user message.")
    return system, users[-1], sum(len(text) for _, text in texts)


def _read_schema(wanted: Any) -> Mapping[str, Any] | None:
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return None
    named = wanted.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise CallError(400, "invalid_value", "`response_format.json_schema.schema` must be an object.")
    return schema
