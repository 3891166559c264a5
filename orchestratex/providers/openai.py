"""The OpenAI chat-completions dialect, which most providers and self-hosted servers speak."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from orchestratex.domain.base import FinishReason
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import MalformedCompletionError
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.http import HttpClient, Reply, whole_text
from orchestratex.providers.reading import (
    count_or_zero,
    dollars_or_none,
    is_count,
    make_usage,
    text_or_none,
    unless_refused,
)

_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.REFUSAL,
}
# OpenAI's families that reason: they name the token limit anew and refuse a temperature. A vendor may stand before it.
_REASONING_FAMILY = re.compile(r"(?:[\w.-]+/)?(?:o[1-9]\d*|gpt-(?:[5-9]|[1-9]\d))(?![a-z0-9])", re.IGNORECASE)
_SEED_NAMES = {"api.mistral.ai": "random_seed"}  # by host; Mistral refuses names that it does not know


class OpenAIProvider:
    """An endpoint at `base_url` (…/v1) that speaks chat completions."""

    def __init__(self, http: HttpClient, *, base_url: str, api_key: SecretStr) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._seed_name = _SEED_NAMES.get(urlsplit(base_url).hostname or "", "seed")

    def complete(self, request: CompletionRequest) -> Completion:
        """See Provider."""
        headers = {**self._headers(), "Idempotency-Key": request.idempotency_key}
        started = time.perf_counter()
        reply = self._http.post(request.model_name, f"{self._base_url}/chat/completions", self._body(request), headers)
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

    def _body(self, request: CompletionRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model_version,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
            self._seed_name: request.seed,
        }
        if _REASONING_FAMILY.match(request.model_version):
            body["max_completion_tokens"] = request.max_tokens
        else:
            body |= {"max_tokens": request.max_tokens, "temperature": request.temperature}
        if request.json_schema is not None:
            wanted = {"name": "reply", "strict": True, "schema": request.json_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        return body


def _parse(model: str, reply: Reply, *, latency_ms: float) -> Completion:
    body = reply.body
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content") or "", message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise MalformedCompletionError(model, "the answer has no choices[0].message") from error
    if not isinstance(text, str):
        raise MalformedCompletionError(model, "the answer's content is not a text")
    finish_reason = _FINISH_REASONS.get(str(choice.get("finish_reason")), FinishReason.OTHER)
    completion = Completion(
        text=whole_text(text),
        finish_reason=FinishReason.REFUSAL if refusal and not text else finish_reason,
        usage=_parse_usage(body.get("usage")),
        cost_usd=_parse_cost(body.get("usage")),
        latency_ms=latency_ms,
        request_id=reply.request_id or text_or_none(body.get("id")),
        model_version=text_or_none(body.get("model")),
    )
    return unless_refused(model, completion, why=str(refusal or ""))


def _parse_usage(usage: Any) -> Usage | None:
    """Usage where the provider states both numbers; anything else counts as not stated.

    xAI counts reasoning beside the completion, the others inside of it: its total tells.
    """
    if not isinstance(usage, dict):
        return None
    given, generated = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not is_count(given) or not is_count(generated):
        return None
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    is_beside = reasoning > generated or usage.get("total_tokens") == given + generated + reasoning
    return make_usage(
        input_tokens=given,
        output_tokens=generated + reasoning if is_beside else generated,
        cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=reasoning,
    )


def _parse_cost(usage: Any) -> float | None:
    """What OpenRouter charged. With a key of one's own at the vendor, the vendor's bill comes on top of its fee."""
    cost = dollars_or_none(usage.get("cost")) if isinstance(usage, dict) else None
    if cost is None or not usage.get("is_byok"):
        return cost
    details = usage.get("cost_details")
    upstream = dollars_or_none(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
    return None if upstream is None else cost + upstream


def _detail(usage: dict[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return count_or_zero(details.get(name)) if isinstance(details, dict) else 0
