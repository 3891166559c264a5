"""Statuses and the words of common servers: whose fault, and whether it was billed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestratex.errors import (
    ContentRefusedError,
    ContextTooLongError,
    ProviderAuthenticationError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRejectedError,
)
from orchestratex.providers.http import HttpClient
from tests.unit.providers.conftest import Endpoint, raw, reply


def fail(
    http: HttpClient, endpoint: Endpoint, status: int, body: Any, headers: dict[str, str] | None = None
) -> ProviderError:
    endpoint.answer = reply(status, body if isinstance(body, str) else json.dumps(body), headers)
    with pytest.raises(ProviderError) as caught:
        http.post_json("gpt4", endpoint.url, {}, {})
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Type: text/html\r\nContent-Length: 21\r\n\r\n<html>504 nginx</html",
        b"HTTP/1.1 524 \r\nContent-Length: 7\r\nConnection: close\r\n\r\ntimeout",
        b"HTTP/1.1 520 Unknown\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 504 X\r\nContent-Length: 58\r\n\r\n{"error": {"code": 504, "status": "DEADLINE_EXCEEDED"}}    ',
    ],
)
def test_a_gateway_that_stopped_waiting_tells_nothing_about_the_bill(
    http: HttpClient, endpoint: Endpoint, content: bytes
) -> None:
    endpoint.answer = raw(content)

    with pytest.raises(ProviderOverloadedError) as caught:
        http.post_json("gpt4", endpoint.url, {}, {})

    assert caught.value.may_be_charged
    assert caught.value.is_retryable


@pytest.mark.parametrize("status", [500, 502, 503, 521, 523, 529])
def test_a_server_that_never_began_was_not_billed(http: HttpClient, endpoint: Endpoint, status: int) -> None:
    assert not fail(http, endpoint, status, "").may_be_charged


@pytest.mark.parametrize(
    "value",
    [
        "Wed, 21 Oct 99999999999 07:28:00 GMT",
        "Wed, 99 Oct 2026 07:28:00 GMT",
        "Wed, 21 Oct 2026 99:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 +99999999",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "1_000",
        "\u0661",
        "0x10",
        "9" * 400,
        "-inf",
        ",",
        " ",
        "1e999",
    ],
)
def test_a_retry_after_that_is_nonsense_is_ignored(http: HttpClient, endpoint: Endpoint, value: str) -> None:
    value = value if value.isascii() else "??"

    error = fail(http, endpoint, 429, {"error": {"message": "slow down"}}, {"Retry-After": value})

    assert type(error) is ProviderRateLimitedError
    assert error.retry_after_s in (None, 0, 86_400)
    assert not error.may_be_charged


CONTEXT = """\
The decoder prompt (length 9000) is longer than the maximum model length of 8192.
This model's maximum prompt length is 131072 but the request contains 140000 tokens.
Prompt exceeds max length
Input length 131393 exceeds the maximum allowed input length of 131040 tokens.
the request exceeds the available context size.
the request exceeds the available context size. try increasing the context size or enable context shift
This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens.
Please reduce the length of the messages or completion.
Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 200
Input validation error: `inputs` must have less than 1024 tokens. Given: 2000
Requested token count exceeds the model's maximum context length of 32768 tokens.
The input (33000 tokens) is longer than the model's context length (32768 tokens).
Input is too long for requested model.
Requested tokens (9000) exceed context window of 2048
Trying to keep the first 5000 tokens when context the overflows. The model is loaded with context length of only 4096
The number of tokens to keep from the initial prompt is greater than the context length
input length exceeds maximum context length
the input length exceeds the context length
Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length
too many tokens: total number of tokens in the prompt cannot exceed 4081
Range of input length should be [1, 30720]
The prompt is too long: 9000, model maximum context length: 8192
input length and `max_tokens` exceed context limit: 9 + 2 > 10
Your request exceeded model token limit: 8192 (requested: 9000)
invalid params, context window exceeds limit
Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.
The input token count (9) exceeds the maximum number of tokens allowed (8).
You passed 9000 input tokens and requested 100 output tokens. However, the model's context length is only 8192 tokens
the input token count is 40000 but model only supports up to 32768
`inputs` tokens must be <= 1024
token limit
Prompt 超长
litellm.ContextWindowExceededError: litellm.BadRequestError: maximum context length is 8192 tokens
"""


@pytest.mark.parametrize("words", CONTEXT.splitlines())
@pytest.mark.parametrize("shape", ["openai", "vllm", "text", "detail"])
def test_a_prompt_that_does_not_fit_is_said_in_many_words(
    http: HttpClient, endpoint: Endpoint, words: str, shape: str
) -> None:
    body: Any = {
        "openai": {"error": {"message": words, "type": "invalid_request_error", "code": None}},
        "vllm": {"object": "error", "message": words, "type": "BadRequestError", "param": None, "code": 400},
        "text": {"error": words},
        "detail": {"detail": words},
    }[shape]

    error = fail(http, endpoint, 400, body)

    assert type(error) is ContextTooLongError
    assert not error.is_retryable


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (
            400,
            "max_tokens is too large: 5000. This model supports at most 4096 completion tokens.",
            ProviderRejectedError,
        ),
        (400, "Unsupported value: 'temperature' does not support 0.7 with this model.", ProviderRejectedError),
        (400, "Unknown parameter: 'seed'.", ProviderRejectedError),
        (500, "the request took too long", ProviderOverloadedError),
        (503, "the request exceeded its time limit", ProviderOverloadedError),
        (408, "request took too long", ProviderOverloadedError),
        (
            429,
            "Rate limit reached for tokens: Limit 9, Used 8, Requested 3. Please try again in 6s.",
            ProviderRateLimitedError,
        ),
        (500, "the request exceeds the available context size", ContextTooLongError),
        (500, "context size exceeded", ContextTooLongError),
        (403, "Country, region, or territory not supported", ProviderAuthenticationError),
        (403, "Your account was suspended for violating our usage policies", ProviderAuthenticationError),
        (403, "Your organization has been disabled.", ProviderAuthenticationError),
        (401, "Incorrect API key provided", ProviderAuthenticationError),
        (402, "This request requires more credits, or fewer max_tokens.", ProviderQuotaError),
        (402, "Insufficient Balance", ProviderQuotaError),
        (403, "Your newly created team doesn't have any credits or licenses yet.", ProviderQuotaError),
        (400, "x is not a valid model ID", ProviderNotFoundError),
        (400, "The model `x` does not exist", ProviderNotFoundError),
        (400, "the file does not exist", ProviderRejectedError),
        (451, "Unavailable For Legal Reasons", ContentRefusedError),
        (
            500,
            "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
            ContextTooLongError,
        ),
        (429, "token limit reached for this minute", ProviderRateLimitedError),
    ],
)
def test_other_words_are_not_taken_for_it(
    http: HttpClient, endpoint: Endpoint, status: int, words: str, kind: type[ProviderError]
) -> None:
    assert type(fail(http, endpoint, status, {"error": {"message": words}})) is kind


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"error": {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"]}}}),
        (403, {"error": {"code": 403, "message": "No", "metadata": {"reasons": ["violence"], "flagged_input": "x"}}}),
        (403, {"error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}),
        (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error", "code": None}}),
        (400, {"error": {"message": "Output blocked by content filtering policy", "type": "invalid_request_error"}}),
        (400, {"error": {"message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
        (400, {"error": {"message": "The response was filtered due to Azure OpenAI's content management policy."}}),
        (
            400,
            {
                "error": {
                    "message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy."
                }
            },
        ),
        (400, {"error": {"message": "Your request was rejected as a result of our safety system."}}),
        (400, {"error": {"message": "The request was rejected because it was considered high risk"}}),
        (400, {"message": "Guardrail blocked your request"}),
        (422, {"detail": "Content moderation blocked this request"}),
        (400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}),
        (400, {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}),
        (403, {"error": {"message": "Your chosen model requires moderation and your input was flagged: violence"}}),
    ],
)
def test_a_prompt_that_is_not_liked_is_no_wrong_key(
    http: HttpClient, endpoint: Endpoint, status: int, body: Any
) -> None:
    error = fail(http, endpoint, status, body)

    assert type(error) is ContentRefusedError
    assert not error.is_retryable


@pytest.mark.parametrize("body", ['{"error": ' * 500 + "1" + "}" * 500, '{"a":' * 1900 + "1" + "}" * 1900, "[" * 9000])
@pytest.mark.parametrize("status", [200, 400, 429])
def test_errors_that_are_nested_deeply_raise_nothing_else(
    http: HttpClient, endpoint: Endpoint, status: int, body: str
) -> None:
    assert isinstance(fail(http, endpoint, status, body), ProviderError)
