"""The OpenAI chat-completions dialect, which most providers and self-hosted servers speak."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from orchestratex.domain.base import FinishReason
from orchestratex.domain.capabilities import LimitName, Parameter, takes_temperature
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import ProviderError
from orchestratex.providers.base import CompletionRequest, Entry
from orchestratex.providers.drafts import Draft, find_word, thinks, thought_budget
from orchestratex.providers.http import HttpClient, Reply
from orchestratex.providers.listing import find_row, find_rows
from orchestratex.providers.problems import is_error, part_error
from orchestratex.providers.reading import (
    Billed,
    believe,
    count_or_zero,
    dollars_or_none,
    is_count,
    join_parts,
    make_usage,
    name_or_none,
    read_reason,
    text_or_empty,
    unless_refused,
)
from orchestratex.providers.stating import read_row

_FINISH_REASONS: Final = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete"), FinishReason.STOP),
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "max_length", "model_length", "token_limit", "context_length"),
        FinishReason.LENGTH,
    ),
    **dict.fromkeys(
        ("max_completion_tokens", "max_new_tokens", "length_limit", "length_capped", "repetition_truncation"),
        FinishReason.LENGTH,
    ),
    **dict.fromkeys(
        ("error_limit", "context_length_exceeded", "context_window_exceeded", "model_context_window_exceeded"),
        FinishReason.LENGTH,
    ),
    **dict.fromkeys(
        ("content_filter", "content_filtered", "safety", "sensitive", "refusal", "recitation", "blocklist"),
        FinishReason.REFUSAL,
    ),
    **dict.fromkeys(
        ("prohibited_content", "spii", "guardrail_intervened", "moderation", "error_toxic"), FinishReason.REFUSAL
    ),
}
_FAILURES: Final = frozenset(  # "reasons" that are errors: what came before is no whole reply, and no limit ended it
    {"error", "network_error", "insufficient_system_resource", "abort", "aborted", "cancelled", "canceled", "timeout"}
    | {"overloaded", "engine_overloaded", "user_cancel"}
)
_TEXT_TYPES: Final[frozenset[str | None]] = frozenset({None, "text", "output_text"})
# By host: Mistral refuses names that it does not know, and OpenAI's newer name is taken by all that it serves.
_SEED_NAMES: Final = {"api.mistral.ai": "random_seed"}
_LIMIT_NAMES: Final = {"api.openai.com": LimitName.MAX_COMPLETION_TOKENS}
_NAME_IS_WRONG: Final = re.compile(
    r"max_completion_tokens|unsupported|extra[ _]|unrecogni|unknown|unexpected|not support"
)


class OpenAIProvider:
    """An endpoint at `base_url` (…/v1) that speaks chat completions."""

    def __init__(self, http: HttpClient, *, base_url: str, api_key: SecretStr) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        host = urlsplit(base_url).hostname or ""
        self._seed_name = _SEED_NAMES.get(host, "seed")
        self._limit_name = _LIMIT_NAMES.get(host, LimitName.MAX_TOKENS)

    def complete(self, request: CompletionRequest) -> Completion:
        """See Provider."""
        headers = {**self._headers(), "Idempotency-Key": request.idempotency_key}
        started = time.perf_counter()
        url = f"{self._base_url}/chat/completions"
        reply = self._draft(request).send(self._http, request.model_name, url, headers)
        return _parse(request, reply, latency_ms=(time.perf_counter() - started) * 1000)

    def probe(self, profile: Profile) -> bool:
        """See Provider."""
        return self.look_up(profile) is not None

    def look_up(self, profile: Profile) -> Entry | None:
        """See Provider: the list of models costs nothing."""
        listed = self._http.get_any(profile.model_name, f"{self._base_url}/models", self._headers())
        row = find_row(profile.model_version, find_rows(profile.model_name, listed))
        return None if row is None else Entry(capabilities=read_row(row))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._api_key.get_secret_value()}"}

    def _draft(self, request: CompletionRequest) -> Draft:
        taken = request.capabilities
        messages = [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}]
        draft = Draft({"model": request.model_version, "messages": messages})
        if taken.seed is not False:
            draft.put(Parameter.SEED, {self._seed_name: request.seed})
        if takes_temperature(taken, request.effort):
            draft.put(Parameter.TEMPERATURE, {"temperature": request.temperature})
        self._put_limit(draft, request)
        if request.json_schema is not None:
            wanted = {"name": "reply", "strict": True, "schema": request.json_schema}
            response_format = {"type": "json_schema", "json_schema": wanted}
            draft.put(Parameter.SCHEMA, {"response_format": response_format}, "json_schema")
        _put_effort(draft, request)
        return draft

    def _put_limit(self, draft: Draft, request: CompletionRequest) -> None:
        """The limit of output; a model whose thoughts it does not hold gets a part of it to think with."""
        name, text_tokens = request.capabilities.limit_name or self._limit_name, request.max_tokens
        if request.capabilities.limit_holds_thinking is False and thinks(request):
            draft.body["thinking_budget"] = thought_budget(request.max_tokens)
            text_tokens -= draft.body["thinking_budget"]
        draft.put(Parameter.LIMIT_NAME, {name.value: text_tokens}, value=name, only=_NAME_IS_WRONG)


def _put_effort(draft: Draft, request: CompletionRequest) -> None:
    """In a word, by a switch, or in tokens to think with: the last two are Qwen's."""
    word = find_word(request.capabilities, request.effort)
    if word is None:
        return
    fields: dict[str, Any] = {"reasoning_effort": word}
    if isinstance(word, bool):
        fields = {"enable_thinking": word}
    elif isinstance(word, int):
        budget = {"thinking_budget": thought_budget(request.max_tokens, word)} if word else {}
        fields = {"enable_thinking": word > 0, **budget}
    names = ("reasoningeffort", "reasoning.effort", "reasoning", "effort", "thinking")
    draft.put(Parameter.EFFORT, fields, *names, value=request.effort)


def _parse(request: CompletionRequest, reply: Reply, *, latency_ms: float) -> Completion:
    model, body = request.model_name, reply.body
    choice = _find_choice(body)
    message = _find_message(choice)
    text, refusal = _read_content(message, choice)
    reason = _read_reason(choice, has_refusal=refusal is not None and not text)
    billed = Billed(
        usage=believe(_parse_usage(body.get("usage")), request, text or "", reason),
        cost_usd=_parse_cost(body.get("usage")),
        latency_ms=latency_ms,
        request_id=reply.request_id or name_or_none(body.get("id")),
        model_version=name_or_none(body.get("model")),
        is_simulated=reply.is_simulated,
    )
    error = _find_error(choice, message)
    if error is not None:
        raise _choice_error(model, error, text or "", reason, billed)
    if text is None and reason is not FinishReason.REFUSAL:
        raise billed.malformed(model, "the answer has no choices[0].message with a text for its content")
    return unless_refused(model, billed.completion(text or "", reason), why=refusal or "")


def _find_choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first choice, empty where there is none."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else {}


def _find_message(choice: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The message of a choice; some servers send the only piece of a stream in its place."""
    found = (choice.get("message"), choice.get("delta"))
    return next((message for message in found if isinstance(message, dict)), None)


def _read_content(message: Mapping[str, Any] | None, choice: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Text and refusal: None where there is no text that can be read, "" where it is empty.

    What a model thought (`reasoning`, `reasoning_content`, parts of such types) is no part of the text.
    """
    if message is None:
        text = choice.get("text")  # of the older completions
        return (text if isinstance(text, str) else None), None
    content, refusal = message.get("content"), message.get("refusal")
    refusal = refusal if isinstance(refusal, str) and refusal else None
    content = [content] if isinstance(content, dict) else content
    if isinstance(content, list):
        said = [text_or_empty(part.get("refusal")) for part in content if isinstance(part, dict)]
        text = join_parts(content, text_types=_TEXT_TYPES) if content else ""
        return text, refusal or "".join(said) or None
    if content is None or isinstance(content, str):
        return content or "", refusal
    return None, refusal


def _read_reason(choice: Mapping[str, Any], *, has_refusal: bool) -> FinishReason:
    if has_refusal:
        return FinishReason.REFUSAL
    words = (read_reason(choice.get(name)) for name in ("finish_reason", "native_finish_reason", "stop_reason"))
    return next((_FINISH_REASONS[word] for word in words if word in _FINISH_REASONS), FinishReason.OTHER)


def _find_error(choice: Mapping[str, Any], message: Mapping[str, Any] | None) -> Any:
    """The error of a choice, None where there is none: its own, its message's, or a reason that is one."""
    stated = next((part["error"] for part in (choice, message or {}) if is_error(part.get("error"))), None)
    word = choice.get("finish_reason")
    return word if stated is None and read_reason(word) in _FAILURES else stated


def _choice_error(model: str, error: Any, text: str, reason: FinishReason, billed: Billed) -> ProviderError:
    """An error that stands in the choice. What had been generated before it and is stated as such was billed."""
    has_generated = billed.usage is not None and billed.usage.output_tokens > 0
    kept = billed.completion(text, reason) if has_generated else None
    return part_error(model, error, completion=kept)


def _parse_usage(usage: Any) -> Usage | None:
    """Usage where the provider states both numbers, and they can be; anything else counts as not stated.

    xAI counts reasoning beside the completion, the others inside of it: its total tells.
    """
    if not isinstance(usage, dict):
        return None
    given, generated, total = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if not is_count(given) or not is_count(generated):
        return None
    if is_count(total) and 0 < total < given + generated:
        return None
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    is_beside = total == given + generated + reasoning
    return make_usage(
        input_tokens=given,
        output_tokens=generated + reasoning if is_beside else generated,
        cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=reasoning,
        cache_write_tokens=_detail(usage, "prompt_tokens_details", "cache_write_tokens"),
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
