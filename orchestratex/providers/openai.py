"""The OpenAI chat-completions dialect, which most providers and self-hosted servers speak."""

from __future__ import annotations

import time
from typing import Any

from pydantic import SecretStr

from orchestratex.domain.base import FinishReason
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import ContentRefusedError, MalformedCompletionError
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.http import HttpClient, whole_text

_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.REFUSAL,
}
_MOST_TOKENS = 10**9  # no call has more: a number beyond it is nonsense, and MongoDB keeps 64 bits


class OpenAIProvider:
    """An endpoint at `base_url` (…/v1) that speaks chat completions."""

    def __init__(self, http: HttpClient, *, base_url: str, api_key: SecretStr) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key

    def complete(self, request: CompletionRequest) -> Completion:
        """See Provider."""
        body = {
            "model": request.model_version,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        headers = {**self._headers(), "Idempotency-Key": request.idempotency_key}
        started = time.perf_counter()
        reply = self._http.post_json(request.model_name, f"{self._base_url}/chat/completions", body, headers)
        return _parse(request.model_name, reply, latency_ms=(time.perf_counter() - started) * 1000)

    def probe(self, profile: Profile) -> bool:
        """See Provider: the list of models costs nothing."""
        reply = self._http.get_json(profile.model_name, f"{self._base_url}/models", self._headers())
        listed = reply.get("data")
        if not isinstance(listed, list):
            raise MalformedCompletionError(profile.model_name, "the list of models has no data")
        return any(isinstance(row, dict) and row.get("id") == profile.model_version for row in listed)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._api_key.get_secret_value()}"}


def _parse(model: str, reply: dict[str, Any], *, latency_ms: float) -> Completion:
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise MalformedCompletionError(model, "the answer has no choices[0].message") from error
    if not text and message.get("refusal"):
        raise ContentRefusedError(model, f"refused: {whole_text(str(message['refusal']))[:200]}")
    if not isinstance(text, str):
        raise MalformedCompletionError(model, "the answer's content is not a text")
    return Completion(
        text=whole_text(text),
        finish_reason=_FINISH_REASONS.get(str(choice.get("finish_reason")), FinishReason.OTHER),
        usage=_parse_usage(reply.get("usage")),
        latency_ms=latency_ms,
        request_id=_text_or_none(reply.get("id")),
        model_version=_text_or_none(reply.get("model")),
    )


def _parse_usage(usage: Any) -> Usage | None:
    """Usage where the provider states both numbers; anything else counts as not stated."""
    if not isinstance(usage, dict):
        return None
    given, generated = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not _is_count(given) or not _is_count(generated):
        return None
    return Usage(
        input_tokens=given,
        output_tokens=generated,
        total_tokens=given + generated,
        cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=_detail(usage, "completion_tokens_details", "reasoning_tokens"),
    )


def _detail(usage: dict[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    value = details.get(name) if isinstance(details, dict) else None
    return int(value) if _is_count(value) else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS


def _text_or_none(value: Any) -> str | None:
    return whole_text(value) if isinstance(value, str) else None
