"""Google's generateContent dialect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretStr

from orchestratex.domain.base import FinishReason
from orchestratex.domain.capabilities import Parameter, takes_temperature
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import ProviderNotFoundError
from orchestratex.providers.base import CompletionRequest, Entry
from orchestratex.providers.drafts import Draft, find_word, thought_budget
from orchestratex.providers.http import HttpClient, Reply
from orchestratex.providers.problems import is_error, part_error
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
from orchestratex.providers.stating import read_google

_FINISH_REASONS: Final = {
    "stop": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    **dict.fromkeys(
        ("safety", "recitation", "blocklist", "prohibited_content", "spii", "image_safety", "model_armor"),
        FinishReason.REFUSAL,
    ),
}
_TEXT_TYPES: Final[frozenset[str | None]] = frozenset({None, "text"})
_SEED_MASK = 0x7FFFFFFF  # seeds have 32 bits and a sign
_KEPT = ("description", "enum", "minimum", "maximum", "maxItems")


class GoogleProvider:
    """An endpoint at `base_url` (what stands before /v1beta) that speaks generateContent."""

    def __init__(self, http: HttpClient, *, base_url: str, api_key: SecretStr) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/").removesuffix("/v1beta")
        self._api_key = api_key

    def complete(self, request: CompletionRequest) -> Completion:
        """See Provider."""
        headers = {**self._headers(), "Idempotency-Key": request.idempotency_key}
        url = f"{self._model_url(request.model_version)}:generateContent"
        started = time.perf_counter()
        reply = _draft(request).send(self._http, request.model_name, url, headers)
        return _parse(request, reply, latency_ms=(time.perf_counter() - started) * 1000)

    def probe(self, profile: Profile) -> bool:
        """See Provider."""
        return self.look_up(profile) is not None

    def look_up(self, profile: Profile) -> Entry | None:
        """See Provider: a model's entry costs nothing, and knows aliases that the list leaves out."""
        try:
            entry = self._http.get_json(profile.model_name, self._model_url(profile.model_version), self._headers())
        except ProviderNotFoundError:
            return None
        return Entry(capabilities=read_google(entry)) if "name" in entry else None

    def _model_url(self, version: str) -> str:
        return f"{self._base_url}/v1beta/models/{quote(version.removeprefix('models/'), safe='')}"

    def _headers(self) -> dict[str, str]:
        """The key travels as a header: in the address it would be in every log on the way."""
        return {"x-goog-api-key": self._api_key.get_secret_value()}


def to_response_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema in the subset that Google reads: types in capitals, the order of properties said aloud."""
    converted: dict[str, Any] = {name: schema[name] for name in _KEPT if name in schema}
    converted["type"] = str(schema["type"]).upper()
    if "items" in schema:
        converted["items"] = to_response_schema(schema["items"])
    if "properties" in schema:
        converted["properties"] = {name: to_response_schema(value) for name, value in schema["properties"].items()}
        converted["propertyOrdering"] = list(schema["properties"])
        converted["required"] = list(schema.get("required", ()))
    return converted


def _draft(request: CompletionRequest) -> Draft:
    generation: dict[str, Any] = {"maxOutputTokens": request.max_tokens}
    draft = Draft(
        {
            "systemInstruction": {"parts": [{"text": request.system}]},
            "contents": [{"role": "user", "parts": [{"text": request.user}]}],
            "generationConfig": generation,
        }
    )
    if takes_temperature(request.capabilities, request.effort):
        draft.put(Parameter.TEMPERATURE, {"temperature": request.temperature}, into=generation)
    if request.capabilities.seed is not False:
        draft.put(Parameter.SEED, {"seed": request.seed & _SEED_MASK}, into=generation)
    if request.json_schema is not None:
        fields = {
            "responseMimeType": "application/json",
            "responseSchema": to_response_schema(request.json_schema),
        }
        names = ("response_mime_type", "response_schema", "json mode", "structured output", "structured outputs")
        draft.put(Parameter.SCHEMA, fields, *names, into=generation)
    word = find_word(request.capabilities, request.effort)
    if word is not None:
        names = ("thinking_config", "thinkinglevel", "thinking_level", "thinking level", "thinking")
        config = {"thinkingConfig": _say_effort(word, request.max_tokens)}
        more = ("thinkingbudget", "thinking_budget", "thinking budget", "budget")
        draft.put(Parameter.EFFORT, config, *names, *more, value=request.effort, into=generation)
    return draft


def _say_effort(word: bool | int | str, max_tokens: int) -> dict[str, Any]:
    """A level, or for models before Gemini 3 tokens to think with: 0 is none."""
    if isinstance(word, str):
        return {"thinkingLevel": word}
    return {"thinkingBudget": thought_budget(max_tokens, int(word))}


def _parse(request: CompletionRequest, reply: Reply, *, latency_ms: float) -> Completion:
    model, body = request.model_name, reply.body
    blocked = _block_reason(body)
    candidate = {} if blocked else _find_candidate(body)
    text = None if candidate is None else _read_text(candidate)
    word = "" if candidate is None else read_reason(candidate.get("finishReason"))
    reason = FinishReason.REFUSAL if blocked else _FINISH_REASONS.get(word, FinishReason.OTHER)
    billed = Billed(
        usage=believe(_parse_usage(body.get("usageMetadata"), has_text=bool(text)), request, text or "", reason),
        cost_usd=None,
        latency_ms=latency_ms,
        request_id=reply.request_id or name_or_none(body.get("responseId")),
        model_version=name_or_none(body.get("modelVersion")),
        is_simulated=reply.is_simulated,
    )
    if candidate is not None and is_error(candidate.get("error")):
        raise part_error(model, candidate["error"])
    if text is None:
        raise billed.malformed(model, "the answer has no candidates[0].content.parts with texts")
    return unless_refused(model, billed.completion(text, reason), why=blocked or word.upper())


def _find_candidate(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    candidates = body.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else None
    return first if isinstance(first, dict) else None


def _read_text(candidate: Mapping[str, Any]) -> str | None:
    """The text of the parts that are no thoughts, None where there are parts and they cannot be read."""
    content = candidate.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    parts = content.get("parts") if isinstance(content, dict) else 0
    if parts is None or parts == []:
        return ""
    parts = [part for part in parts if part is not None] if isinstance(parts, list) else parts
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return None
    said = [part for part in parts if not part.get("thought") and ("text" in part or len(part) == 0)]
    return join_parts(said, text_types=_TEXT_TYPES) if said else ""


def _block_reason(body: Mapping[str, Any]) -> str | None:
    """Why the prompt was not answered at all, None where it was."""
    feedback = body.get("promptFeedback")
    reason = name_or_none(feedback.get("blockReason")) if isinstance(feedback, dict) else None
    return None if reason is None or reason == "BLOCK_REASON_UNSPECIFIED" else reason


def _parse_usage(usage: Any, *, has_text: bool) -> Usage | None:
    """Usage with the thoughts in the output: Google counts them beside the candidates, and leaves zeros out."""
    if not isinstance(usage, dict):
        return None
    given, generated = usage.get("promptTokenCount"), usage.get("candidatesTokenCount", None if has_text else 0)
    if not is_count(given) or not is_count(generated):
        return None
    thoughts = count_or_zero(usage.get("thoughtsTokenCount"))
    given += count_or_zero(usage.get("toolUsePromptTokenCount"))
    total = usage.get("totalTokenCount")
    if is_count(total) and 0 < total < given + generated:
        return None
    is_inside = thoughts > 0 and total == given + generated  # of gateways that count as others do
    return make_usage(
        input_tokens=given,
        output_tokens=generated if is_inside else generated + thoughts,
        cached_tokens=count_or_zero(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )
