"""Anthropic's messages dialect."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretStr

from orchestratex.domain.base import Effort, FinishReason
from orchestratex.domain.capabilities import Parameter, SchemaForm, Thinking, takes_temperature
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import ProviderNotFoundError
from orchestratex.providers.base import CompletionRequest, Entry
from orchestratex.providers.drafts import Draft, find_word, thinks, thought_budget
from orchestratex.providers.http import HttpClient, Reply
from orchestratex.providers.problems import part_error
from orchestratex.providers.reading import (
    Billed,
    believe,
    count_or_zero,
    is_count,
    join_parts,
    make_usage,
    name_or_none,
    read_reason,
    unless_refused,
)
from orchestratex.providers.stating import read_anthropic

_VERSION = "2023-06-01"
_TOOL = "reply"
_FINISH_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.STOP,  # the only tool is the one that holds the reply
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "refusal": FinishReason.REFUSAL,
    "content_filter": FinishReason.REFUSAL,
    "guardrail_intervened": FinishReason.REFUSAL,
}
_TEXT_TYPES: Final[frozenset[str | None]] = frozenset({"text"})
_HIGHEST_TEMPERATURE = 1.0
_LEAST_BUDGET: Final = 1024  # tokens to think with, where a model wants to be told


class AnthropicProvider:
    """An endpoint at `base_url` (what stands before /v1) that speaks messages."""

    def __init__(self, http: HttpClient, *, base_url: str, api_key: SecretStr) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/").removesuffix("/v1")
        self._api_key = api_key

    def complete(self, request: CompletionRequest) -> Completion:
        """See Provider. The dialect has no seed: equal requests are answered anew."""
        headers = {**self._headers(), "Idempotency-Key": request.idempotency_key}
        started = time.perf_counter()
        reply = _draft(request).send(self._http, request.model_name, f"{self._base_url}/v1/messages", headers)
        return _parse(request, reply, latency_ms=(time.perf_counter() - started) * 1000)

    def probe(self, profile: Profile) -> bool:
        """See Provider."""
        return self.look_up(profile) is not None

    def look_up(self, profile: Profile) -> Entry | None:
        """See Provider: a model's entry costs nothing, and knows aliases that the list leaves out."""
        url = f"{self._base_url}/v1/models/{quote(profile.model_version, safe='')}"
        try:
            entry = self._http.get_json(profile.model_name, url, self._headers())
        except ProviderNotFoundError:
            return None
        return Entry(capabilities=read_anthropic(entry)) if "id" in entry else None

    def _headers(self) -> dict[str, str]:
        return {"x-api-key": self._api_key.get_secret_value(), "anthropic-version": _VERSION}


def _draft(request: CompletionRequest) -> Draft:
    draft = Draft(
        {
            "model": request.model_version,
            "system": request.system,
            "messages": [{"role": "user", "content": request.user}],
            "max_tokens": request.max_tokens,
        }
    )
    if takes_temperature(request.capabilities, request.effort):
        draft.put(Parameter.TEMPERATURE, {"temperature": min(request.temperature, _HIGHEST_TEMPERATURE)})
    if request.json_schema is not None:
        _put_schema(draft, request.json_schema, request)
    _put_effort(draft, request)
    return draft


def _put_schema(draft: Draft, schema: dict[str, Any], request: CompletionRequest) -> None:
    """In the field for it, or as a tool that must be used; none where the model would refuse the tool."""
    if request.capabilities.schema_form is not SchemaForm.TOOL:
        names = ("output_config.format", "output_config", "output_format", "structured output", "structured outputs")
        into = draft.body.setdefault("output_config", {})
        fields: dict[str, Any] = {"format": {"type": "json_schema", "schema": schema}}
        draft.put(Parameter.SCHEMA, fields, *names, value=SchemaForm.FORMAT, into=into)
    elif not thinks(request):
        tool = {"name": _TOOL, "description": "Give your reply.", "input_schema": schema}
        fields = {"tools": [tool], "tool_choice": {"type": "tool", "name": _TOOL}}
        draft.put(Parameter.SCHEMA, fields, "tool use", "tool", "input_schema", value=SchemaForm.TOOL)


def _put_effort(draft: Draft, request: CompletionRequest) -> None:
    """In a word; in tokens to think with, for older models; none by a type of thinking that is none."""
    word, effort = find_word(request.capabilities, request.effort), request.effort
    if word is None:
        return
    if effort is Effort.NONE:
        kind = "disabled" if word == Effort.NONE.value else word  # the level's own name says nothing of the type
        names = (f"thinking.type.{kind}", "thinking.type", f"{kind}")
        draft.put(Parameter.EFFORT, {"thinking": {"type": kind}}, *names, value=effort)
    elif isinstance(word, int):
        budget = thought_budget(request.max_tokens, word)
        if budget >= _LEAST_BUDGET:
            thinking = {"type": "enabled", "budget_tokens": budget}
            draft.put(Parameter.EFFORT, {"thinking": thinking}, "thinking.type", "thinking.type.enabled")
    else:
        into = draft.body.setdefault("output_config", {})
        draft.put(Parameter.EFFORT, {"effort": word}, "output_config.effort", "output_config", value=effort, into=into)
        if request.capabilities.thinking is Thinking.ON_REQUEST:
            draft.put(Parameter.EFFORT, {"thinking": {"type": "adaptive"}}, "adaptive thinking", "thinking.type")


def _parse(request: CompletionRequest, reply: Reply, *, latency_ms: float) -> Completion:
    model, body = request.model_name, reply.body
    content = _find_blocks(body)
    blocks = [block for block in content or () if isinstance(block, dict)]
    text = _read_reply(blocks) if request.json_schema is not None else _read_text(blocks)
    reason = _FINISH_REASONS.get(read_reason(body.get("stop_reason")), FinishReason.OTHER)
    billed = Billed(
        usage=believe(_parse_usage(body.get("usage")), request, text or "", reason),
        cost_usd=None,
        latency_ms=latency_ms,
        request_id=reply.request_id or name_or_none(body.get("id")),
        model_version=name_or_none(body.get("model")),
        is_simulated=reply.is_simulated,
    )
    failed = next((block for block in blocks if block.get("type") == "error"), None)
    if failed is not None:
        raise part_error(model, failed.get("error", failed))
    if content is None or len(blocks) < len(content) or text is None:
        raise billed.malformed(model, "the answer has no content in blocks of text")
    return unless_refused(model, billed.completion(text, reason))


def _find_blocks(body: Mapping[str, Any]) -> list[Any] | None:
    """The content in blocks, without those that are null; None where there is none and no reason why."""
    content = body.get("content")
    if isinstance(content, list):
        return [block for block in content if block is not None]
    if not isinstance(content, str | None) or not isinstance(body.get("stop_reason"), str):
        return None
    return [{"type": "text", "text": content}] if content else []


def _read_text(blocks: list[dict[str, Any]]) -> str | None:
    """The text alone: a model's thinking is no part of its answer."""
    return join_parts(blocks, text_types=_TEXT_TYPES) if blocks else ""


def _read_reply(blocks: list[dict[str, Any]]) -> str | None:
    """The forced tool's input as JSON; a text where the model gave one instead."""
    inputs = [block["input"] for block in blocks if block.get("type") == "tool_use" and block.get("input") is not None]
    try:
        if inputs and isinstance(inputs[0], str):
            return inputs[0]
        return json.dumps(inputs[0], ensure_ascii=False) if inputs else _read_text(blocks)
    except RecursionError:
        return None


def _parse_usage(usage: Any) -> Usage | None:
    """Usage with the cache in the input: Anthropic counts what it read and wrote there beside it."""
    if not isinstance(usage, dict):
        return None
    given, generated = usage.get("input_tokens"), usage.get("output_tokens")
    if not is_count(given) or not is_count(generated):
        return None
    read, written = (count_or_zero(usage.get(f"cache_{name}_input_tokens")) for name in ("read", "creation"))
    return make_usage(
        input_tokens=given + read + written,
        output_tokens=generated,
        cached_tokens=read,
        cache_write_tokens=written,
    )
