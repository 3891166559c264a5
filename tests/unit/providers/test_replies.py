"""Replies as real servers send them: errors in a 200, content in parts, usage that cannot be, ends before the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from orchestratex.domain.base import FinishReason
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import (
    ContentRefusedError,
    ContextTooLongError,
    MalformedCompletionError,
    ProviderAuthenticationError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRejectedError,
)
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.dialects import DIALECTS
from orchestratex.providers.http import HttpClient
from tests.unit.providers.conftest import Endpoint, reply

USAGE = {"prompt_tokens": 900, "completion_tokens": 120, "total_tokens": 1020}
BILLED = Usage(input_tokens=900, output_tokens=120, total_tokens=1020)
REQUEST = CompletionRequest(
    model_name="gpt4", model_version="m", system="be brief", user="why?", max_tokens=2048, idempotency_key="abc.1"
)


class Speaker:
    def __init__(self, http: HttpClient, endpoint: Endpoint) -> None:
        self._http = http
        self.endpoint = endpoint

    def read(self, dialect: str, body: object, **changes: Any) -> Completion:
        self.endpoint.answer = reply(body=json.dumps(body))
        provider = DIALECTS[dialect](self._http, base_url=self.endpoint.url, api_key=SecretStr("sk-planted-key-01"))
        return provider.complete(REQUEST.model_copy(update=changes))

    def fail(self, dialect: str, body: object) -> ProviderError:
        with pytest.raises(ProviderError) as caught:
            self.read(dialect, body)
        return caught.value


@pytest.fixture
def speaker(http: HttpClient, endpoint: Endpoint) -> Speaker:
    return Speaker(http, endpoint)


def chat(message: Any = None, reason: Any = "stop", usage: Any = USAGE, **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": message} if isinstance(message, str | list | None) else message
    return {
        "id": "c-1",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": reason, **choice}],
        "usage": usage,
    }


def in_choice(**error: Any) -> dict[str, Any]:
    return chat("", "error", {"prompt_tokens": 900, "completion_tokens": 0}, error=error)


# --- an error in a 200 -------------------------------------------------------------------------------------------

ERRORS = [
    (
        {
            "id": None,
            "choices": None,
            "usage": None,
            "error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "Too Many Requests"}},
        },
        ProviderRateLimitedError,
        "Too Many Requests",
    ),
    ({"error": {"message": "Insufficient credits", "code": 402}}, ProviderQuotaError, "Insufficient credits"),
    ({"error": {"message": "No auth credentials found", "code": 401}}, ProviderAuthenticationError, "No auth"),
    (
        {"error": "Unexpected endpoint or method. (POST /chat/completions)"},
        ProviderNotFoundError,
        "Unexpected endpoint or method. (POST /chat/completions)",
    ),
    (in_choice(code=502, message="Upstream overloaded"), ProviderOverloadedError, "Upstream overloaded"),
    (in_choice(code=429, message="slow down"), ProviderRateLimitedError, "slow down"),
    (chat("", "error", None), ProviderOverloadedError, "error"),
    (chat("", "network_error", None), ProviderOverloadedError, "network_error"),
    (chat("Half a", "abort", None), ProviderOverloadedError, "abort"),
    (chat("Half a", "TIMEOUT", None), ProviderOverloadedError, "TIMEOUT"),
    ({"error": "model 'm' not found, try pulling it first"}, ProviderNotFoundError, "try pulling"),
    ({"error": {"message": "m is loading", "type": "unavailable_error"}}, ProviderOverloadedError, "is loading"),
    ({"error": {"message": "boom", "code": "503"}}, ProviderOverloadedError, "boom"),
    (
        {"object": "error", "message": "no such model", "type": "NotFoundError", "code": 404},
        ProviderNotFoundError,
        "no",
    ),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Over"}}, ProviderOverloadedError, "Over"),
    ({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow"}}, ProviderRateLimitedError, "Slow"),
    ({"type": "error", "error": {"type": "authentication_error", "message": "x"}}, ProviderAuthenticationError, "x"),
    ([{"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}], ProviderOverloadedError, "busy"),
    ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "q"}}, ProviderRateLimitedError, "q"),
    ({"error": "Model is overloaded", "error_type": "overloaded"}, ProviderOverloadedError, "overloaded"),
    ({"success": False, "errors": [{"code": 1, "message": "Invalid API key"}]}, ProviderAuthenticationError, "Invalid"),
    (
        {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None},
        ProviderRateLimitedError,
        "rate",
    ),
    ({"detail": "Not Found"}, ProviderNotFoundError, "Not Found"),
    ({"message": "Internal error", "choices": []}, ProviderOverloadedError, "Internal"),
    ({"code": "Throttling", "message": "Requests throttled"}, ProviderRateLimitedError, "throttled"),
    ({"error": {"message": "This model's maximum context length is 9"}}, ContextTooLongError, "maximum context"),
    ({"error": {"message": "Your input was flagged", "code": 403}}, ContentRefusedError, "flagged"),
    ({"error": {"message": {"text": "odd"}}}, ProviderRejectedError, "odd"),
    ({"error": ["first", "second"]}, ProviderRejectedError, "first"),
    ({"error": {"message": "bad", "code": 400}}, ProviderRejectedError, "bad"),
    ({"error": True, "message": "Insufficient credits"}, ProviderQuotaError, "Insufficient credits"),
    ({"error": "Model org/m is currently loading", "estimated_time": 20.0}, ProviderOverloadedError, "loading"),
    ({"object": "error", "message": "NETWORK ERROR DUE TO HIGH TRAFFIC.", "code": 50001}, ProviderOverloadedError, "N"),
    ({"error_code": 17, "error_msg": "daily request limit reached"}, ProviderRateLimitedError, "daily"),
    ({"error": {"code": "1302", "message": "您的账户已达到速率限制"}}, ProviderRateLimitedError, "速率限制"),
    ({"error": {"code": "1113", "message": "余额不足或无可用资源包"}}, ProviderQuotaError, "余额不足"),
    ({"message": "invalid api token"}, ProviderAuthenticationError, "invalid api token"),
    (
        chat({"content": "", "error": {"message": "slow down", "code": 429}}, "stop", None),
        ProviderRateLimitedError,
        "slow down",
    ),
]


def is_chat(body: Any) -> bool:
    return isinstance(body, dict) and bool(body.get("choices"))


@pytest.mark.parametrize(
    ("dialect", "body", "kind", "words"),
    [(dialect, *each) for dialect in DIALECTS for each in ERRORS if dialect == "openai" or not is_chat(each[0])],
)
def test_an_error_in_a_200_is_an_error_and_costs_nothing(
    speaker: Speaker, dialect: str, body: Any, kind: type[ProviderError], words: str
) -> None:
    error = speaker.fail(dialect, body)

    assert type(error) is kind
    assert words in str(error)
    assert not error.may_be_charged
    assert error.is_retryable is (kind in {ProviderRateLimitedError, ProviderOverloadedError})


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("anthropic", {"content": [{"type": "error", "error": {"type": "overloaded_error", "message": "Over"}}]}),
        ("google", {"candidates": [{"error": {"code": 503, "message": "Over"}}]}),
    ],
)
def test_an_error_in_a_block_is_an_error(speaker: Speaker, dialect: str, body: Any) -> None:
    error = speaker.fail(dialect, body)

    assert type(error) is ProviderOverloadedError
    assert "Over" in str(error)
    assert not error.may_be_charged


@pytest.mark.parametrize("error", [None, "", {}, [], False, 0, {"code": 0, "message": ""}, {"code": None}])
def test_a_field_that_says_that_there_was_no_error_is_none(speaker: Speaker, error: Any) -> None:
    assert speaker.read("openai", {**chat("Hi", error=error), "error": error}).text == "Hi"


def test_what_was_generated_before_an_error_was_billed(speaker: Speaker) -> None:
    error = speaker.fail("openai", chat("The sky is", "error", error={"code": 502, "message": "gone"}))

    assert type(error) is ProviderOverloadedError
    assert isinstance(error.completion, Completion)
    assert error.completion.usage == BILLED


# --- content -----------------------------------------------------------------------------------------------------

THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ([THINKING, {"type": "text", "text": "Two hours."}], "Two hours."),
        ([{"type": "text", "text": "Two "}, {"type": "text", "text": "hours."}], "Two hours."),
        ([{"type": "output_text", "text": "Two hours.", "annotations": []}], "Two hours."),
        ([{"text": "Two hours."}], "Two hours."),
        ([{"type": "text", "text": {"value": "Two hours.", "annotations": []}}], "Two hours."),
        (["Two ", "hours."], "Two hours."),
        ([{"type": "text", "text": None}, {"type": "text", "text": "Two hours."}], "Two hours."),
        ([{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "Two hours."}], "Two hours."),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "Two hours."}], "Two hours."),
        ([{"text": "hm", "thought": True}, {"text": "Two hours."}], "Two hours."),
        ([{"type": "TEXT", "text": "Two hours."}, None], "Two hours."),
        ([{"type": "text", "content": "Two hours."}], "Two hours."),
        ({"content": {"type": "text", "text": "Two hours."}}, "Two hours."),
        ([{"type": "text", "text": None}], ""),
        ([THINKING], ""),
        ([], ""),
        (
            {"content": "Two hours.", "reasoning_content": "hm", "reasoning": "hm", "reasoning_details": [1]},
            "Two hours.",
        ),
        ({"content": None, "reasoning_content": "hm"}, ""),
        ({"content": "", "reasoning": "hm"}, ""),
        ({"content": "Two hours.", "refusal": None, "tool_calls": None}, "Two hours."),
    ],
)
def test_content_is_read_in_every_published_shape_without_the_thinking(
    speaker: Speaker, message: Any, text: str
) -> None:
    completion = speaker.read("openai", chat(message))

    assert completion.text == text
    assert completion.usage == BILLED


@pytest.mark.parametrize(
    "choice", [{"text": "Two hours."}, {"delta": {"content": "Two hours."}}, {"message": None, "text": "Two hours."}]
)
def test_older_completions_and_single_chunks_are_read(speaker: Speaker, choice: Any) -> None:
    assert speaker.read("openai", {"choices": [{**choice, "finish_reason": "stop"}]}).text == "Two hours."


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (
            "anthropic",
            {
                "id": "m",
                "model": "x",
                "content": [{"type": "text", "text": None}, {"type": "text", "text": "Hi"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 9, "output_tokens": 2},
            },
        ),
        (
            "google",
            {
                "candidates": [{"content": {"parts": [{"text": None}, {"text": "Hi"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2},
            },
        ),
        (
            "anthropic",
            {
                "content": [{"type": "thinking", "thinking": "x", "text": "no"}, {"type": "text", "text": "Hi"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 9, "output_tokens": 2},
            },
        ),
        (
            "google",
            {
                "candidates": [{"content": {"parts": [{"thought": True, "text": "no"}, None, {"text": "Hi"}]}}],
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2},
            },
        ),
        (
            "anthropic",
            {
                "content": [None, {"type": "text", "text": "Hi"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 9, "output_tokens": 2},
            },
        ),
        (
            "anthropic",
            {"content": "Hi", "stop_reason": "end_turn", "usage": {"input_tokens": 9, "output_tokens": 2}},
        ),
    ],
)
def test_a_null_text_is_no_text(speaker: Speaker, dialect: str, body: Any) -> None:
    completion = speaker.read(dialect, body)

    assert completion.text == "Hi"
    assert completion.usage == Usage(input_tokens=9, output_tokens=2, total_tokens=11)


FOREIGN: list[Any] = [7, True, {"a": 1}, [1, 2], 1.5]


@pytest.mark.parametrize("value", FOREIGN)
@pytest.mark.parametrize("dialect", list(DIALECTS))
def test_nothing_but_a_text_becomes_a_text_and_its_usage_is_kept(speaker: Speaker, dialect: str, value: Any) -> None:
    body = {
        "openai": chat([{"type": "text", "text": value}]),
        "anthropic": {
            "content": [{"type": "text", "text": value}],
            "usage": {"input_tokens": 900, "output_tokens": 120},
        },
        "google": {
            "candidates": [{"content": {"parts": [{"text": value}]}}],
            "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 120},
        },
    }[dialect]

    error = speaker.fail(dialect, body)

    assert type(error) is MalformedCompletionError
    assert isinstance(error.completion, Completion)
    assert error.completion.usage == BILLED


@pytest.mark.parametrize("value", FOREIGN)
def test_names_and_reasons_that_are_no_texts_are_none(speaker: Speaker, value: Any) -> None:
    body = {**chat("Hi", reason=value), "id": value, "model": value}

    completion = speaker.read("openai", body)

    assert (completion.request_id, completion.model_version) == (None, None)
    assert completion.finish_reason is FinishReason.OTHER


@pytest.mark.parametrize("choices", [[], None, {}, ["x"], [None]])
def test_usage_is_kept_where_there_is_no_choice(speaker: Speaker, choices: Any) -> None:
    error = speaker.fail("openai", {"choices": choices, "usage": USAGE})

    assert isinstance(error.completion, Completion)
    assert error.completion.usage == BILLED


def test_without_usage_a_reply_that_cannot_be_read_may_have_cost_all(speaker: Speaker) -> None:
    error = speaker.fail("openai", {"choices": []})

    assert error.completion is None
    assert error.may_be_charged


# --- usage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 900, "completion_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 120},
        {"prompt_tokens": 900.0, "completion_tokens": 120.0},
        {"prompt_tokens": True, "completion_tokens": 120},
        {"prompt_tokens": -900, "completion_tokens": 120},
        {"prompt_tokens": "900", "completion_tokens": "120"},
        {"prompt_tokens": 900, "completion_tokens": 120, "total_tokens": 500},
        {"prompt_tokens": 900, "completion_tokens": 120, "prompt_tokens_details": {"cached_tokens": 901}},
        {**USAGE, "completion_tokens_details": {"reasoning_tokens": 121}},
        {"prompt_tokens": 10**12, "completion_tokens": 120},
        {"prompt_tokens": 300_000, "completion_tokens": 120},
        {"prompt_tokens": 900, "completion_tokens": 300_000},
    ],
)
def test_usage_that_cannot_be_counts_as_not_stated(speaker: Speaker, usage: Any) -> None:
    assert speaker.read("openai", chat("The sky scatters blue light.", usage=usage)).usage is None


def test_thinking_beside_the_limit_is_possible(speaker: Speaker) -> None:
    usage = {"prompt_tokens": 9000, "completion_tokens": 40_000}

    read_back = speaker.read("openai", chat("The sky scatters blue light.", usage=usage)).usage

    assert read_back is not None
    assert read_back.output_tokens == 40_000


def test_fewer_tokens_than_any_tokenizer_needs_are_not_believed(speaker: Speaker) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 5}

    assert speaker.read("openai", chat("Hi", usage=usage), user="why? " * 1000).usage is None
    assert speaker.read("openai", chat("because " * 1000, usage=usage)).usage is None


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("anthropic", {"content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 0, "output_tokens": 0}}),
        ("anthropic", {"content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 9, "output_tokens": 0}}),
        (
            "google",
            {
                "candidates": [{"content": {"parts": [{"text": "Hi"}]}}],
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "cachedContentTokenCount": 10},
            },
        ),
        (
            "google",
            {
                "candidates": [{"content": {"parts": [{"text": "Hi"}]}}],
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 3},
            },
        ),
    ],
)
def test_no_dialect_believes_usage_that_cannot_be(speaker: Speaker, dialect: str, body: Any) -> None:
    assert speaker.read(dialect, body).usage is None


def test_an_empty_text_without_output_is_possible(speaker: Speaker) -> None:
    usage = speaker.read("openai", chat("", usage={"prompt_tokens": 9, "completion_tokens": 0})).usage

    assert usage == Usage(input_tokens=9, total_tokens=9)


# --- how it ended ------------------------------------------------------------------------------------------------


def test_a_limit_that_thinking_ate_is_an_empty_completion_that_says_so(speaker: Speaker) -> None:
    usage = {
        "prompt_tokens": 900,
        "completion_tokens": 2048,
        "total_tokens": 2948,
        "completion_tokens_details": {"reasoning_tokens": 2048},
    }

    completion = speaker.read("openai", chat(None, "length", usage))

    assert (completion.text, completion.finish_reason) == ("", FinishReason.LENGTH)
    assert completion.usage is not None
    assert (completion.usage.output_tokens, completion.usage.reasoning_tokens) == (2048, 2048)


def anthropic_reply(text: str, reason: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}] if text else [], "stop_reason": reason}


def google_reply(text: str, reason: str) -> dict[str, Any]:
    content = {"content": {"parts": [{"text": text}]}} if text else {}
    return {"candidates": [{**content, "finishReason": reason}]}


@pytest.mark.parametrize(
    ("dialect", "make", "words", "reason"),
    [
        ("openai", chat, ["stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn"], FinishReason.STOP),
        ("openai", chat, ["length", "max_tokens", "MAX_TOKENS", "model_length"], FinishReason.LENGTH),
        ("openai", chat, ["max-tokens", "MaxTokens", "length_limit", "ERROR_LIMIT"], FinishReason.LENGTH),
        ("openai", chat, ["ContentFilter", "content-filter", "ERROR_TOXIC"], FinishReason.REFUSAL),
        ("openai", chat, ["content_filter", "SAFETY", "sensitive", "refusal"], FinishReason.REFUSAL),
        ("openai", chat, ["tool_calls", "", None, "whatever"], FinishReason.OTHER),
        ("anthropic", anthropic_reply, ["end_turn", "stop_sequence", "tool_use"], FinishReason.STOP),
        ("anthropic", anthropic_reply, ["max_tokens", "model_context_window_exceeded"], FinishReason.LENGTH),
        ("anthropic", anthropic_reply, ["refusal"], FinishReason.REFUSAL),
        ("google", google_reply, ["STOP"], FinishReason.STOP),
        ("google", google_reply, ["MAX_TOKENS"], FinishReason.LENGTH),
        (
            "google",
            google_reply,
            ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"],
            FinishReason.REFUSAL,
        ),
        ("google", google_reply, ["OTHER", "LANGUAGE", "MALFORMED_FUNCTION_CALL"], FinishReason.OTHER),
    ],
)
def test_why_it_ended_reaches_the_engine_beside_the_text(
    speaker: Speaker, dialect: str, make: Any, words: list[Any], reason: FinishReason
) -> None:
    for word in words:
        completion = speaker.read(dialect, make("To build the", word))

        assert (completion.text, completion.finish_reason) == ("To build the", reason), word


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai", chat(None, "content_filter")),
        ("openai", {"choices": [{"finish_reason": "content_filter", "content_filter_results": {}}], "usage": USAGE}),
        ("openai", chat([{"type": "refusal", "refusal": "No."}])),
        ("openai", chat({"content": None, "refusal": "No."})),
        ("anthropic", anthropic_reply("", "refusal")),
        ("google", google_reply("", "SAFETY")),
    ],
)
def test_filtered_before_any_text_is_refused(speaker: Speaker, dialect: str, body: Any) -> None:
    assert type(speaker.fail(dialect, body)) is ContentRefusedError
