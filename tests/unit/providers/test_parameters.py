"""What today's families take, refuse, state and answer, each in its dialect; the older ones stand beside them.

From published pages, read as stored excerpts on 27 November 2026; none was tried against a provider.
Anthropic: platform.claude.com "What's new in Claude Sonnet 5.5", "... Opus 5.5", "Troubleshooting thinking", "Models
overview"; the list's `capabilities` from its OpenAPI description of 23 September 2026. OpenAI: developers.openai.com
"Deployment checklist"; levels of gpt-6.1-sol and gpt-6.1-terra as apidog.com repeats its model pages (29 September, 27
October 2026). Google: ai.google.dev "Latest model" (Gemini 4 Argon) and "Thinking". xAI: levels of grok-4.7 as
apidog.com repeats docs.x.ai (29 September 2026). Meta: Google Cloud's page "Muse Spark 1.3". Mistral: docs.mistral.ai
"Reasoning"; of mistral-large-4 the excerpt broke off after "low, medi", its `none` is that of mistral-small-4. Alibaba:
Model Studio "Deep thinking" (18 June 2026) for enable_thinking; qwen3.8-max's levels and limit as docs.apiyi.com
measured them (August 2026). OpenRouter: "ModelReasoning". Refusals: the threads that stand beside the rows.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from orchestratex.domain.base import Effort, FinishReason
from orchestratex.domain.capabilities import Capabilities, LimitName, SchemaForm, TemperatureUse, Thinking
from orchestratex.errors import ParameterRefusedError, ProviderError, ProviderRejectedError
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.dialects import DIALECTS
from orchestratex.providers.http import HttpClient
from tests.make import make_profile
from tests.unit.providers.conftest import Endpoint, reply
from tests.unit.providers.test_dialects import SCHEMA, Speaker, candidates, chat, make_request, message

LEVELS = ["low", "medium", "high"]
WITH_NONE = ["none", *LEVELS]
ANSWERS: dict[str, dict[str, Any]] = {"openai": chat(), "anthropic": message(), "google": candidates("because")}

GPT_6_1_SOL = Capabilities(thinking="always", efforts=LEVELS, temperature="never", limit_name="max_completion_tokens")
GPT_6_1_TERRA = Capabilities(
    thinking="by_default", efforts=WITH_NONE, temperature="unless_thinking", limit_name="max_completion_tokens"
)
GPT_5_1 = Capabilities(
    thinking="on_request", efforts=WITH_NONE, temperature="unless_thinking", limit_name="max_completion_tokens"
)
O3_MINI = GPT_6_1_SOL
GROK_4_7 = Capabilities(thinking="always", efforts=LEVELS)
MUSE_SPARK = Capabilities(thinking="always", efforts=LEVELS)
MISTRAL_LARGE_4 = Capabilities(efforts=WITH_NONE)
QWEN_3_8 = Capabilities(
    thinking="by_default",
    efforts={"none": "none", "low": "low", "medium": "medium", "high": "xhigh"},
    limit_holds_thinking=False,
)
QWEN_3 = Capabilities(thinking="by_default", efforts={"none": False, "high": True}, limit_holds_thinking=False)
CLAUDE_3_5 = Capabilities(thinking="never", efforts=[], schema_form="tool")
CLAUDE_4_5 = Capabilities(
    thinking="on_request",
    efforts={"low": 2048, "medium": 8192, "high": 20_000},
    temperature="unless_thinking",
    schema_form="format",
)
CLAUDE_4_6 = Capabilities(thinking="on_request", efforts=WITH_NONE, temperature="unless_thinking", schema_form="format")
CLAUDE_SONNET_5_5 = Capabilities(
    thinking="by_default",
    efforts={"none": "between_tools", "low": "low", "medium": "medium", "high": "high"},
    temperature="never",
    schema_form="format",
)
CLAUDE_OPUS_5_5 = Capabilities(thinking="always", efforts=LEVELS, temperature="never", schema_form="format")
GEMINI_1_5 = Capabilities(thinking="never", efforts=[])
GEMINI_2_5_FLASH = Capabilities(thinking="by_default", efforts={"none": 0, "low": 1024, "high": 24_576})
GEMINI_4_ARGON = Capabilities(thinking="always", efforts=LEVELS, temperature="never")
PLAIN = Capabilities()


def sent(body: dict[str, Any], dialect: str) -> dict[str, Any]:
    """The parameters of a request, without what it asks."""
    asked = {"model", "messages", "system", "contents", "systemInstruction"}
    rest = {name: value for name, value in body.items() if name not in asked}
    return rest["generationConfig"] if dialect == "google" else rest


REQUESTS: list[tuple[str, Capabilities, str | None, dict[str, Any]]] = [
    # OpenAI: max_tokens is refused where a model reasons, a temperature too, unless the effort is none
    ("openai", GPT_6_1_SOL, None, {"max_completion_tokens": 4000, "seed": 3}),
    ("openai", GPT_6_1_SOL, "high", {"max_completion_tokens": 4000, "seed": 3, "reasoning_effort": "high"}),
    ("openai", GPT_6_1_TERRA, "low", {"max_completion_tokens": 4000, "seed": 3, "reasoning_effort": "low"}),
    (
        "openai",
        GPT_6_1_TERRA,
        "none",
        {"max_completion_tokens": 4000, "seed": 3, "temperature": 0.7, "reasoning_effort": "none"},
    ),
    ("openai", GPT_6_1_TERRA, None, {"max_completion_tokens": 4000, "seed": 3}),
    ("openai", GPT_5_1, None, {"max_completion_tokens": 4000, "seed": 3, "temperature": 0.7}),
    ("openai", GPT_5_1, "medium", {"max_completion_tokens": 4000, "seed": 3, "reasoning_effort": "medium"}),
    ("openai", O3_MINI, "low", {"max_completion_tokens": 4000, "seed": 3, "reasoning_effort": "low"}),
    ("openai", PLAIN, None, {"max_tokens": 4000, "seed": 3, "temperature": 0.7}),  # gpt-4o and all of its time
    # xAI and Meta: three levels, thinking cannot be turned off, sampling parameters are taken
    ("openai", GROK_4_7, "low", {"max_tokens": 4000, "seed": 3, "temperature": 0.7, "reasoning_effort": "low"}),
    ("openai", MUSE_SPARK, "high", {"max_tokens": 4000, "seed": 3, "temperature": 0.7, "reasoning_effort": "high"}),
    (
        "openai",
        MISTRAL_LARGE_4,
        "high",
        {"max_tokens": 4000, "seed": 3, "temperature": 0.7, "reasoning_effort": "high"},
    ),
    # Qwen: max_tokens does not hold its thoughts (docs.apiyi.com measured it on qwen3.8-max), thinking_budget does
    (
        "openai",
        QWEN_3_8,
        "high",
        {
            "max_tokens": 1000,
            "thinking_budget": 3000,
            "seed": 3,
            "temperature": 0.7,
            "reasoning_effort": "xhigh",
        },
    ),
    ("openai", QWEN_3_8, "none", {"max_tokens": 4000, "seed": 3, "temperature": 0.7, "reasoning_effort": "none"}),
    ("openai", QWEN_3, "none", {"max_tokens": 4000, "seed": 3, "temperature": 0.7, "enable_thinking": False}),
    (
        "openai",
        QWEN_3,
        "high",
        {"max_tokens": 1000, "thinking_budget": 3000, "seed": 3, "temperature": 0.7, "enable_thinking": True},
    ),
    # Anthropic: no seed; effort in output_config; thinking of 4.6 to 4.8 is off unless it is said to be adaptive
    ("anthropic", CLAUDE_3_5, None, {"max_tokens": 4000, "temperature": 0.7}),
    (
        "anthropic",
        CLAUDE_4_5,
        "medium",
        {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 3000}},
    ),
    (
        "anthropic",
        CLAUDE_4_6,
        "high",
        {"max_tokens": 4000, "output_config": {"effort": "high"}, "thinking": {"type": "adaptive"}},
    ),
    (
        "anthropic",
        CLAUDE_4_6,
        "none",
        {"max_tokens": 4000, "temperature": 0.7, "thinking": {"type": "disabled"}},
    ),
    ("anthropic", CLAUDE_SONNET_5_5, None, {"max_tokens": 4000}),
    ("anthropic", CLAUDE_SONNET_5_5, "low", {"max_tokens": 4000, "output_config": {"effort": "low"}}),
    ("anthropic", CLAUDE_SONNET_5_5, "none", {"max_tokens": 4000, "thinking": {"type": "between_tools"}}),
    ("anthropic", CLAUDE_OPUS_5_5, "medium", {"max_tokens": 4000, "output_config": {"effort": "medium"}}),
    # Google: levels from Gemini 3 on, budgets before, 0 is off; Gemini 4 has no level of none
    ("google", GEMINI_1_5, None, {"maxOutputTokens": 4000, "temperature": 0.7, "seed": 3}),
    (
        "google",
        GEMINI_2_5_FLASH,
        "high",
        {"maxOutputTokens": 4000, "temperature": 0.7, "seed": 3, "thinkingConfig": {"thinkingBudget": 3000}},
    ),
    (
        "google",
        GEMINI_2_5_FLASH,
        "none",
        {"maxOutputTokens": 4000, "temperature": 0.7, "seed": 3, "thinkingConfig": {"thinkingBudget": 0}},
    ),
    (
        "google",
        GEMINI_4_ARGON,
        "medium",
        {"maxOutputTokens": 4000, "seed": 3, "thinkingConfig": {"thinkingLevel": "medium"}},
    ),
]


def ask(
    http: HttpClient, endpoint: Endpoint, dialect: str, capabilities: Capabilities, **fields: Any
) -> dict[str, Any]:
    speaker = Speaker(dialect, http, endpoint)
    values = {"max_tokens": 4000, "temperature": 0.7, "capabilities": capabilities, **fields}
    return sent(speaker.send(ANSWERS[dialect], **values)[2], dialect)


@pytest.mark.parametrize(("dialect", "capabilities", "effort", "expected"), REQUESTS)
def test_a_request_says_what_the_model_takes(
    http: HttpClient,
    endpoint: Endpoint,
    dialect: str,
    capabilities: Capabilities,
    effort: str | None,
    expected: dict[str, Any],
) -> None:
    assert ask(http, endpoint, dialect, capabilities, effort=effort) == expected


def test_a_schema_is_asked_for_in_the_models_form(http: HttpClient, endpoint: Endpoint) -> None:
    tool = ask(http, endpoint, "anthropic", CLAUDE_3_5, json_schema=SCHEMA)
    field = ask(http, endpoint, "anthropic", CLAUDE_SONNET_5_5, json_schema=SCHEMA, effort="low")

    assert tool["tool_choice"] == {"type": "tool", "name": "reply"}
    assert tool["tools"][0]["input_schema"] == SCHEMA
    assert "output_config" not in tool
    assert field["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"}
    assert not {"tools", "tool_choice"} & set(field)


def test_a_model_that_thinks_is_never_forced_to_use_a_tool(http: HttpClient, endpoint: Endpoint) -> None:
    body = ask(
        http,
        endpoint,
        "anthropic",
        CLAUDE_OPUS_5_5.model_copy(update={"schema_form": SchemaForm.TOOL}),
        json_schema=SCHEMA,
    )

    assert not {"tools", "tool_choice", "output_config"} & set(body)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),  # taken by all that it serves
        ("https://api.mistral.ai/v1", "max_tokens"),  # refuses names that it does not know
        ("http://127.0.0.1:8080/v1", "max_tokens"),
    ],
)
def test_a_host_that_is_known_is_spoken_to_in_its_own_words(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch, url: str, name: str
) -> None:
    bodies: list[Any] = []
    provider = DIALECTS["openai"](http, base_url=url, api_key=SecretStr("k"))
    monkeypatch.setattr(http, "post", lambda _model, _url, body, _headers: bodies.append(body))

    with pytest.raises(AttributeError):  # there is no reply to read
        provider.complete(make_request())

    assert bodies[0][name] == 50


def openai_error(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def anthropic_error(message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}


def google_error(message: str) -> dict[str, Any]:
    return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}


def pydantic_error(*where: str, kind: str = "extra_forbidden") -> dict[str, Any]:
    detail = {"type": kind, "loc": ["body", *where], "msg": "Extra inputs are not permitted", "input": 1}
    return {"object": "error", "message": {"detail": [detail]}, "type": "invalid_request_error", "param": None}


ALL_TAKEN = Capabilities(efforts=WITH_NONE)
NEW_NAME = Capabilities(limit_name=LimitName.MAX_COMPLETION_TOKENS)
TOOL = Capabilities(schema_form=SchemaForm.TOOL)
REFUSALS: list[tuple[str, Capabilities, str | None, int, Any, str]] = [
    # of OpenAI, as github.com/microsoft/vscode issues 253673 and 255504 and others repeat them
    (
        "openai",
        PLAIN,
        None,
        400,
        openai_error(
            "Unsupported value: 'temperature' does not support 0.2 with this model. "
            "Only the default (1) value is supported.",
            "temperature",
            "unsupported_value",
        ),
        "temperature",
    ),
    (
        "openai",
        PLAIN,
        None,
        400,
        openai_error("Unsupported parameter: 'temperature' is not supported with this model."),
        "temperature",
    ),
    (
        "openai",
        PLAIN,
        None,
        400,
        openai_error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        ),
        "limit_name=max_tokens",
    ),
    (
        "openai",
        ALL_TAKEN,
        "none",
        400,
        openai_error(
            "Unsupported value: 'reasoning_effort' does not support 'none' with this model. "
            "Supported values are: 'low', 'medium', and 'high'.",
            "reasoning_effort",
            "unsupported_value",
        ),
        "effort=none",
    ),
    (
        "openai",
        ALL_TAKEN,
        "low",
        400,
        openai_error("Unrecognized request argument supplied: reasoning_effort"),
        "effort",
    ),
    # of xAI, github.com/BerriAI/litellm/pull/16265
    (
        "openai",
        ALL_TAKEN,
        "low",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Model grok-4-latest does not support parameter reasoningEffort.",
        },
        "effort",
    ),
    # of Mistral, github.com/editor-code-assistant/eca/issues/231; vLLM and others speak pydantic, too
    ("openai", NEW_NAME, None, 422, pydantic_error("max_completion_tokens"), "limit_name=max_completion_tokens"),
    ("openai", PLAIN, None, 422, pydantic_error("seed"), "seed"),
    ("openai", ALL_TAKEN, "low", 422, pydantic_error("reasoning_effort"), "effort"),
    ("openai", PLAIN, None, 400, {"detail": "Unknown parameter: seed"}, "seed"),
    ("openai", PLAIN, None, 400, openai_error("response_format json_schema is not supported"), "schema"),
    # of Anthropic: github.com/Comfy-Org/ComfyUI/issues/13923, anthropics/claude-code/issues/30010; its own pages
    ("anthropic", PLAIN, None, 400, anthropic_error("`temperature` is deprecated for this model."), "temperature"),
    (
        "anthropic",
        ALL_TAKEN,
        "low",
        400,
        anthropic_error("This model does not support the effort parameter."),
        "effort",
    ),
    (
        "anthropic",
        ALL_TAKEN,
        "none",
        400,
        anthropic_error(
            '"thinking.type.disabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        ),
        "effort=none",
    ),
    (
        "anthropic",
        TOOL,
        None,
        400,
        anthropic_error("Thinking may not be enabled when tool_choice forces tool use."),
        "schema=tool",
    ),
    ("anthropic", PLAIN, None, 400, anthropic_error("output_config: Extra inputs are not permitted"), "schema=format"),
    (
        "anthropic",
        CLAUDE_4_6,
        "high",
        400,
        anthropic_error("adaptive thinking is not supported on this model"),
        "effort",
    ),
    # of Google, github.com/vercel/ai/issues/8027, github.com/Kilo-Org/kilocode/pull/5139
    (
        "google",
        GEMINI_2_5_FLASH,
        "none",
        400,
        google_error("Budget 0 is invalid. This model only works in thinking mode."),
        "effort=none",
    ),
    (
        "google",
        GEMINI_4_ARGON,
        "low",
        400,
        google_error("Thinking level is not supported for this model."),
        "effort=low",
    ),
    (
        "google",
        GEMINI_4_ARGON,
        "low",
        400,
        google_error(
            "Invalid JSON payload received. Unknown name \"thinkingConfig\" at 'generation_config': Cannot find field."
        ),
        "effort",
    ),
    ("google", PLAIN, None, 400, google_error("temperature is not supported for this model."), "temperature"),
    (
        "google",
        PLAIN,
        None,
        400,
        google_error("Invalid JSON payload received. Unknown name \"seed\" at 'generation_config': Cannot find field."),
        "seed",
    ),
]


def refuse(
    http: HttpClient,
    endpoint: Endpoint,
    dialect: str,
    capabilities: Capabilities,
    effort: str | None,
    status: int,
    body: Any,
) -> ProviderError:
    endpoint.answer = reply(status, json.dumps(body))
    provider = DIALECTS[dialect](http, base_url=endpoint.url, api_key=SecretStr("k"))
    request: CompletionRequest = make_request(
        max_tokens=4000, capabilities=capabilities, effort=effort and Effort(effort), json_schema=SCHEMA
    )
    with pytest.raises(ProviderError) as caught:
        provider.complete(request)
    return caught.value


@pytest.mark.parametrize(("dialect", "capabilities", "effort", "status", "body", "parameter"), REFUSALS)
def test_a_refusal_names_the_parameter(
    http: HttpClient,
    endpoint: Endpoint,
    dialect: str,
    capabilities: Capabilities,
    effort: str | None,
    status: int,
    body: Any,
    parameter: str,
) -> None:
    error = refuse(http, endpoint, dialect, capabilities, effort, status, body)

    assert isinstance(error, ParameterRefusedError)
    assert error.parameter == parameter
    assert not error.may_be_charged


@pytest.mark.parametrize(
    ("dialect", "capabilities", "body"),
    [
        ("openai", PLAIN, openai_error("Invalid value for 'messages[0].content': too few.", "messages[0].content")),
        ("openai", PLAIN, openai_error("max_tokens is too large: 4000. This model takes at most 2048.", "max_tokens")),
        # what was not sent cannot have been refused
        ("openai", GPT_6_1_SOL, openai_error("Unsupported parameter: 'temperature' is not supported.", "temperature")),
        ("anthropic", CLAUDE_SONNET_5_5, anthropic_error("`temperature` is deprecated for this model.")),
        ("google", GEMINI_4_ARGON, google_error("temperature is not supported for this model.")),
        # a request that is repeated in an error says nothing of what is wrong with it
        ("openai", PLAIN, openai_error("Invalid request: {'temperature': 0.7, 'seed': 3} has no user")),
        ("google", PLAIN, google_error("Request contains an invalid argument.")),
    ],
)
def test_other_rejections_name_none(
    http: HttpClient, endpoint: Endpoint, dialect: str, capabilities: Capabilities, body: Any
) -> None:
    error = refuse(http, endpoint, dialect, capabilities, None, 400, body)

    assert isinstance(error, ProviderRejectedError)
    assert not isinstance(error, ParameterRefusedError)


SUPPORTED, UNSUPPORTED = {"supported": True}, {"supported": False}
STATED: list[tuple[str, dict[str, Any], Capabilities]] = [
    ("openai", {"data": [{"id": "some-1"}]}, PLAIN),
    (
        "openai",
        {"data": [{"id": "some-1", "supported_parameters": ["max_tokens", "temperature", "response_format"]}]},
        Capabilities(temperature=TemperatureUse.ALWAYS, seed=False, json_schema=True, efforts=[]),
    ),
    (
        "openai",
        {
            "data": [
                {
                    "id": "some-1",
                    "supported_parameters": ["max_completion_tokens", "seed", "reasoning"],
                    "reasoning": {"mandatory": True, "supported_efforts": ["xhigh", "high", "low", "none"]},
                }
            ]
        },
        Capabilities(
            temperature=TemperatureUse.NEVER,
            seed=True,
            json_schema=False,
            efforts=["low", "high"],
            thinking=Thinking.ALWAYS,
            limit_name=LimitName.MAX_COMPLETION_TOKENS,
        ),
    ),
    (
        "openai",
        {"data": [{"id": "some-1", "reasoning": {"mandatory": False, "default_enabled": False}}]},
        Capabilities(efforts=WITH_NONE, thinking=Thinking.ON_REQUEST),
    ),
    (
        "openai",
        {"data": [{"id": "some-1", "supported_reasoning_efforts": ["low", "medium"]}]},
        Capabilities(efforts=LEVELS[:2]),
    ),
    ("anthropic", {"id": "some-1"}, PLAIN),
    (
        "anthropic",
        {
            "id": "some-1",
            "capabilities": {
                "effort": {**SUPPORTED, "low": SUPPORTED, "medium": SUPPORTED, "high": SUPPORTED, "max": SUPPORTED},
                "structured_outputs": SUPPORTED,
                "thinking": {
                    **SUPPORTED,
                    "types": {"adaptive": SUPPORTED, "enabled": UNSUPPORTED, "between_tools": SUPPORTED},
                },
            },
        },
        Capabilities(
            efforts={"none": "between_tools", "low": "low", "medium": "medium", "high": "high"},
            thinking=Thinking.BY_DEFAULT,
            schema_form=SchemaForm.FORMAT,
        ),
    ),
    (
        "anthropic",
        {
            "id": "some-1",
            "capabilities": {"effort": UNSUPPORTED, "structured_outputs": UNSUPPORTED, "thinking": UNSUPPORTED},
        },
        Capabilities(efforts=[], thinking=Thinking.NEVER, schema_form=SchemaForm.TOOL),
    ),
    ("anthropic", {"id": "some-1", "capabilities": ["effort"]}, PLAIN),
    ("google", {"name": "models/some-1"}, PLAIN),
    ("google", {"name": "models/some-1", "thinking": True}, Capabilities(thinking=Thinking.BY_DEFAULT)),
    ("google", {"name": "models/some-1", "thinking": False}, Capabilities(thinking=Thinking.NEVER)),
]


@pytest.mark.parametrize(("dialect", "body", "expected"), STATED)
def test_a_list_says_what_a_model_takes(
    http: HttpClient, endpoint: Endpoint, dialect: str, body: dict[str, Any], expected: Capabilities
) -> None:
    endpoint.answer = reply(body=json.dumps(body))
    provider = DIALECTS[dialect](http, base_url=endpoint.url, api_key=SecretStr("k"))

    entry = provider.look_up(make_profile(model_version="some-1"))

    assert entry is not None
    assert entry.capabilities == expected


def test_nonsense_in_a_list_states_nothing(http: HttpClient, endpoint: Endpoint) -> None:
    rows = {"id": "some-1", "supported_parameters": "all", "reasoning": 7, "supported_reasoning_efforts": {"low": 1}}
    endpoint.answer = reply(body=json.dumps({"data": [rows]}))
    provider = DIALECTS["openai"](http, base_url=endpoint.url, api_key=SecretStr("k"))

    entry = provider.look_up(make_profile(model_version="some-1"))

    assert entry is not None
    assert entry.capabilities == Capabilities(efforts=[])


REPLIES: list[tuple[str, dict[str, Any], str, int, int]] = [  # text, output tokens, of these reasoning
    # claude-sonnet-5-5: thoughts come first, their text left out; the schema's reply is a text
    (
        "anthropic",
        message(
            {"type": "thinking", "thinking": "", "signature": "x"},
            {"type": "text", "text": '{"score": 7}'},
            usage={"input_tokens": 9, "output_tokens": 300},
        ),
        '{"score": 7}',
        300,
        0,
    ),
    # gpt-6.1: reasoning inside of the completion; grok-4.7: beside it, as docs.x.ai counts
    (
        "openai",
        chat(
            '{"score": 7}',
            usage={
                "prompt_tokens": 9,
                "completion_tokens": 300,
                "total_tokens": 309,
                "completion_tokens_details": {"reasoning_tokens": 280},
            },
        ),
        '{"score": 7}',
        300,
        280,
    ),
    (
        "openai",
        chat(
            '{"score": 7}',
            usage={
                "prompt_tokens": 9,
                "completion_tokens": 20,
                "total_tokens": 309,
                "completion_tokens_details": {"reasoning_tokens": 280},
            },
        ),
        '{"score": 7}',
        300,
        280,
    ),
    # mistral: a list of chunks, the thoughts in one of their own
    (
        "openai",
        chat(
            [  # type: ignore[arg-type]
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": '{"score": 7}'},
            ],
            usage={"prompt_tokens": 9, "completion_tokens": 300},
        ),
        '{"score": 7}',
        300,
        0,
    ),
    # gemini-4-argon: thoughts beside the candidates
    (
        "google",
        candidates(
            '{"score": 7}',
            usageMetadata={
                "promptTokenCount": 9,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": 280,
                "totalTokenCount": 309,
            },
        ),
        '{"score": 7}',
        300,
        280,
    ),
]


@pytest.mark.parametrize(("dialect", "body", "text", "output_tokens", "reasoning_tokens"), REPLIES)
def test_a_reply_of_a_model_that_thinks_is_its_text(
    http: HttpClient,
    endpoint: Endpoint,
    dialect: str,
    body: dict[str, Any],
    text: str,
    output_tokens: int,
    reasoning_tokens: int,
) -> None:
    completion = Speaker(dialect, http, endpoint).read(body, json_schema=SCHEMA)

    assert (completion.text, completion.finish_reason) == (text, FinishReason.STOP)
    assert completion.usage is not None
    assert (completion.usage.output_tokens, completion.usage.reasoning_tokens) == (output_tokens, reasoning_tokens)
    assert completion.served_version == "served"
