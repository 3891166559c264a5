"""Models that take only so many calls at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from orchestratex.domain.base import ResponseStatus, Step, ThreadStatus
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import (
    ContentRefusedError,
    MalformedCompletionError,
    ProviderConnectionError,
    ProviderDisconnectedError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    RequestTooLargeError,
)
from orchestratex.limits.base import Wait
from orchestratex.limits.memory import MemoryLimiter
from orchestratex.providers.base import CompletionRequest
from orchestratex.settings import Settings
from orchestratex.steps.gates import call_next
from orchestratex.steps.probe import probe
from orchestratex.steps.reconcile import reconcile
from orchestratex.store.memory import MemoryStore
from tests.support import Reply, World, answer_by_rule

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."
BUSY = "claude"


def make_world(reply: Reply | None = None, settings: Settings | None = None, *, seats: int = 1) -> World:
    """Every model takes so many calls at once; its rates do not bind."""
    world = World(reply, settings)
    limiter = MemoryLimiter(lambda: world.clock().timestamp())
    world.services = dataclasses.replace(world.services, limiter=limiter)
    for profile in world.store.profiles():
        limits = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "max_concurrent_calls": seats}
        world.store.update_profile(profile.model_name, {"rate_limits": profile.rate_limits.model_copy(update=limits)})
    return world


def take_seat(world: World, call_id: str = "other") -> Wait:
    return world.services.limiter.book(
        BUSY, call_id=call_id, requests_per_minute=10**6, tokens_per_minute=10**9, tokens=1, seats=1, seat_s=10**6
    )


def free_seat(world: World, call_id: str = "other") -> None:
    call_next(world.services.limiter.correct(BUSY, call_id=call_id, estimated=1, actual=1), world.services)


def find_waiting(world: World, thread: Thread) -> Response:
    (waiting,) = [r for r in world.store.panel_of(thread.id, iteration=1) if r.model_name == BUSY]
    return waiting


def wait_for_a_seat() -> tuple[World, Thread]:
    """A thread whose panel is complete but for the model that has all the calls it takes."""
    world = make_world()
    assert take_seat(world) == 0.0
    thread = world.submit(PROMPT, max_iterations=1, preferred_models=["gpt4"])
    world.run()
    return world, world.store.get_thread(thread.id)


def test_a_call_over_the_limit_waits_without_a_worker_and_without_an_attempt() -> None:
    world, thread = wait_for_a_seat()

    waiting = find_waiting(world, thread)
    events = [e for e in world.store.logs_of(thread.id) if e.event_type == "call_waits"]
    assert thread.due_step is Step.EVALUATE
    assert (waiting.status, waiting.attempt, waiting.lease_token) == (ResponseStatus.PENDING, 0, None)
    assert waiting.seat_wanted_at is not None
    assert [event.message for event in events] == [f"{BUSY}'s call waits its turn: {BUSY} takes no more than 1 at once"]


def test_who_frees_a_seat_calls_the_next_at_once() -> None:
    world, thread = wait_for_a_seat()
    world.clock.pass_time(2)

    free_seat(world)
    world.run()  # nobody waited for a time to pass

    evaluation = find_waiting(world, thread)
    ended = world.store.get_thread(thread.id)
    assert ended.thread_status is ThreadStatus.COMPLETED
    assert ended.scores[0].evaluators == 7
    assert (evaluation.status, evaluation.attempt, evaluation.errors) == (ResponseStatus.COMPLETED, 1, 0)
    assert evaluation.seat_wanted_at is None
    assert evaluation.seat_wait_ms >= 2000
    assert not world.store.accounts_with_reservations(limit=1)


def test_a_waiting_call_comes_back_by_itself_when_nobody_calls_it() -> None:
    world, thread = wait_for_a_seat()
    world.services.limiter.correct(BUSY, call_id="other", estimated=1, actual=1)  # its process died in this moment

    world.clock.pass_time(21)
    reconcile(world.services)
    world.run()

    assert world.store.get_thread(thread.id).scores[0].evaluators == 7


def test_who_waits_its_turn_is_no_straggler_and_not_late() -> None:
    world, thread = wait_for_a_seat()

    for _ in range(30):
        world.clock.pass_time(10)
        reconcile(world.services)
        world.run()
    before = world.store.get_thread(thread.id)
    free_seat(world)
    world.run()

    assert before.due_step is Step.EVALUATE
    assert world.store.get_thread(thread.id).scores[0].evaluators == 7
    assert find_waiting(world, thread).attempt == 1


def test_who_waits_its_turn_after_a_failed_attempt_is_no_straggler_either() -> None:
    def reply(request: CompletionRequest) -> str:
        if request.model_name == BUSY and not failed:
            failed.append(request)
            take_seat(world, "queued")  # others come in between
            raise ProviderOverloadedError(BUSY, "HTTP 503")
        return answer_by_rule(request)

    failed: list[CompletionRequest] = []
    world = make_world(reply)
    thread = world.submit(PROMPT, max_iterations=1, preferred_models=["gpt4"])
    world.run()
    take_seat(world, "queued")
    for _ in range(12):
        world.clock.pass_time(10)
        reconcile(world.services)
        world.run()

    assert failed
    assert world.store.get_thread(thread.id).due_step is Step.EVALUATE
    free_seat(world, "queued")
    world.run()
    assert world.store.get_thread(thread.id).scores[0].evaluators == 7


def test_a_turn_that_never_comes_leaves_time_for_the_rest_of_the_thread() -> None:
    world, thread = wait_for_a_seat()

    for _ in range(100):
        if world.store.get_thread(thread.id).is_ended:
            break
        world.clock.pass_time(30)
        reconcile(world.services)
        world.run()

    ended = world.store.get_thread(thread.id)
    assert ended.thread_status is ThreadStatus.COMPLETED
    assert ended.scores[0].evaluators == 6
    assert 1500 < ended.total_time_spent / 1000 < 2500  # of the hour that a thread has


@pytest.mark.parametrize(
    "fail",
    [
        lambda: ContentRefusedError(BUSY, "no"),
        lambda: ProviderTimeoutError(BUSY, "no answer"),
        lambda: ProviderDisconnectedError(BUSY, "closed"),
        lambda: ProviderOverloadedError(BUSY, "HTTP 503"),
        lambda: ProviderRateLimitedError(BUSY, "HTTP 429", retry_after_s=1),
        lambda: ProviderNotFoundError(BUSY, "HTTP 404"),
        lambda: ProviderConnectionError(BUSY, "refused"),
        lambda: RequestTooLargeError(BUSY, "Limit 300, Requested 3627"),
        lambda: MalformedCompletionError(BUSY, "no choices"),
        lambda: ValueError("our own"),
    ],
)
def test_a_call_that_fails_frees_its_seat(fail: Callable[[], ProviderError]) -> None:
    def reply(request: CompletionRequest) -> str:
        if request.model_name == BUSY:
            raise fail()
        return answer_by_rule(request)

    world = make_world(reply)
    world.submit(PROMPT, max_iterations=1, preferred_models=["gpt4"])
    world.run()
    world.clock.pass_time(3)  # after a 429 nobody goes at once

    assert not take_seat(world).is_for_seat


def test_calls_of_many_threads_take_their_turns_and_all_end() -> None:
    world = make_world()
    threads = [world.submit(f"{PROMPT} Variant {number}.", max_iterations=2) for number in range(5)]

    world.run()

    ended = [world.store.get_thread(thread.id) for thread in threads]
    assert {thread.thread_status for thread in ended} == {ThreadStatus.COMPLETED}


def test_a_thread_that_goes_on_without_a_waiting_call_gives_its_place_up() -> None:
    world, thread = wait_for_a_seat()
    assert take_seat(world, "behind").is_for_seat

    world.clock.pass_time(3500)
    reconcile(world.services)
    world.run()

    assert world.store.get_thread(thread.id).is_ended
    assert world.services.limiter.correct(BUSY, call_id="other", estimated=1, actual=1) == ()


class Unlisted:
    """Makes the endpoint of a world's models have no list, so that a probe has to call."""

    def __call__(self, profile: Profile) -> bool:
        raise ProviderNotFoundError(profile.model_name, "HTTP 404")


def make_probed_world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = make_world(lambda request: answer_by_rule(request) if request.system.startswith("TASK") else "yes")
    monkeypatch.setattr(world.provider, "probe", Unlisted())
    return world


def is_available(store: MemoryStore) -> bool:
    return next(p for p in store.profiles() if p.model_name == BUSY).is_available


@pytest.mark.parametrize("was_available", [True, False])
def test_a_probe_does_not_call_a_model_that_has_all_the_calls_it_takes(
    monkeypatch: pytest.MonkeyPatch, was_available: bool
) -> None:
    world = make_probed_world(monkeypatch)
    world.store.update_profile(BUSY, {"is_available": was_available})
    take_seat(world)

    probe(world.services)

    assert BUSY not in {request.model_name for request in world.provider.requests}
    assert is_available(world.store) is was_available


def test_a_probe_takes_a_seat_and_frees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_probed_world(monkeypatch)
    world.store.update_profile(BUSY, {"is_available": False})

    probe(world.services)

    assert BUSY in {request.model_name for request in world.provider.requests}
    assert is_available(world.store)
    assert not take_seat(world).is_for_seat
