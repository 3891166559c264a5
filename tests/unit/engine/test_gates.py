"""Breakers, limits and probes around a call."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from orchestratex.bootstrap import assemble
from orchestratex.domain.base import ResponseStatus, StopReason, ThreadStatus
from orchestratex.domain.profile import Profile
from orchestratex.errors import (
    LimiterUnavailableError,
    ProviderOverloadedError,
    ProviderRateLimitedError,
    StoreUnavailableError,
)
from orchestratex.limits.base import NoLimiter, Wait
from orchestratex.limits.breaker import BreakerState
from orchestratex.limits.memory import MemoryLimiter
from orchestratex.providers.base import CompletionRequest
from orchestratex.settings import Settings
from orchestratex.steps.probe import probe
from orchestratex.steps.reconcile import reconcile
from orchestratex.store.base import Changes
from tests.support import World, answer_by_rule, steady

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."


class AwayLimiter(NoLimiter):
    """Redis is away until it is told to come back."""

    is_away = True

    def book(self, *arguments: object, **options: object) -> Wait:
        if self.is_away:
            raise LimiterUnavailableError("Redis at 127.0.0.1:6379 does not answer")
        return Wait(0.0)


def open_breaker(world: World, model: str) -> None:
    for _ in range(5):
        world.services.breaker.record(model, ok=False)


def work_on(world: World, rounds: int = 30) -> None:
    """Work, with time passing between, until waits are over."""
    for _ in range(rounds):
        world.run()
        world.clock.pass_time(31)
        reconcile(world.services)


def limit_rates(world: World, requests_per_minute: int) -> MemoryLimiter:
    """Give every model the same limit, and the world a limiter that knows its clock."""
    limiter = MemoryLimiter(lambda: world.clock().timestamp())
    world.services = assemble(
        world.services.settings,
        store=world.store,
        queue=world.queue,
        providers=world.services.providers,
        limiter=limiter,
        breaker=world.services.breaker,
        clock=world.clock,
        nonce=world.services.nonce,
        jitter=world.services.jitter,
        sleep=world.clock.pass_time,
    )
    for profile in world.store.profiles():
        limits = profile.rate_limits.model_copy(update={"requests_per_minute": requests_per_minute})
        world.store.update_profile(profile.model_name, {"rate_limits": limits})
    return limiter


def test_an_open_breaker_replaces_the_model_and_says_so() -> None:
    world = World()
    first = World().solve(PROMPT, max_iterations=1).best_model_id or ""
    open_breaker(world, first)

    thread = world.solve(PROMPT, max_iterations=1)

    selections = world.store.selections_of(thread.id)
    assert thread.best_model_id != first
    assert first in selections[1].override_reasons
    assert first not in {request.model_name for request in world.provider.requests}


def test_an_open_breaker_leaves_its_evaluator_out_of_the_panel() -> None:
    world = World()
    open_breaker(world, "claude")

    thread = world.solve(PROMPT, max_iterations=1)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.scores[0].evaluators == 6
    assert "claude" not in {evaluation.evaluator_model for evaluation in world.store.evaluations_of(thread.id)}


def test_a_model_that_keeps_failing_opens_its_breaker_and_a_probe_closes_it() -> None:
    is_broken = True

    def reply(request: CompletionRequest) -> str:
        if is_broken and request.model_name == "grok":
            raise ProviderOverloadedError("grok", "HTTP 500")
        return answer_by_rule(request) if request.system.startswith("TASK") else "yes"

    world = World(reply)
    world.submit(PROMPT, max_iterations=2)
    world.submit(PROMPT + " Again.", max_iterations=2)
    work_on(world)
    opened = world.services.breaker.snapshot(["grok"])["grok"]
    unavailable = next(p for p in world.store.profiles() if p.model_name == "grok").is_available

    is_broken = False
    outcome = probe(world.services)

    grok = next(p for p in world.store.profiles() if p.model_name == "grok")
    assert opened is not BreakerState.CLOSED
    assert not unavailable
    assert outcome["grok"]
    assert grok.is_available
    assert world.services.breaker.snapshot(["grok"])["grok"] is BreakerState.CLOSED


def test_probes_cost_nothing_where_a_list_or_traffic_proves_health() -> None:
    world = World()

    probe(world.services)

    assert world.provider.requests == []
    assert all(p.last_health_check is not None for p in world.store.profiles())


def test_probes_stop_at_their_daily_cap() -> None:
    world = World(settings=steady(probe_daily_limit=0.0))
    open_breaker(world, "gpt4")

    outcome = probe(world.services)

    assert not outcome["gpt4"]
    assert world.provider.requests == []


def test_calls_wait_while_redis_is_away_and_go_on_by_themselves() -> None:
    world = World()
    limiter = AwayLimiter()
    world.services = assemble(
        world.services.settings,
        store=world.store,
        queue=world.queue,
        providers=world.services.providers,
        limiter=limiter,
        clock=world.clock,
        nonce=world.services.nonce,
    )
    thread = world.submit(PROMPT, max_iterations=1)
    for _ in range(30):
        if world.queue.messages:
            world.work(world.queue.messages.pop(0))
    asked = len(world.provider.requests)

    limiter.is_away = False
    work_on(world)
    result = world.store.get_thread(thread.id)

    (answer,) = [r for r in world.store.responses_of(thread.id) if r.purpose == "answer"]
    assert asked == 0
    assert result.thread_status is ThreadStatus.COMPLETED
    assert answer.attempt == 1
    assert answer.errors == 0


def test_a_call_over_the_limit_waits_without_an_attempt_and_keeps_its_reservation() -> None:
    world = World()
    limit_rates(world, requests_per_minute=2)
    threads = [world.submit(f"{PROMPT} Variant {number}.", max_iterations=1) for number in range(4)]

    work_on(world, rounds=60)
    results = [world.store.get_thread(thread.id) for thread in threads]

    found = [r for thread in threads for r in world.store.responses_of(thread.id)]
    responses = [r for r in found if r.purpose != "assessment"]  # those may come too late: nobody waits for them
    assert {thread.thread_status for thread in results} == {ThreadStatus.COMPLETED}
    assert {response.status for response in responses} == {ResponseStatus.COMPLETED}
    assert {response.attempt for response in responses} == {1}
    assert not world.store.accounts_with_reservations(limit=1)


def test_a_429_pauses_the_model_for_everybody() -> None:
    calls = 0

    def reply(request: CompletionRequest) -> str:
        nonlocal calls
        if request.model_name == "claude":
            calls += 1
            if calls == 1:
                raise ProviderRateLimitedError("claude", "HTTP 429", retry_after_s=40)
        return answer_by_rule(request)

    world = World(reply, steady(quorum_deadline_s=180))  # it waits longer than a straggler may
    limiter = limit_rates(world, requests_per_minute=1000)
    thread = world.submit(PROMPT, max_iterations=1)
    while not calls:
        world.work(world.queue.messages.pop(0))

    wait_s = limiter.book("claude", call_id="x", requests_per_minute=1000, tokens_per_minute=10**6, tokens=10)
    work_on(world)

    assert wait_s > 30
    assert world.store.get_thread(thread.id).scores[0].evaluators == 7


@pytest.mark.parametrize(("limit", "spent"), [({"user_daily_limit": 0.0001}, 0), ({"daily_limit": 0.0001}, 0)])
def test_a_days_budget_refuses_what_it_cannot_pay(limit: dict[str, float], spent: int) -> None:
    world = World(settings=Settings.model_validate(limit))

    thread = world.solve(PROMPT)

    assert thread.stop_reason is StopReason.COST_LIMIT
    assert "daily limit" in (thread.failure_reason or "")
    assert world.store.get_session(thread.session_id).total_cost_nanos == spent
    assert not world.store.accounts_with_reservations(limit=1)


def test_an_answer_that_shrank_and_then_waited_is_still_inside_what_is_held() -> None:
    world = World()
    limiter = AwayLimiter()
    world.services = dataclasses.replace(world.services, limiter=limiter)
    thread = world.submit(PROMPT, cost_limit=0.02, preferred_models=["qwen"], max_iterations=1)
    for _ in range(3):
        world.work(world.queue.messages.pop(0))
    held = world.store.get_session(thread.session_id).held_nanos

    limiter.is_away = False
    work_on(world)

    assert 0 < held <= 20_000_000
    assert world.provider.requests[0].max_tokens < 2048
    assert world.store.get_session(thread.session_id).total_cost_nanos <= 20_000_000


def test_an_answer_shrinks_to_what_the_budget_leaves() -> None:
    world = World()

    thread = world.solve(PROMPT, cost_limit=0.02, preferred_models=["qwen"], max_iterations=1)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert world.provider.requests[0].max_tokens < 2048
    assert thread.total_cost <= 0.02


def test_a_completion_is_saved_although_the_breaker_it_closes_cannot_be_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    noted = world.store.update_profile

    def refuse(name: str, changes: Changes) -> None:
        if "is_available" in changes:
            raise StoreUnavailableError("MongoDB at db:27017 does not answer")
        noted(name, changes)

    monkeypatch.setattr(world.store, "update_profile", refuse)
    monkeypatch.setattr(world.services.breaker, "record", lambda *_, **__: BreakerState.CLOSED)
    world.run()

    ended = world.store.get_thread(thread.id)
    assert ended.thread_status is ThreadStatus.COMPLETED
    assert len(world.provider.requests) == len(world.store.responses_of(thread.id))  # none was sent again
    assert all(response.completion for response in world.store.responses_of(thread.id))


def test_models_are_probed_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    names = {profile.model_name for profile in world.store.profiles()}
    together = threading.Barrier(len(names), timeout=30)

    def ask(_: Profile) -> bool:
        together.wait()  # one that hangs would keep the others waiting, were they asked in turn
        return True

    monkeypatch.setattr(world.provider, "probe", ask)

    assert probe(world.services) == dict.fromkeys(sorted(names), True)
