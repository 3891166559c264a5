from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from orchestratex.domain.base import FinishReason
from orchestratex.domain.response import Usage
from orchestratex.errors import ContentRefusedError, MalformedCompletionError, ProviderAuthenticationError
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.http import HttpClient
from orchestratex.providers.openai import OpenAIProvider
from tests.make import make_profile
from tests.unit.providers.conftest import Endpoint, reply

KEY = "sk-very-secret-key-1234"
REQUEST = CompletionRequest(
    model_name="gpt4",
    model_version="gpt-4o-1",
    system="be brief",
    user="why?",
    max_tokens=50,
    temperature=0.2,
    seed=3,
    idempotency_key="abc.1",
)
BODY: dict[str, Any] = {
    "id": "req-1",
    "model": "gpt-4o-1-served",
    "choices": [{"message": {"role": "assistant", "content": "because"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 99},
}


@pytest.fixture
def provider(http: HttpClient, endpoint: Endpoint) -> OpenAIProvider:
    return OpenAIProvider(http, base_url=endpoint.url + "/", api_key=SecretStr(KEY))


def body_with(**fields: Any) -> str:
    return json.dumps({**BODY, **fields})


def message(**fields: Any) -> str:
    return body_with(choices=[{"message": fields, "finish_reason": "stop"}])


def test_a_call_is_sent_as_the_dialect_wants_it(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    endpoint.answer = reply(body=body_with())

    provider.complete(REQUEST)

    (path, headers, sent), *_ = endpoint.requests
    assert path == "/v1/chat/completions"
    assert (headers["Authorization"], headers["Idempotency-Key"]) == (f"Bearer {KEY}", "abc.1")
    assert json.loads(sent) == {
        "model": "gpt-4o-1",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why?"}],
        "max_tokens": 50,
        "temperature": 0.2,
        "seed": 3,
    }


def test_a_completion_is_read(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    endpoint.answer = reply(body=body_with())

    completion = provider.complete(REQUEST)

    assert (completion.text, completion.finish_reason) == ("because", FinishReason.STOP)
    assert completion.usage == Usage(input_tokens=9, output_tokens=4, total_tokens=13)
    assert (completion.request_id, completion.model_version) == ("req-1", "gpt-4o-1-served")
    assert completion.cost_usd is None
    assert completion.latency_ms > 0


def test_cached_and_reasoning_tokens_are_part_of_the_usage(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    usage = {
        **BODY["usage"],
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    endpoint.answer = reply(body=body_with(usage=usage))

    read = provider.complete(REQUEST).usage

    assert read == Usage(input_tokens=9, output_tokens=4, total_tokens=13, cached_tokens=5, reasoning_tokens=2)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"prompt_tokens": 9},
        {"prompt_tokens": "9", "completion_tokens": 4},
        {"prompt_tokens": -1, "completion_tokens": 4},
        {"prompt_tokens": True, "completion_tokens": 4},
        {"prompt_tokens": 10**30, "completion_tokens": 4},
    ],
)
def test_usage_that_is_not_stated_is_unknown(provider: OpenAIProvider, endpoint: Endpoint, usage: object) -> None:
    endpoint.answer = reply(body=body_with(usage=usage))

    assert provider.complete(REQUEST).usage is None


@pytest.mark.parametrize("details", [None, [], {"cached_tokens": None}, {"cached_tokens": -1}, {"cached_tokens": "5"}])
def test_details_that_make_no_sense_count_nothing(
    provider: OpenAIProvider, endpoint: Endpoint, details: object
) -> None:
    endpoint.answer = reply(body=body_with(usage={**BODY["usage"], "prompt_tokens_details": details}))

    assert provider.complete(REQUEST).usage == Usage(input_tokens=9, output_tokens=4, total_tokens=13)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.REFUSAL),
        ("tool_calls", FinishReason.OTHER),
        (None, FinishReason.OTHER),
        (["stop"], FinishReason.OTHER),
    ],
)
def test_why_a_provider_stopped(
    provider: OpenAIProvider, endpoint: Endpoint, said: object, meant: FinishReason
) -> None:
    endpoint.answer = reply(body=body_with(choices=[{"message": {"content": "x"}, "finish_reason": said}]))

    assert provider.complete(REQUEST).finish_reason is meant


def test_a_refusal_is_told_apart_from_an_answer(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    endpoint.answer = reply(body=message(content=None, refusal="I will not."))

    with pytest.raises(ContentRefusedError, match="I will not"):
        provider.complete(REQUEST)


@pytest.mark.parametrize("content", [None, ""])
def test_an_empty_completion_is_a_completion(provider: OpenAIProvider, endpoint: Endpoint, content: str | None) -> None:
    endpoint.answer = reply(body=message(content=content))

    assert provider.complete(REQUEST).text == ""


def test_half_a_surrogate_pair_does_not_break_the_ledger(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    endpoint.answer = reply(body=message(content="a\ud800b"))

    assert provider.complete(REQUEST).text == "a\ufffdb"


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        body_with(choices=[]),
        body_with(choices=None),
        body_with(choices={}),
        body_with(choices=["x"]),
        body_with(choices=[{}]),
        body_with(choices=[{"message": None}]),
        body_with(choices=[{"message": "x"}]),
        message(content=7),
        message(content=[{"type": "text"}]),
        message(content={"a": 1}),
    ],
)
def test_what_is_no_completion_is_malformed(provider: OpenAIProvider, endpoint: Endpoint, body: str) -> None:
    endpoint.answer = reply(body=body)

    with pytest.raises(MalformedCompletionError):
        provider.complete(REQUEST)


def test_a_wrong_key_is_told_without_the_key(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    endpoint.answer = reply(401, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}))

    with pytest.raises(ProviderAuthenticationError) as caught:
        provider.complete(REQUEST)

    assert KEY not in str(caught.value)
    assert KEY not in repr(vars(provider))


ROW = {"id": "gpt4-1", "object": "model"}


@pytest.mark.parametrize(
    ("body", "is_served"),
    [
        ({"data": [ROW]}, True),
        ({"data": [{"id": "other"}, "x", None, {"id": 7}]}, False),
        ({"data": []}, False),
        ({"object": "list", "data": None}, False),
        ([ROW], True),
        ([], False),
        (["gpt4-1"], True),
        ({"object": "list", "data": [{"id": "gpt4-1:latest"}]}, True),
        ({"data": [{"id": "GPT4-1"}]}, True),
        ({"data": [{"id": "models/gpt4-1"}]}, True),
        ({"data": [{"id": "other", "aliases": ["gpt4-1"]}]}, True),
        ({"data": [{"id": "alias", "root": "gpt4-1"}]}, True),
        ({"models": [{"name": "gpt4-1:latest", "model": "gpt4-1:latest"}]}, True),
        ({"models": [{"name": "x"}], "data": [ROW]}, True),
        ({"data": {"gpt4-1": {}}}, True),
        ({"data": [{"id": "gpt4-1-mini"}, {"id": "my-gpt4-1"}, {"id": "gpt4-1:q4"}]}, False),
    ],
)
def test_a_probe_looks_for_the_models_version_in_every_kind_of_list(
    provider: OpenAIProvider, endpoint: Endpoint, body: object, is_served: bool
) -> None:
    endpoint.answer = reply(body=json.dumps(body))

    assert provider.probe(make_profile("gpt4")) is is_served
    assert [path for path, _, _ in endpoint.requests] == ["/v1/models"]


@pytest.mark.parametrize("body", ["{}", "7", '"text"', '{"data": "text"}', '{"object": "list"}'])
def test_a_probe_that_lists_nothing_is_malformed(provider: OpenAIProvider, endpoint: Endpoint, body: str) -> None:
    endpoint.answer = reply(body=body)

    with pytest.raises(MalformedCompletionError):
        provider.probe(make_profile("gpt4"))


def test_an_error_in_place_of_a_list_is_an_error(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    endpoint.answer = reply(body='{"error": {"message": "no key", "code": 401}}')

    with pytest.raises(ProviderAuthenticationError, match="no key"):
        provider.probe(make_profile("gpt4"))
