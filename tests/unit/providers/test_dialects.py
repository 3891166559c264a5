"""Every dialect over a little real server: what is sent, what is read, what an error means."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from orchestratex.bootstrap import HttpProviders
from orchestratex.domain.base import FinishReason
from orchestratex.domain.capabilities import Capabilities, SchemaForm
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import (
    CallUnwantedError,
    ContentRefusedError,
    ContextTooLongError,
    MalformedCompletionError,
    ProviderAuthenticationError,
    ProviderConnectionError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRejectedError,
)
from orchestratex.local.ports import free_port
from orchestratex.providers.base import STILL_WANTED, CompletionRequest, Provider
from orchestratex.providers.dialects import DIALECTS
from orchestratex.providers.http import HttpClient
from orchestratex.rules.schemas import evaluation_schema
from orchestratex.settings import Settings
from tests.make import make_profile
from tests.unit.providers.conftest import Answer, Endpoint, hang_up, raw, reply

KEY = "sk-planted-key-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number"}, "why": {"type": "string", "enum": ["a", "b"]}},
    "required": ["score", "why"],
    "additionalProperties": False,
}


def make_request(**fields: Any) -> CompletionRequest:
    values = {
        "model_name": "gpt4",
        "model_version": "some-model-1",
        "system": "be brief",
        "user": "why?",
        "max_tokens": 50,
        "temperature": 1.5,
        "seed": 3,
        "idempotency_key": "abc.1",
    }
    return CompletionRequest.model_validate({**values, **fields})


class Speaker:
    """One dialect at the little server."""

    def __init__(self, dialect: str, http: HttpClient, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.provider: Provider = DIALECTS[dialect](http, base_url=endpoint.url, api_key=SecretStr(KEY))

    def ask(self, answer: Answer, **fields: Any) -> Completion:
        self.endpoint.answer = answer
        return self.provider.complete(make_request(**fields))

    def send(self, body: dict[str, Any], **fields: Any) -> tuple[str, dict[str, str], Any]:
        self.ask(reply(body=json.dumps(body)), **fields)
        path, headers, sent = self.endpoint.requests[-1]
        return path, {name.lower(): value for name, value in headers.items()}, json.loads(sent)

    def read(self, body: dict[str, Any], headers: dict[str, str] | None = None, **fields: Any) -> Completion:
        return self.ask(reply(body=json.dumps(body), headers=headers), **fields)

    def fail(self, status: int, body: Any, headers: dict[str, str] | None = None) -> ProviderError:
        text = body if isinstance(body, str) else json.dumps(body)
        with pytest.raises(ProviderError) as caught:
            self.ask(reply(status, text, headers))
        return caught.value


@pytest.fixture
def openai(http: HttpClient, endpoint: Endpoint) -> Speaker:
    return Speaker("openai", http, endpoint)


@pytest.fixture
def anthropic(http: HttpClient, endpoint: Endpoint) -> Speaker:
    return Speaker("anthropic", http, endpoint)


@pytest.fixture
def google(http: HttpClient, endpoint: Endpoint) -> Speaker:
    return Speaker("google", http, endpoint)


def chat(text: str | None = "because", **fields: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "model": "served", "choices": [choice], **fields}


def chat_usage(**usage: Any) -> dict[str, Any]:
    return chat(usage=usage)


def message(*content: Any, **fields: Any) -> dict[str, Any]:
    blocks = list(content) or [{"type": "text", "text": "because"}]
    usage = {"input_tokens": 9, "output_tokens": 4}
    return {"id": "msg_1", "model": "served", "content": blocks, "stop_reason": "end_turn", "usage": usage, **fields}


def candidates(*texts: Any, reason: str = "STOP", **fields: Any) -> dict[str, Any]:
    parts = [text if isinstance(text, dict) else {"text": text} for text in texts]
    candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": reason}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 4}
    return {
        "candidates": [candidate if parts else {"finishReason": reason}],
        "usageMetadata": usage,
        "modelVersion": "served",
        "responseId": "r-1",
        **fields,
    }


# --- OpenAI ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["gpt-4o-2024-08-06", "o3-mini", "gpt-5.1", "openai/gpt-5-nano", "grok-4.7"])
def test_openai_asks_every_version_alike_of_which_nothing_is_known(openai: Speaker, version: str) -> None:
    _, _, sent = openai.send(chat(), model_version=version)

    assert (sent["max_tokens"], sent["temperature"], sent["seed"]) == (50, 1.5, 3)
    assert not {"max_completion_tokens", "reasoning_effort", "response_format"} & set(sent)


def test_openai_asks_for_a_schema_strictly(openai: Speaker) -> None:
    _, _, sent = openai.send(chat(), json_schema=SCHEMA)

    wanted = {"name": "reply", "strict": True, "schema": SCHEMA}
    assert sent["response_format"] == {"type": "json_schema", "json_schema": wanted}


def test_mistral_names_its_seed_otherwise(http: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[Any] = []
    provider = DIALECTS["openai"](http, base_url="https://api.mistral.ai/v1", api_key=SecretStr(KEY))
    monkeypatch.setattr(http, "post", lambda _model, _url, body, _headers: bodies.append(body))

    with pytest.raises(AttributeError):  # there is no reply to read
        provider.complete(make_request())

    assert bodies[0]["random_seed"] == 3
    assert "seed" not in bodies[0]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            (9, 4, 5, 3),
        ),
        (  # xAI: reasoning beside the completion
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 113,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            (9, 104, 0, 100),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 99}}, None),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 6},
            },
            (9, 4, 2, 0, 6),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 9},
            },
            (9, 4, 4, 0, 5),
        ),
        ({"prompt_tokens": 9}, None),
    ],
)
def test_openai_usage(openai: Speaker, usage: dict[str, Any], expected: tuple[int, ...] | None) -> None:
    assert openai.read(chat_usage(**usage)).usage == make_usage(expected)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.00014}, 0.00014),
        ({"cost": 0}, 0),
        ({}, None),
        ({"cost": "0.1"}, None),
        ({"cost": -1}, None),
        ({"cost": 10**400}, None),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 0.21),
        ({"cost": 0.01, "is_byok": True}, None),
    ],
)
def test_openrouter_says_what_it_charged(openai: Speaker, usage: dict[str, Any], cost: float | None) -> None:
    found = openai.read(chat_usage(prompt_tokens=1, completion_tokens=1, **usage)).cost_usd

    assert found == (None if cost is None else pytest.approx(cost))


def test_a_refusal_keeps_what_was_billed(openai: Speaker) -> None:
    body = chat_usage(prompt_tokens=9, completion_tokens=4)
    body["choices"][0]["message"] = {"content": None, "refusal": "I cannot"}

    with pytest.raises(ContentRefusedError, match="I cannot") as caught:
        openai.read(body)

    completion = caught.value.completion
    assert isinstance(completion, Completion)
    assert completion.usage == make_usage((9, 4, 0, 0))
    assert caught.value.may_be_charged


# --- Anthropic ---------------------------------------------------------------------------------------------------


def test_anthropic_request(anthropic: Speaker) -> None:
    path, headers, sent = anthropic.send(message())

    assert path == "/v1/messages"
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in headers
    assert sent == {
        "model": "some-model-1",
        "system": "be brief",
        "messages": [{"role": "user", "content": "why?"}],
        "max_tokens": 50,
        "temperature": 1.0,
    }


@pytest.mark.parametrize("version", ["claude-3-5-sonnet-20241022", "claude-opus-4-7", "claude-haiku-5-5-20261001"])
def test_anthropic_asks_every_version_alike_of_which_nothing_is_known(anthropic: Speaker, version: str) -> None:
    assert anthropic.send(message(), model_version=version)[2]["temperature"] == 1.0


def test_anthropic_forces_a_tool_for_a_schema_and_reads_its_input(anthropic: Speaker) -> None:
    block = {"type": "tool_use", "id": "t1", "name": "reply", "input": {"score": 7, "why": "é"}}
    body = message({"type": "text", "text": "Here:"}, block, stop_reason="tool_use")

    completion = anthropic.read(body, json_schema=SCHEMA, capabilities=Capabilities(schema_form=SchemaForm.TOOL))

    sent = json.loads(anthropic.endpoint.requests[-1][2])
    assert [tool["input_schema"] for tool in sent["tools"]] == [SCHEMA]
    assert sent["tool_choice"] == {"type": "tool", "name": sent["tools"][0]["name"]}
    assert json.loads(completion.text) == {"score": 7, "why": "é"}
    assert completion.finish_reason is FinishReason.STOP


@pytest.mark.parametrize(
    ("body", "text", "reason"),
    [
        (message(), "because", FinishReason.STOP),
        (message({"type": "text", "text": "a"}, {"type": "text", "text": "b"}), "ab", FinishReason.STOP),
        (message({"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "b"}), "b", FinishReason.STOP),
        (message(stop_reason="max_tokens"), "because", FinishReason.LENGTH),
        (message(stop_reason="stop_sequence"), "because", FinishReason.STOP),
        (message(stop_reason="refusal"), "because", FinishReason.REFUSAL),
        (message(stop_reason="pause_turn"), "because", FinishReason.OTHER),
        (message(content=[]), "", FinishReason.STOP),
        (message({"type": "text", "text": "\ud800"}), "\ufffd", FinishReason.STOP),
    ],
)
def test_anthropic_replies(anthropic: Speaker, body: dict[str, Any], text: str, reason: FinishReason) -> None:
    completion = anthropic.read(body)

    assert (completion.text, completion.finish_reason) == (text, reason)
    assert (completion.model_version, completion.request_id) == ("served", "msg_1")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 9, "output_tokens": 4}, (9, 4, 0, 0)),
        (
            {
                "input_tokens": 9,
                "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": 100,
                "output_tokens": 4,
            },
            (129, 4, 20, 0, 100),
        ),
        ({"input_tokens": 9, "cache_read_input_tokens": None, "output_tokens": 4}, (9, 4, 0, 0)),
        ({"input_tokens": True, "output_tokens": 4}, None),
        (None, None),
    ],
)
def test_anthropic_usage(anthropic: Speaker, usage: Any, expected: tuple[int, ...] | None) -> None:
    assert anthropic.read(message(usage=usage)).usage == make_usage(expected)


def test_anthropic_refusal_without_a_word_keeps_what_was_billed(anthropic: Speaker) -> None:
    with pytest.raises(ContentRefusedError) as caught:
        anthropic.read(message(content=[], stop_reason="refusal"))

    assert isinstance(caught.value.completion, Completion)
    assert caught.value.completion.usage == make_usage((9, 4, 0, 0))


# --- Google ------------------------------------------------------------------------------------------------------


def test_google_request(google: Speaker) -> None:
    path, headers, sent = google.send(candidates("because"), model_version="models/gemini-1", seed=2**40 + 3)

    assert path == "/v1/v1beta/models/gemini-1:generateContent"
    assert headers["x-goog-api-key"] == KEY
    assert sent == {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [{"role": "user", "parts": [{"text": "why?"}]}],
        "generationConfig": {"maxOutputTokens": 50, "temperature": 1.5, "seed": 3},
    }


def test_google_spells_a_schema_in_its_subset(google: Speaker) -> None:
    _, _, sent = google.send(candidates("{}"), json_schema=SCHEMA)

    assert sent["generationConfig"]["responseMimeType"] == "application/json"
    assert sent["generationConfig"]["responseSchema"] == {
        "type": "OBJECT",
        "properties": {"score": {"type": "NUMBER"}, "why": {"type": "STRING", "enum": ["a", "b"]}},
        "propertyOrdering": ["score", "why"],
        "required": ["score", "why"],
    }


@pytest.mark.parametrize(
    ("body", "text", "reason"),
    [
        (candidates("a", "b"), "ab", FinishReason.STOP),
        (candidates({"text": "hm", "thought": True}, "b"), "b", FinishReason.STOP),
        (candidates("a", reason="MAX_TOKENS"), "a", FinishReason.LENGTH),
        (candidates(reason="MAX_TOKENS"), "", FinishReason.LENGTH),
        (candidates("a", reason="SAFETY"), "a", FinishReason.REFUSAL),
        (candidates("a", reason="MALFORMED_FUNCTION_CALL"), "a", FinishReason.OTHER),
        (candidates("\ud800"), "\ufffd", FinishReason.STOP),
    ],
)
def test_google_replies(google: Speaker, body: dict[str, Any], text: str, reason: FinishReason) -> None:
    completion = google.read(body)

    assert (completion.text, completion.finish_reason) == (text, reason)
    assert (completion.model_version, completion.request_id) == ("served", "r-1")


@pytest.mark.parametrize(
    "body",
    [
        candidates(reason="SAFETY"),
        candidates(reason="RECITATION"),
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}},
    ],
)
def test_google_refusals_keep_what_was_billed(google: Speaker, body: dict[str, Any]) -> None:
    with pytest.raises(ContentRefusedError) as caught:
        google.read(body)

    assert isinstance(caught.value.completion, Completion)
    assert caught.value.completion.usage is not None
    assert caught.value.completion.usage.input_tokens == 9


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"promptTokenCount": 9, "candidatesTokenCount": 4}, (9, 4, 0, 0)),
        (
            {
                "promptTokenCount": 9,
                "cachedContentTokenCount": 5,
                "candidatesTokenCount": 4,
                "thoughtsTokenCount": 100,
                "toolUsePromptTokenCount": 1,
                "totalTokenCount": 114,
            },
            (10, 104, 5, 100),
        ),
        ({"promptTokenCount": 9}, None),
        ({"candidatesTokenCount": 9}, None),
        (None, None),
    ],
)
def test_google_usage(google: Speaker, usage: Any, expected: tuple[int, ...] | None) -> None:
    assert google.read(candidates("a", usageMetadata=usage)).usage == make_usage(expected)


def test_google_bills_thoughts_that_led_to_nothing(google: Speaker) -> None:
    usage = {"promptTokenCount": 9, "thoughtsTokenCount": 50}

    assert google.read(candidates(reason="MAX_TOKENS", usageMetadata=usage)).usage == make_usage((9, 50, 0, 50))


# --- all three ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=list(DIALECTS))
def any_speaker(request: pytest.FixtureRequest, http: HttpClient, endpoint: Endpoint) -> Speaker:
    return Speaker(request.param, http, endpoint)


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"content": "x"}, {"content": [1]}, {"candidates": [1]}])
def test_no_dialect_takes_what_is_no_completion(any_speaker: Speaker, body: dict[str, Any]) -> None:
    with pytest.raises(MalformedCompletionError):
        any_speaker.read(body)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [("openai", chat()), ("anthropic", message()), ("google", candidates("because"))],
)
@pytest.mark.parametrize("header", ["x-request-id", "Request-Id"])
def test_request_ids_of_headers_win(
    http: HttpClient, endpoint: Endpoint, dialect: str, body: dict[str, Any], header: str
) -> None:
    assert Speaker(dialect, http, endpoint).read(body, {header: "req_7"}).request_id == "req_7"


@pytest.mark.parametrize(
    ("dialect", "body"),
    [("openai", chat()), ("anthropic", message()), ("google", candidates("because"))],
)
def test_what_says_that_it_comes_from_the_sandbox_is_marked(
    http: HttpClient, endpoint: Endpoint, dialect: str, body: dict[str, Any]
) -> None:
    speaker = Speaker(dialect, http, endpoint)

    assert speaker.read(body, {"X-Orchestratex-Sandbox": "simulated"}).is_simulated
    assert not speaker.read(body).is_simulated


def openai_error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic_error(kind: str, message: str = "no") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def google_error(code: int, status: str, message: str = "no", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


QUOTA = "You exceeded your current quota, please check your plan and billing details."


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, openai_error("bad key", "invalid_api_key"), ProviderAuthenticationError),
        (404, openai_error("no model", "model_not_found"), ProviderNotFoundError),
        (429, openai_error("slow down", "rate_limit_exceeded"), ProviderRateLimitedError),
        (429, openai_error(QUOTA, "insufficient_quota", "insufficient_quota"), ProviderQuotaError),
        (402, openai_error("Insufficient credits"), ProviderQuotaError),
        (403, openai_error("Your team has used all available credits"), ProviderQuotaError),
        (400, {"code": "Arrearage", "message": "overdue"}, ProviderQuotaError),
        (500, openai_error("oops", None, "server_error"), ProviderOverloadedError),
        (500, openai_error("it took too long"), ProviderOverloadedError),
        (400, openai_error("128000 tokens", "context_length_exceeded"), ContextTooLongError),
        (400, {"object": "error", "message": "This model's maximum context length is 9 tokens"}, ContextTooLongError),
        (400, {"error": {"code": 400, "type": "exceed_context_size_error", "message": "x"}}, ContextTooLongError),
        (400, openai_error("no", "content_policy_violation"), ContentRefusedError),
        (400, openai_error("no", "content_filter"), ContentRefusedError),
        (400, openai_error("no", "data_inspection_failed"), ContentRefusedError),
        (422, {"detail": [{"type": "extra_forbidden"}]}, ProviderRejectedError),
        (401, anthropic_error("authentication_error"), ProviderAuthenticationError),
        (403, anthropic_error("permission_error"), ProviderAuthenticationError),
        (404, anthropic_error("not_found_error"), ProviderNotFoundError),
        (413, anthropic_error("request_too_large"), ContextTooLongError),
        (400, anthropic_error("invalid_request_error", "prompt is too long: 9 > 8"), ContextTooLongError),
        (
            400,
            anthropic_error("invalid_request_error", "input length and `max_tokens` exceed context limit: 9 > 8"),
            ContextTooLongError,
        ),
        (400, anthropic_error("invalid_request_error", "Your credit balance is too low"), ProviderQuotaError),
        (402, anthropic_error("billing_error"), ProviderQuotaError),
        (429, anthropic_error("rate_limit_error"), ProviderRateLimitedError),
        (500, anthropic_error("api_error"), ProviderOverloadedError),
        (529, anthropic_error("overloaded_error"), ProviderOverloadedError),
        (400, google_error(400, "INVALID_ARGUMENT"), ProviderRejectedError),
        (
            400,
            google_error(400, "INVALID_ARGUMENT", "API key not valid", {"reason": "API_KEY_INVALID"}),
            ProviderAuthenticationError,
        ),
        (
            400,
            google_error(
                400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8)."
            ),
            ContextTooLongError,
        ),
        (403, google_error(403, "PERMISSION_DENIED"), ProviderAuthenticationError),
        (404, google_error(404, "NOT_FOUND"), ProviderNotFoundError),
        (429, google_error(429, "RESOURCE_EXHAUSTED", QUOTA), ProviderRateLimitedError),
        (503, [google_error(503, "UNAVAILABLE")], ProviderOverloadedError),
        (302, "moved", ProviderRejectedError),
    ],
)
def test_every_error_means_one_of_ours(openai: Speaker, status: int, body: Any, kind: type[ProviderError]) -> None:
    error = openai.fail(status, body)

    assert type(error) is kind
    assert error.is_retryable is (kind in {ProviderRateLimitedError, ProviderOverloadedError})
    assert not error.may_be_charged
    assert len(openai.endpoint.requests) == 1


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"Retry-After": "7"}, {}, 7),
        ({"retry-after-ms": "250", "Retry-After": "1"}, {}, 0.25),
        ({"retry-after-ms": "soon", "Retry-After": "1"}, {}, 1),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, {}, 0),
        ({"Retry-After": "-5"}, {}, 0),
        ({"Retry-After": "nan"}, {}, None),
        ({}, google_error(429, "RESOURCE_EXHAUSTED", "no", {"@type": "RetryInfo", "retryDelay": "34.5s"}), 34.5),
        ({}, google_error(429, "RESOURCE_EXHAUSTED", "no", {"@type": "RetryInfo", "retryDelay": 5}), None),
        ({}, {}, None),
    ],
)
def test_the_wait_is_what_the_provider_says(
    openai: Speaker, headers: dict[str, str], body: dict[str, Any], wait_s: float | None
) -> None:
    assert openai.fail(429, body, headers).retry_after_s == wait_s


def test_errors_name_the_exchange(openai: Speaker) -> None:
    assert "[request req_9]" in str(openai.fail(500, {}, {"request-id": "req_9"}))


@pytest.mark.parametrize(
    ("dialect", "path", "body", "is_there"),
    [
        ("openai", "/v1/models", {"data": [{"id": "some-1"}]}, True),
        ("openai", "/v1/models", {"data": [{"id": "other"}]}, False),
        ("anthropic", "/v1/models/some-1", {"type": "model", "id": "some-1"}, True),
        ("anthropic", "/v1/models/some-1", None, False),
        ("google", "/v1/v1beta/models/some-1", {"name": "models/some-1"}, True),
        ("google", "/v1/v1beta/models/some-1", None, False),
    ],
)
def test_probes_ask_for_the_model_alone(
    http: HttpClient, endpoint: Endpoint, dialect: str, path: str, body: Any, is_there: bool
) -> None:
    speaker = Speaker(dialect, http, endpoint)
    endpoint.answer = reply(200 if body else 404, json.dumps(body))

    assert speaker.provider.probe(make_profile(model_version="some-1")) is is_there
    assert endpoint.requests[0][0] == path


# --- the key -----------------------------------------------------------------------------------------------------


def chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException | None] = [None]
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each not in seen and each is not None:
            seen.append(each)
            waiting += [each.__cause__, each.__context__]
            yield each


@pytest.mark.parametrize(
    "answer",
    [
        reply(401, json.dumps(openai_error(f"Incorrect API key provided: {KEY}"))),
        reply(500, f"<html>{KEY}</html>"),
        reply(200, f"{KEY} is no JSON"),
        reply(200, "[]"),
        reply(302, "", {"Location": "http://127.0.0.1:1/elsewhere"}),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nhalf"),
        raw(b"not HTTP at all\r\n\r\n"),
        hang_up,
    ],
)
def test_the_key_is_in_no_error_and_no_log(
    any_speaker: Speaker, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    with pytest.raises(ProviderError) as caught:
        any_speaker.ask(answer)

    for error in chain(caught.value):
        assert KEY not in f"{error} {error!r} {error.args}"
    assert KEY not in caplog.text
    assert KEY not in repr(any_speaker.provider)
    assert KEY not in repr(vars(any_speaker.provider))


@pytest.mark.parametrize("bad", [f"{KEY}\nX-Evil: 1", f"{KEY}\u20ac", f"{KEY}\x00"])
@pytest.mark.parametrize("dialect", list(DIALECTS))
def test_a_key_that_no_header_may_hold_is_not_repeated(
    http: HttpClient, endpoint: Endpoint, dialect: str, bad: str
) -> None:
    provider = DIALECTS[dialect](http, base_url=endpoint.url, api_key=SecretStr(bad))

    with pytest.raises(ProviderAuthenticationError) as caught:
        provider.complete(make_request())

    assert all(KEY not in f"{error!r}" for error in chain(caught.value))
    assert not endpoint.requests


def test_the_key_is_in_no_record(any_speaker: Speaker) -> None:
    body = {**chat(), **message(), **candidates("because")}

    completion = any_speaker.read(body)

    assert KEY not in completion.model_dump_json()
    assert KEY not in any_speaker.endpoint.requests[0][0]
    assert KEY.encode() not in any_speaker.endpoint.requests[0][2]


# --- proxies -----------------------------------------------------------------------------------------------------


KNOWN = {"http://models.invalid:80", "https://models.invalid:443"}  # nobody looks them up


def make_proxied(proxy: str) -> HttpClient:
    return HttpClient(
        pool_size=1, connect_timeout_s=5, read_timeout_s=30, max_bytes=10_000, proxy=proxy, known_origins=KNOWN
    )


def test_a_proxy_that_is_configured_is_used(endpoint: Endpoint) -> None:
    endpoint.answer = reply(body='{"data": []}')
    proxied = make_proxied(endpoint.url.removesuffix("/v1"))

    proxied.get_json("gpt4", "http://models.invalid/v1/models", {})
    proxied.close()

    assert endpoint.requests[0][0] == "http://models.invalid/v1/models"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_behind_a_proxy_that_is_gone_nothing_was_sent(scheme: str) -> None:
    proxied = make_proxied(f"http://user:{KEY}@127.0.0.1:{free_port()}")

    with pytest.raises(ProviderConnectionError) as caught:
        proxied.get_json("gpt4", f"{scheme}://models.invalid/v1/models", {})
    proxied.close()

    assert not caught.value.may_be_charged
    assert all(KEY not in f"{error} {error!r}" for error in chain(caught.value))


def test_behind_a_proxy_too_it_is_asked_again_whether_the_call_is_wanted(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestratex.providers.connections._QUICK_HANDSHAKE_S", -1.0)  # every handshake is a long one
    proxied = make_proxied(endpoint.url.removesuffix("/v1"))
    wish = STILL_WANTED.set(lambda: False)
    try:
        with pytest.raises(CallUnwantedError):
            proxied.get_json("gpt4", "http://models.invalid/v1/models", {})
    finally:
        STILL_WANTED.reset(wish)
        proxied.close()

    assert endpoint.requests == []


# --- bootstrap ---------------------------------------------------------------------------------------------------


def make_providers(http: HttpClient, **settings: Any) -> HttpProviders:
    keys = dict.fromkeys(("openai_api_key", "anthropic_api_key", "google_api_key"))
    return HttpProviders(Settings.model_validate({"models_base_url": None, **keys, **settings}), http)


@pytest.mark.parametrize("dialect", list(DIALECTS))
def test_a_profile_chooses_its_dialect(http: HttpClient, dialect: str) -> None:
    providers = make_providers(http)
    profile = make_profile(dialect=dialect, api_endpoint="http://127.0.0.1:9", api_key_required=False)

    assert providers.can_serve(profile)
    assert isinstance(providers.of(profile), DIALECTS[dialect])  # type: ignore[arg-type]
    assert providers.of(profile) is providers.of(profile)


def test_a_gateway_is_spoken_to_in_the_openai_dialect(http: HttpClient) -> None:
    providers = make_providers(http, models_base_url="http://127.0.0.1:9/v1")
    profile = make_profile(dialect="anthropic", provider="anthropic")

    assert providers.can_serve(profile)
    assert isinstance(providers.of(profile), DIALECTS["openai"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [{"dialect": "klingon"}, {"api_endpoint": "http://169.254.169.254/v1"}, {"api_endpoint": "file:///etc/passwd"}],
)
def test_what_cannot_be_spoken_to_is_said_so(http: HttpClient, fields: dict[str, Any]) -> None:
    providers = make_providers(http, openai_api_key=KEY)

    with pytest.raises(ProviderNotFoundError) as caught:
        providers.of(make_profile(**fields))

    assert KEY not in str(caught.value)


def test_a_missing_key_is_said_so(http: HttpClient) -> None:
    providers = make_providers(http)

    assert not providers.can_serve(make_profile())
    with pytest.raises(ProviderAuthenticationError, match="no key for openai is set"):
        providers.of(make_profile())


# --- the evaluators' schema --------------------------------------------------------------------------------------


def test_the_schema_of_evaluations_is_strict_all_the_way_down() -> None:
    def check(schema: dict[str, Any]) -> None:
        assert set(schema) <= {"type", "properties", "required", "additionalProperties", "items", "enum"}
        if schema["type"] == "object":
            assert schema["additionalProperties"] is False
            assert schema["required"] == list(schema["properties"])
        for each in schema.get("properties", {}).values():
            check(each)
        if "items" in schema:
            check(schema["items"])

    check(evaluation_schema())

    assert {"criteria", "criticisms", "confidence"} <= set(evaluation_schema()["properties"])


def make_usage(counts: tuple[int, ...] | None) -> Usage | None:
    if counts is None:
        return None
    given, generated, cached, reasoning, *written = counts
    return Usage(
        input_tokens=given,
        output_tokens=generated,
        total_tokens=given + generated,
        cached_tokens=cached,
        reasoning_tokens=reasoning,
        cache_write_tokens=sum(written),
    )
