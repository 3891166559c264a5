"""Small answers of servers, each standing for its kind, byte for byte, with what is right for them."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from orchestratex.domain.base import FinishReason
from orchestratex.domain.response import Completion, Usage
from orchestratex.errors import (
    ContentRefusedError,
    ContextTooLongError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    RequestTooLargeError,
)
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.dialects import DIALECTS
from orchestratex.providers.http import HttpClient
from tests.make import make_profile
from tests.unit.providers.conftest import Answer, Endpoint, raw, reply

CASES = Path(__file__).parents[2] / "data" / "cases"
REQUEST = CompletionRequest(
    model_name="gpt4", model_version="m-1", system="be brief", user="why?", max_tokens=2048, idempotency_key="abc.1"
)
BILLED = Usage(input_tokens=900, output_tokens=120, total_tokens=1020)


def read(name: str) -> bytes:
    (path,) = CASES.glob(f"{name}-*")
    content = path.read_bytes()
    if path.suffix != ".http":
        return content
    head, _, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    if b" 10" in head.splitlines()[0]:  # an interim answer: a head of its own stands before the body
        final, _, body = body.partition(b"\n\n")
        head += b"\n\n" + final
    return head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body


def answer_with(name: str) -> Answer:
    is_raw = bool(list(CASES.glob(f"{name}-*.http")))
    return raw(read(name)) if is_raw else reply(body=read(name))


class Asker:
    def __init__(self, http: HttpClient, endpoint: Endpoint) -> None:
        self._http = http
        self.endpoint = endpoint

    def ask(self, dialect: str = "openai") -> Completion:
        return DIALECTS[dialect](self._http, base_url=self.endpoint.url, api_key=SecretStr("sk-planted-1")).complete(
            REQUEST
        )

    def read(self, name: str, dialect: str = "openai") -> Completion:
        self.endpoint.answer = answer_with(name)
        return self.ask(dialect)

    def fail(self, name: str) -> ProviderError:
        with pytest.raises(ProviderError) as caught:
            self.read(name)
        return caught.value

    def is_there(self, name: str) -> bool:
        self.endpoint.answer = answer_with(name)
        profile = make_profile("gpt4", model_version="m-1")
        return DIALECTS["openai"](self._http, base_url=self.endpoint.url, api_key=SecretStr("k")).probe(profile)


@pytest.fixture
def asker(http: HttpClient, endpoint: Endpoint) -> Asker:
    return Asker(http, endpoint)


@pytest.mark.parametrize("name", ["01a", "01b"])
def test_after_an_interim_answer_the_final_one_is_read_and_no_other_call_gets_it(asker: Asker, name: str) -> None:
    interim, _, final = read(name).partition(b"\r\n\r\n")

    def answer(_: Endpoint, request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(interim + b"\r\n\r\n")
        request.wfile.flush()
        time.sleep(0.2)
        request.wfile.write(final)

    asker.endpoint.answer = answer
    first = asker.ask()
    asker.endpoint.answer = reply(body=read("11b"))

    assert (first.text, first.usage) == ("Hi", BILLED)
    assert asker.ask().text.startswith("The sky is blue")


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("02a", ProviderRateLimitedError, "Provider returned error"),
        ("02a", ProviderRateLimitedError, "Too Many Requests"),
        ("02b", ProviderQuotaError, "Insufficient credits"),
        ("02c", ProviderNotFoundError, "Unexpected endpoint or method. (POST /chat/completions)"),
        ("02e", ProviderOverloadedError, "Upstream overloaded"),
        ("13", ProviderRateLimitedError, "slow down"),
        ("21", RequestTooLargeError, "Limit 300, Requested 3627"),
        ("26", ContentRefusedError, "Input was flagged"),
    ],
)
def test_an_error_has_its_class_and_its_words_and_costs_nothing(
    asker: Asker, name: str, kind: type[ProviderError], words: str
) -> None:
    error = asker.fail(name)

    assert type(error) is kind
    assert words in str(error)
    assert (error.may_be_charged, error.completion, error.retry_after_s) == (False, None, None)
    assert error.is_retryable is (kind in {ProviderRateLimitedError, ProviderOverloadedError})


@pytest.mark.parametrize("name", ["07", "07b"])
def test_a_gateway_that_stopped_waiting_may_have_been_billed(asker: Asker, name: str) -> None:
    error = asker.fail(name)

    assert (error.is_retryable, error.may_be_charged) == (True, True)


@pytest.mark.parametrize("status", [400, 413, 422, 500])
@pytest.mark.parametrize("wording", read("25").decode().splitlines())
def test_a_context_that_is_too_long_is_said_in_many_words(asker: Asker, status: int, wording: str) -> None:
    asker.endpoint.answer = reply(status, json.dumps({"error": {"message": wording, "code": status}}))

    with pytest.raises(ContextTooLongError):
        asker.ask()


@pytest.mark.parametrize(("name", "is_there"), [("08a", True), ("08b", True), ("08d", False)])
def test_a_list_of_models_is_read(asker: Asker, name: str, *, is_there: bool) -> None:
    assert asker.is_there(name) is is_there


@pytest.mark.parametrize(
    ("name", "dialect", "text", "reason", "usage"),
    [
        ("03", "openai", "Two hours.", FinishReason.STOP, BILLED),
        ("05", "openai", "The sky scatters blue light.", FinishReason.STOP, None),
        (
            "11a",
            "openai",
            "",
            FinishReason.LENGTH,
            Usage(input_tokens=900, output_tokens=2048, total_tokens=2948, reasoning_tokens=2048),
        ),
        (
            "11b",
            "openai",
            "The sky is blue because sunlight, when it enters the atm",
            FinishReason.LENGTH,
            BILLED,
        ),
        ("11c", "openai", "To build the", FinishReason.REFUSAL, BILLED),
        ("12a", "anthropic", "Hi", FinishReason.STOP, Usage(input_tokens=9, output_tokens=2, total_tokens=11)),
        ("12b", "google", "Hi", FinishReason.STOP, Usage(input_tokens=9, output_tokens=2, total_tokens=11)),
    ],
)
def test_an_answer_is_read(asker: Asker, name: str, dialect: str, text: str, reason: FinishReason, usage: Any) -> None:
    completion = asker.read(name, dialect)

    assert (completion.text, completion.finish_reason, completion.usage) == (text, reason, usage)
