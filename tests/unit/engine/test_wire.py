"""Whole runs over HTTP whose server misbehaves: what is charged is what was billed, or the worst case."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from orchestratex.bootstrap import HttpProviders
from orchestratex.domain.base import CostSource, FinishReason, Role, ThreadStatus, to_nanos
from orchestratex.domain.response import AttemptCost, Response
from orchestratex.domain.thread import Thread
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.http import HttpClient
from orchestratex.rules.pricing import price
from orchestratex.settings import Settings
from tests.support import World, answer_by_rule
from tests.unit.providers.conftest import Endpoint, endpoint, raw, reply

__all__ = ["endpoint"]

PROMPT = "Write a python function that parses invoices"
USAGE = {"prompt_tokens": 900, "completion_tokens": 120, "total_tokens": 1020}


class Server:
    """Answers as the sandbox does, but the first answer of the run."""

    def __init__(self, endpoint: Endpoint, first: Any) -> None:
        self.first = first
        self.calls = 0
        endpoint.answer = self.answer

    def answer(self, endpoint: Endpoint, request: BaseHTTPRequestHandler) -> None:
        _, headers, content = endpoint.requests[-1]
        self.calls += 1
        sent = json.loads(content)
        system, user = (message["content"] for message in sent["messages"])
        asked = CompletionRequest(
            model_name="gpt4",
            model_version=sent["model"],
            system=system,
            user=user,
            max_tokens=1000,
            seed=sent["seed"],
            idempotency_key=headers["Idempotency-Key"],
        )
        choice = {"message": {"content": answer_by_rule(asked)}, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(system + user) // 4, "completion_tokens": 300}
        honest = reply(body=json.dumps({"choices": [choice], "usage": usage}))
        wanted = self.first if self.calls == 1 else honest
        wanted(endpoint, request)


@pytest.fixture
def world(endpoint: Endpoint) -> Iterator[World]:
    settings = Settings.model_validate({"models_base_url": endpoint.url, "backoff_s": 0.001})
    http = HttpClient(pool_size=4, connect_timeout_s=5, read_timeout_s=30, max_bytes=1_000_000)
    made = World(settings=settings)
    made.services = replace(made.services, providers=HttpProviders(settings, http))
    yield made
    made.services.heart.stop()
    http.close()


def run(world: World, endpoint: Endpoint, first: Any) -> tuple[Thread, Response, AttemptCost | None]:
    """The thread, its first response, and what the first attempt of that cost."""
    Server(endpoint, first)
    thread = world.solve(PROMPT, max_iterations=1)
    responses = world.store.responses_of(thread.id)
    answer = min((each for each in responses if each.role is Role.PRIMARY), key=lambda each: each.timestamp)
    session = world.store.get_session(thread.session_id)
    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.total_cost_nanos == sum(each.cost_nanos for each in responses) == session.total_cost_nanos
    assert (session.held_nanos, session.reservations) == (0, {})
    return thread, answer, answer.attempt_costs.get("1")


def priced(world: World, response: Response, cost: AttemptCost) -> int:
    profile = world.services.profile(response.model_name)
    assert profile is not None
    return price(profile, cost.usage, at=response.sent_at or response.timestamp)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Provider returned error", "code": 429}},
        {"error": {"message": "Insufficient credits", "code": 402}},
        {"error": "Unexpected endpoint or method. (POST /chat/completions)"},
        {"choices": [{"message": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "x"}}]},
    ],
)
def test_an_error_in_a_200_costs_nothing(world: World, endpoint: Endpoint, body: Any) -> None:
    _, _, cost = run(world, endpoint, reply(body=json.dumps(body)))

    assert cost is None or cost.source is not CostSource.ESTIMATED


@pytest.mark.parametrize("content", [7, {"a": 1}, [1]])
def test_a_reply_that_cannot_be_read_costs_what_it_states(world: World, endpoint: Endpoint, content: Any) -> None:
    body = {"choices": [{"message": {"content": content}}], "usage": USAGE}

    _, answer, cost = run(world, endpoint, reply(body=json.dumps(body)))

    assert cost is not None
    assert cost.source is CostSource.COMPUTED
    assert (cost.usage.input_tokens, cost.usage.output_tokens) == (900, 120)
    assert cost.nanos == priced(world, answer, cost) > 0


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 524 \r\nContent-Length: 7\r\nConnection: close\r\n\r\ntimeout",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"",
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"choices": []}',
    ],
)
def test_an_answer_whose_fate_is_unknown_costs_its_worst_case(world: World, endpoint: Endpoint, content: bytes) -> None:
    _, answer, cost = run(world, endpoint, raw(content))

    assert cost is not None
    assert cost.source is CostSource.ESTIMATED
    assert answer.worst_case is not None
    assert cost.nanos == to_nanos(answer.worst_case)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 0, "completion_tokens": 0}, {**USAGE, "total_tokens": 3}, None])
@pytest.mark.parametrize("stated", [{}, {"cost": 0}, {"cost": 1e-13}])
def test_a_priced_model_never_costs_nothing(world: World, endpoint: Endpoint, usage: Any, stated: Any) -> None:
    choice = {"message": {"content": "The sky scatters blue light."}, "finish_reason": "stop"}
    body = {"choices": [choice], "usage": {**(usage or {}), **stated}}

    _, _, cost = run(world, endpoint, reply(body=json.dumps(body)))

    assert cost is not None
    assert cost.source is CostSource.ESTIMATED
    assert cost.nanos > 0


def test_a_cut_off_answer_is_kept_with_its_reason(world: World, endpoint: Endpoint) -> None:
    choice = {"message": {"content": "The sky is blue because"}, "finish_reason": "length"}

    _, answer, _ = run(world, endpoint, reply(body=json.dumps({"choices": [choice], "usage": USAGE})))

    assert answer.completion is not None
    assert answer.completion.finish_reason is FinishReason.LENGTH
