"""Google's generateContent dialect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from orchestratex.domain.base import FinishReason
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import MalformedCompletionError, ProviderNotFoundError
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.http import HttpClient, Reply, whole_text
from orchestratex.providers.reading import count_or_zero, is_count, make_usage, text_or_none, unless_refused

_FINISH_REASONS = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.REFUSAL,
    "RECITATION": FinishReason.REFUSAL,
    "BLOCKLIST": FinishReason.REFUSAL,
    "PROHIBITED_CONTENT": FinishReason.REFUSAL,
    "SPII": FinishReason.REFUSAL,
}
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
        reply = self._http.post(request.model_name, url, _body(request), headers)
        return _parse(request.model_name, reply, latency_ms=(time.perf_counter() - started) * 1000)

    def probe(self, profile: Profile) -> bool:
        """See Provider: a model's entry costs nothing, and knows aliases that the list leaves out."""
        try:
            entry = self._http.get_json(profile.model_name, self._model_url(profile.model_version), self._headers())
        except ProviderNotFoundError:
            return False
        return "name" in entry

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


def _body(request: CompletionRequest) -> dict[str, Any]:
    generation: dict[str, Any] = {
        "maxOutputTokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed & _SEED_MASK,
    }
    if request.json_schema is not None:
        generation["responseMimeType"] = "application/json"
        generation["responseSchema"] = to_response_schema(request.json_schema)
    return {
        "systemInstruction": {"parts": [{"text": request.system}]},
        "contents": [{"role": "user", "parts": [{"text": request.user}]}],
        "generationConfig": generation,
    }


def _parse(model: str, reply: Reply, *, latency_ms: float) -> Completion:
    body = reply.body
    blocked = _block_reason(body)
    try:
        candidate = {} if blocked else body["candidates"][0]
        parts = (candidate.get("content") or {}).get("parts") or []
        text = "".join(str(part.get("text", "")) for part in parts if not part.get("thought"))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise MalformedCompletionError(model, "the answer has no candidates[0].content.parts") from error
    reason = str(candidate.get("finishReason"))
    completion = Completion(
        text=whole_text(text),
        finish_reason=FinishReason.REFUSAL if blocked else _FINISH_REASONS.get(reason, FinishReason.OTHER),
        usage=_parse_usage(body.get("usageMetadata"), has_text=bool(text)),
        latency_ms=latency_ms,
        request_id=reply.request_id or text_or_none(body.get("responseId")),
        model_version=text_or_none(body.get("modelVersion")),
    )
    return unless_refused(model, completion, why=blocked or reason)


def _block_reason(body: Mapping[str, Any]) -> str | None:
    """Why the prompt was not answered at all, None where it was."""
    feedback = body.get("promptFeedback")
    return str(feedback["blockReason"]) if isinstance(feedback, dict) and feedback.get("blockReason") else None


def _parse_usage(usage: Any, *, has_text: bool) -> Usage | None:
    """Usage with the thoughts in the output: Google counts them beside the candidates, and leaves zeros out."""
    if not isinstance(usage, dict):
        return None
    given, generated = usage.get("promptTokenCount"), usage.get("candidatesTokenCount", None if has_text else 0)
    if not is_count(given) or not is_count(generated):
        return None
    thoughts = count_or_zero(usage.get("thoughtsTokenCount"))
    return make_usage(
        input_tokens=given + count_or_zero(usage.get("toolUsePromptTokenCount")),
        output_tokens=generated + thoughts,
        cached_tokens=count_or_zero(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )
