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
from orchestratex.domain.base import Effort, FinishReason, ThreadStatus
from orchestratex.domain.capabilities import Capabilities, choose_effort, without
from orchestratex.domain.prices import Span
from orchestratex.domain.response import Completion
from orchestratex.errors import (
    ContentRefusedError,
    MalformedCompletionError,
    ParameterRefusedError,
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
from tests.support import ADMIN, ADMIN_KEY, ALL_OTHERS, World

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


def test_the_sandbox_says_who_it_is_in_every_dialect(provider: Provider) -> None:
    assert provider.complete(make_request()).is_simulated


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
    profile = make_profile(cost_per_input_token=2e-6, cost_per_output_token=1e-5)
    request = make_evaluation_request()
    text = f"{request.system}\n\n{request.user}"

    cost, _, _ = completion_cost(profile, provider.complete(request), prompt=text, at=NOW)

    given = prompt_tokens(text, json_schema=request.json_schema)
    assert cost == sandbox.state.ledger.entries[0].cost_nanos
    assert cost <= worst_case(profile, input_tokens=given, max_tokens=request.max_tokens, span=Span(NOW, NOW))


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
    settings = Settings.model_validate({**dict.fromkeys(NO_KEYS), **keys, "panel_size": ALL_OTHERS})
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


# --- what versions take and refuse --------------------------------------------------------------------------------


SLOT_BY_VERSION = {
    "gpt-4o-2024-08-06": "gpt4",
    "o3-mini": "gpt4",
    "gpt-5.1": "gpt4",
    "gpt-6.1-sol": "gpt4",
    "gpt-6.1-terra": "gpt4-turbo",
    "grok-4-0709": "grok",
    "grok-4.7": "grok",
    "mistral-large-2407": "mistral",
    "mistral-large-4-0": "mistral",
    "claude-3-5-sonnet-20241022": "claude",
    "claude-opus-4-6": "claude",
    "claude-sonnet-5-5": "claude",
    "claude-opus-5-5": "claude",
    "gemini-2.5-flash": "gemini",
    "gemini-4-argon": "gemini",
    "gemini-4-hydrogen": "gemini",
}
TODAY = {
    "gpt4": "gpt-6.1-sol",
    "gpt4-turbo": "gpt-6.1-terra",
    "grok": "grok-4.7",
    "claude": "claude-sonnet-5-5",
    "mistral": "mistral-large-4-0",
    "gemini": "gemini-4-argon",
}
OF_THE_HOST = {"mistral": ["seed"]}  # its name for a seed is known by its host, and here that is the sandbox
EFFORTS = [None, *Effort]
UNKNOWN = Capabilities(efforts=["none", "low", "medium", "high"])  # as if all of it were taken


@pytest.fixture(scope="module")
def strict_server() -> Iterator[Running]:
    config = SandboxConfig(latency_scale=0, admin_key=SecretStr(ADMIN_KEY), versions=SLOT_BY_VERSION)
    with serve(config) as running:
        yield running


@pytest.fixture
def strict(strict_server: Running) -> Running:
    requests.delete(f"{strict_server.address}/sandbox/ledger", headers=ADMIN, timeout=TIMEOUT_S).raise_for_status()
    return strict_server


def speaker(version: str, strict: Running, http: HttpClient) -> Provider:
    dialect = DIALECT_BY_MODEL[SLOT_BY_VERSION[version]]
    return DIALECTS[dialect](http, base_url=strict.endpoint(dialect), api_key=SecretStr(KEY))


def complete_at_last(provider: Provider, request: CompletionRequest) -> tuple[Completion, list[str]]:
    """Send it without each parameter that is refused, until nothing is."""
    refused: list[str] = []
    known = request.capabilities
    while True:
        taken = without(known, refused)
        effort = choose_effort(taken, request.effort)
        schema = None if taken.json_schema is False else request.json_schema
        asked = {"capabilities": taken, "effort": effort, "json_schema": schema}
        try:
            return provider.complete(request.model_copy(update=asked)), refused
        except ParameterRefusedError as error:
            if error.parameter in refused:
                raise
            refused.append(error.parameter)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("version", SLOT_BY_VERSION)
def test_a_version_of_which_nothing_is_known_is_answered_by_when_its_refusals_are(
    strict: Running, http: HttpClient, version: str, effort: Effort | None
) -> None:
    provider = speaker(version, strict, http)
    request = make_evaluation_request(model_version=version, effort=effort, capabilities=UNKNOWN, max_tokens=8000)

    completion, refused = complete_at_last(provider, request)
    again, more = complete_at_last(provider, request.model_copy(update={"capabilities": without(UNKNOWN, refused)}))

    assert parse_evaluation(completion.text).criticisms == parse_evaluation(again.text).criticisms
    assert more == []
    assert completion.served_version == version
    assert completion.usage is not None
    assert {entry.outcome for entry in strict.state.ledger.entries if entry.status == 200} == {"ok"}


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("slot", TODAY)
def test_what_the_shipped_profiles_say_is_refused_by_none_of_todays_versions(
    strict: Running, http: HttpClient, slot: str, effort: Effort | None
) -> None:
    (profile,) = (each for each in shipped_profiles(NOW) if each.model_name == slot)
    taken = profile.capabilities
    request = make_evaluation_request(
        model_version=TODAY[slot], effort=choose_effort(taken, effort), capabilities=taken, max_tokens=8000
    )

    completion, refused = complete_at_last(speaker(TODAY[slot], strict, http), request)

    assert refused == OF_THE_HOST.get(slot, [])
    assert parse_evaluation(completion.text).criticisms


@pytest.mark.parametrize("version", ["claude-sonnet-5-5", "gemini-4-argon", "gpt-6.1-sol"])
def test_thoughts_use_up_a_limit_that_leaves_no_room_for_a_text(
    strict: Running, http: HttpClient, version: str
) -> None:
    profile = next(each for each in shipped_profiles(NOW) if each.model_name == SLOT_BY_VERSION[version])
    request = make_request(model_version=version, effort=Effort.HIGH, capabilities=profile.capabilities, max_tokens=100)

    completion = speaker(version, strict, http).complete(request)

    assert (completion.finish_reason, completion.text) == (FinishReason.LENGTH, "")
    assert completion.usage is not None
    assert completion.usage.output_tokens == 100


def test_lists_say_what_versions_take(strict: Running, http: HttpClient) -> None:
    def look_up(version: str) -> Capabilities:
        entry = speaker(version, strict, http).look_up(make_profile(model_version=version))
        assert entry is not None
        return entry.capabilities

    assert look_up("gpt-6.1-sol") == Capabilities(
        thinking="always",
        efforts=["low", "medium", "high"],
        temperature="never",
        seed=True,
        json_schema=True,
        limit_name="max_completion_tokens",
    )
    assert look_up("claude-sonnet-5-5") == Capabilities(
        thinking="by_default",
        efforts={"none": "between_tools", "low": "low", "medium": "medium", "high": "high"},
        schema_form="format",
    )
    assert look_up("claude-3-5-sonnet-20241022") == Capabilities(thinking="never", efforts=[], schema_form="tool")
    assert look_up("gemini-4-argon") == Capabilities(thinking="by_default")


@pytest.mark.parametrize("is_known", [True, False])
def test_the_whole_loop_runs_over_todays_versions_known_or_not(
    strict: Running, http: HttpClient, is_known: bool
) -> None:
    settings = Settings.model_validate(dict.fromkeys(NO_KEYS))
    world = World(settings=settings, profiles=[each for each in shipped_profiles(NOW) if each.model_name in TODAY])
    for name, version in TODAY.items():
        endpoint = strict.endpoint(DIALECT_BY_MODEL[name])
        plain = {} if is_known else {"capabilities": Capabilities(efforts=["none", "low", "medium", "high"])}
        changes = {"api_endpoint": endpoint, "api_key_required": False, "model_version": version, **plain}
        world.store.update_profile(name, {**changes, "supports_json_schema": True, "max_output_tokens": 32_000})
    world.services = replace(world.services, providers=HttpProviders(settings, http))

    first, second = (
        world.solve("Write a python function that parses invoices", max_iterations=2, effort="none") for _ in range(2)
    )

    told = [event for event in world.store.logs_of(first.id) if event.event_type == "parameter_refused"]
    again = [event for event in world.store.logs_of(second.id) if event.event_type == "parameter_refused"]
    refused = {f"{event.model_involved}: {event.details['parameter']}" for event in told}
    remembered = {
        f"{each.model_name}: {parameter}"
        for each in world.store.profiles()
        if each.refusals
        for parameter in each.refusals.parameters
    }
    entries = strict.state.ledger.entries
    responses = [each for thread in (first, second) for each in world.store.responses_of(thread.id)]
    assert {thread.thread_status for thread in (first, second)} == {ThreadStatus.COMPLETED}
    assert len(told) == len(refused)
    assert again == []
    assert refused == remembered
    assert (refused == {"mistral: seed"}) is is_known
    assert not any(each.errors for each in responses)
    assert sum(each.cost_nanos for each in responses) == sum(entry.cost_nanos for entry in entries)
    assert {each.served_version for each in responses} == {TODAY[each.model_name] for each in responses}
    assert KEY not in str([*responses, *told])
