"""All three dialects over real HTTP: each adapter against the sandbox that speaks its provider's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from orchestratex.bootstrap import HttpProviders
from orchestratex.domain.base import FinishReason, ThreadStatus
from orchestratex.domain.response import Completion
from orchestratex.errors import (
    ContentRefusedError,
    MalformedCompletionError,
    ProviderAuthenticationError,
    ProviderDisconnectedError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderRateLimitedError,
)
from orchestratex.providers.base import CompletionRequest, Provider
from orchestratex.providers.dialects import DIALECTS
from orchestratex.providers.http import HttpClient
from orchestratex.rules import markers
from orchestratex.rules.pricing import completion_cost, prompt_tokens, worst_case
from orchestratex.rules.replies import MalformedReplyError, parse_evaluation
from orchestratex.rules.schemas import evaluation_schema
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.models import MODELS
from orchestratex.sandbox.server import Running, serve
from orchestratex.settings import Settings
from orchestratex.store.migrations import shipped_profiles
from tests.make import NOW, make_profile
from tests.support import ADMIN, ADMIN_KEY, World

KEY = "sk-planted-key-0123456789"
TIMEOUT_S = 20
DIALECT_BY_MODEL = {profile.model_name: profile.dialect for profile in shipped_profiles(NOW)}
NO_KEYS = ("models_base_url", "openai_api_key", "anthropic_api_key", "google_api_key", "xai_api_key")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve(SandboxConfig(latency_scale=0, admin_key=SecretStr(ADMIN_KEY))) as running:
        yield running


@pytest.fixture
def sandbox(server: Running) -> Running:
    for path in ("faults", "ledger"):
        requests.delete(f"{server.address}/sandbox/{path}", headers=ADMIN, timeout=TIMEOUT_S).raise_for_status()
    return server


@pytest.fixture
def http() -> Iterator[HttpClient]:
    made = HttpClient(pool_size=4, connect_timeout_s=5, read_timeout_s=TIMEOUT_S, max_bytes=1_000_000)
    yield made
    made.close()


@pytest.fixture(params=list(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def provider(dialect: str, sandbox: Running, http: HttpClient) -> Provider:
    return DIALECTS[dialect](http, base_url=sandbox.endpoint(dialect), api_key=SecretStr(KEY))


def make_request(task: str = markers.TASK_ANSWER, **fields: Any) -> CompletionRequest:
    blocks = [
        markers.fence("PROMPT", "Write a python function that parses invoices", "ab12"),
        markers.fence("ANSWER", "Nothing yet.", "ab12"),
    ]
    values = {
        "model_name": "gpt4",
        "model_version": MODELS["gpt4"].version,
        "system": task,
        "user": "\n".join(blocks),
        "max_tokens": 2000,
        "seed": 3,
        "idempotency_key": "abc.1",
    }
    return CompletionRequest.model_validate({**values, **fields})


def make_evaluation_request(**fields: Any) -> CompletionRequest:
    return make_request(markers.TASK_EVALUATE, json_schema=evaluation_schema(), **fields)


def put_faults(sandbox: Running, *faults: dict[str, Any]) -> None:
    requests.put(f"{sandbox.address}/sandbox/faults", json=faults, headers=ADMIN, timeout=TIMEOUT_S).raise_for_status()


def fail(provider: Provider, request: CompletionRequest | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        provider.complete(request or make_request())
    assert KEY not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    return caught.value


def test_a_completion_is_read_and_counted_as_the_sandbox_counted_it(provider: Provider, sandbox: Running) -> None:
    completion = provider.complete(make_request())

    (entry,) = sandbox.state.ledger.entries
    assert completion.text
    assert completion.finish_reason is FinishReason.STOP
    assert completion.usage is not None
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (entry.input_tokens, entry.output_tokens)
    assert completion.model_version == MODELS["gpt4"].version
    assert completion.request_id
    assert entry.idempotency_key == "abc.1"


def test_a_limit_is_kept(provider: Provider) -> None:
    completion = provider.complete(make_request(max_tokens=20))

    assert completion.finish_reason is FinishReason.LENGTH
    assert completion.usage is not None
    assert completion.usage.output_tokens == 20


def test_an_evaluation_comes_in_the_schema_that_was_asked_for(provider: Provider) -> None:
    completion = provider.complete(make_evaluation_request())

    assert set(json.loads(completion.text)) == set(evaluation_schema()["properties"])
    assert parse_evaluation(completion.text).criticisms
    assert completion.finish_reason is FinishReason.STOP


def test_any_task_is_held_to_a_schema(provider: Provider) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string"}, "score": {"type": "number"}},
        "required": ["answer", "score"],
        "additionalProperties": False,
    }

    reply = json.loads(provider.complete(make_request(json_schema=schema)).text)

    assert set(reply) == {"answer", "score"}
    assert isinstance(reply["answer"], str)


def test_a_schema_costs_no_more_than_its_worst_case(provider: Provider, sandbox: Running) -> None:
    profile = make_profile(cost_per_input_token=2.5e-6, cost_per_output_token=1e-5)
    request = make_evaluation_request()
    text = f"{request.system}\n\n{request.user}"

    cost, _, _ = completion_cost(profile, provider.complete(request), prompt=text)

    given = prompt_tokens(text, json_schema=request.json_schema)
    assert cost == sandbox.state.ledger.entries[0].cost_nanos
    assert cost <= worst_case(profile, input_tokens=given, max_tokens=request.max_tokens)


@pytest.mark.parametrize("limit", [20, 100])
def test_an_evaluation_that_is_cut_off_is_not_read(provider: Provider, limit: int) -> None:
    completion = provider.complete(make_evaluation_request(max_tokens=limit))

    assert completion.finish_reason is FinishReason.LENGTH
    with pytest.raises(MalformedReplyError):
        parse_evaluation(completion.text)


def test_a_malformed_evaluation_is_not_read(provider: Provider, sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "malformed"})

    with pytest.raises(MalformedReplyError):
        parse_evaluation(provider.complete(make_evaluation_request()).text)


def test_an_empty_completion_is_empty_and_billed(provider: Provider, sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "empty"})

    completion = provider.complete(make_request())

    assert completion.text == ""
    assert completion.usage is not None
    assert completion.usage.input_tokens > 0


def test_a_refusal_keeps_what_was_billed(provider: Provider, sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "refusal"})

    error = fail(provider)

    (entry,) = sandbox.state.ledger.entries
    assert isinstance(error, ContentRefusedError)
    assert isinstance(error.completion, Completion)
    assert error.completion.usage is not None
    assert error.completion.usage.input_tokens == entry.input_tokens
    assert error.may_be_charged
    assert not error.is_retryable


def test_a_rate_limit_says_when_to_come_back(dialect: str, provider: Provider, sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "rate_limit", "retry_after_s": 1.5})

    error = fail(provider)

    assert isinstance(error, ProviderRateLimitedError)
    assert error.retry_after_s == {"anthropic": 2, "openai": 1.5, "google": 1.5}[dialect]


def test_overload_has_each_providers_own_status(dialect: str, provider: Provider, sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "server_error"})

    error = fail(provider)

    assert isinstance(error, ProviderOverloadedError)
    assert f"HTTP { {'openai': 500, 'anthropic': 529, 'google': 503}[dialect] }:" in str(error)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("garbage", MalformedCompletionError),
        ("truncated", MalformedCompletionError),
        ("drop", ProviderDisconnectedError),
        ("drop_after", ProviderDisconnectedError),
    ],
)
def test_broken_replies_may_have_been_charged(
    provider: Provider, sandbox: Running, kind: str, expected: type[ProviderError]
) -> None:
    put_faults(sandbox, {"kind": kind})

    error = fail(provider)

    assert type(error) is expected
    assert error.may_be_charged


def test_an_unknown_model_is_not_found(provider: Provider) -> None:
    assert isinstance(fail(provider, make_request(model_version="no-such-model")), ProviderNotFoundError)
    assert provider.probe(make_profile(model_version="no-such-model")) is False


@pytest.mark.parametrize("version", [model.version for model in MODELS.values()])
def test_every_model_is_found(provider: Provider, version: str) -> None:
    assert provider.probe(make_profile(model_version=version)) is True


def test_a_missing_key_is_an_authentication_error(dialect: str, sandbox: Running, http: HttpClient) -> None:
    provider = DIALECTS[dialect](http, base_url=sandbox.endpoint(dialect), api_key=SecretStr(""))

    assert isinstance(fail(provider), ProviderAuthenticationError)


@pytest.mark.parametrize(
    ("path", "headers", "body", "shape"),
    [
        ("anthropic/v1/messages", {}, {}, {"type": "error", "error": {"type": "authentication_error"}}),
        (
            "anthropic/v1/messages",
            {"x-api-key": "k"},
            {},
            {"type": "error", "error": {"type": "invalid_request_error"}},
        ),
        (
            "anthropic/v1/messages",
            {"x-api-key": "k", "anthropic-version": "2023-06-01"},
            {"model": "claude", "messages": [{"role": "user", "content": "x"}]},
            {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: Field required"}},
        ),
        (
            "google/v1beta/models/gemini:generateContent",
            {},
            {},
            {"error": {"code": 403, "status": "PERMISSION_DENIED"}},
        ),
        (
            "google/v1beta/models/gemini:generateContent",
            {"x-goog-api-key": "k"},
            {},
            {"error": {"code": 400, "status": "INVALID_ARGUMENT"}},
        ),
    ],
)
def test_errors_have_their_providers_shape(
    sandbox: Running, path: str, headers: dict[str, str], body: dict[str, Any], shape: dict[str, Any]
) -> None:
    found = requests.post(f"{sandbox.address}/{path}", json=body, headers=headers, timeout=TIMEOUT_S).json()

    assert {name: found[name] for name in shape if name != "error"} == {k: v for k, v in shape.items() if k != "error"}
    assert shape["error"].items() <= found["error"].items()


def test_models_are_listed_in_every_dialect(sandbox: Running) -> None:
    lists = [
        requests.get(f"{sandbox.address}/{path}/models", timeout=TIMEOUT_S).json()
        for path in ("v1", "anthropic/v1", "google/v1beta")
    ]

    versions = {model.version for model in MODELS.values()}
    assert {row["id"] for row in lists[0]["data"]} == versions
    assert {row["id"] for row in lists[1]["data"]} == versions
    assert {row["name"].removeprefix("models/") for row in lists[2]["models"]} == versions


@pytest.mark.parametrize("keys", [{}, {"openai_api_key": KEY, "anthropic_api_key": KEY, "google_api_key": KEY}])
def test_the_whole_loop_runs_over_a_pool_of_all_three_dialects(
    sandbox: Running, http: HttpClient, keys: dict[str, str]
) -> None:
    settings = Settings.model_validate({**dict.fromkeys(NO_KEYS), **keys})
    world = World(settings=settings)
    for name, dialect in DIALECT_BY_MODEL.items():
        changes = {"api_endpoint": sandbox.endpoint(dialect), "api_key_required": False}
        world.store.update_profile(name, changes)
    world.services = replace(world.services, providers=HttpProviders(settings, http))

    thread = world.solve("Write a python function that parses invoices", max_iterations=3)

    responses = world.store.responses_of(thread.id)
    spoken = {DIALECT_BY_MODEL[response.model_name] for response in responses}
    entries = sandbox.state.ledger.entries
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_response
    assert spoken == set(DIALECTS)
    assert {entry.outcome for entry in entries} == {"ok"}
    assert sum(response.cost_nanos for response in responses) == sum(entry.cost_nanos for entry in entries)
    assert len(world.store.evaluations_of(thread.id)) == sum(entry.task == "evaluate" for entry in entries)
    assert KEY not in str([*responses, *world.store.logs_of(thread.id), thread])


@pytest.mark.parametrize(
    ("kind", "reason", "has_text"),
    [
        ("cut_off", FinishReason.LENGTH, True),
        ("empty_cut_off", FinishReason.LENGTH, False),
        ("filtered", FinishReason.REFUSAL, True),
    ],
)
def test_a_reply_that_is_not_whole_is_a_completion_that_says_why(
    provider: Provider, sandbox: Running, kind: str, reason: FinishReason, has_text: bool
) -> None:
    put_faults(sandbox, {"kind": kind})

    completion = provider.complete(make_request(max_tokens=300))

    assert (completion.finish_reason, bool(completion.text)) == (reason, has_text)
    assert completion.usage is not None
    assert (completion.usage.output_tokens == 300) is (reason is FinishReason.LENGTH)
