"""A call that costs more than was set aside for it: charged, told, and the session's last that is paid."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestratex.api.views import view_session
from orchestratex.domain.base import Role, StopReason, ThreadStatus
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage
from orchestratex.domain.thread import Thread
from orchestratex.providers.base import CompletionRequest
from orchestratex.steps.submit import ThreadRequest, submit
from tests.make import make_profile
from tests.support import World, answer_by_rule

PROMPT = "Explain the history of tides to a curious reader"
Reply = Callable[[CompletionRequest], str | Completion]


def bill_answers(**stated: object) -> Reply:
    """Models whose first answers come with a statement of their own."""

    def reply(request: CompletionRequest) -> str | Completion:
        text = answer_by_rule(request)
        if "evaluat" in request.system.lower():
            return text
        usage = Usage(input_tokens=1000, output_tokens=500, total_tokens=1500)
        return Completion.model_validate({"text": text, "usage": usage, "latency_ms": 1.0, **stated})

    return reply


def priced(name: str, usd_per_million: float, **fields: object) -> Profile:
    price = usd_per_million / 1e6
    room = {"max_context_length": 100_000, "max_output_tokens": 4096}
    costs = {"cost_per_input_token": price, "cost_per_output_token": price}
    return make_profile(name, **{**room, **costs, **fields})


PANEL = [priced(name, 1) for name in ("claude", "gemini", "grok")]


def events(world: World, thread: Thread, kind: str) -> list[str]:
    return [event.message for event in world.store.logs_of(thread.id) if event.event_type == kind]


@pytest.mark.parametrize("limit", [None, 5.0])
def test_a_bill_above_the_reservation_is_charged_and_told_and_ends_the_session(limit: float | None) -> None:
    world = World(bill_answers(cost_usd=0.75), profiles=[priced("gpt4", 2), *PANEL])

    thread = world.solve(PROMPT, preferred_models=["gpt4"], **({"cost_limit": limit} if limit else {}))

    session = world.store.get_session(thread.session_id)
    assert (thread.thread_status, thread.stop_reason) == (ThreadStatus.COMPLETED, StopReason.COST_LIMIT)
    assert thread.final_response
    assert session.total_cost_nanos == thread.total_cost_nanos >= 750_000_000
    assert (session.held_nanos, session.reservations) == (0, {})
    assert 0.7 < view_session(session).cost_excess < 0.75
    assert len(events(world, thread, "cost_exceeded")) == 1
    assert "gpt4 cost $0.750000" in events(world, thread, "cost_exceeded")[0]
    assert [each.role for each in world.store.responses_of(thread.id)] == [Role.PRIMARY]


def test_a_dearer_version_that_answers_is_priced_by_its_own_prices() -> None:
    dear = priced("dear", 900, model_version="gpt-dear", is_active=False)
    world = World(bill_answers(model_version="gpt-dear"), profiles=[priced("gpt4", 2), dear, *PANEL])

    thread = world.solve(PROMPT, preferred_models=["gpt4"])

    answer = next(each for each in world.store.responses_of(thread.id) if each.role is Role.PRIMARY)
    assert answer.cost_nanos == 1500 * 900_000
    assert len(events(world, thread, "cost_exceeded")) == 1
    assert world.store.get_session(thread.session_id).excess_nanos > 0


@pytest.mark.parametrize("version", ["gpt4-1", "gpt-unknown", None])
def test_a_version_without_prices_of_its_own_costs_what_was_asked_for(version: str | None) -> None:
    world = World(bill_answers(model_version=version), profiles=[priced("gpt4", 2), *PANEL])

    thread = world.solve(PROMPT, preferred_models=["gpt4"], max_iterations=1)

    answer = next(each for each in world.store.responses_of(thread.id) if each.role is Role.PRIMARY)
    assert answer.cost_nanos == 1500 * 2_000
    assert events(world, thread, "cost_exceeded") == []
    assert world.store.get_session(thread.session_id).excess_nanos == 0


def test_the_next_thread_of_the_session_is_refused_with_the_reason() -> None:
    world = World(bill_answers(cost_usd=0.75), profiles=[priced("gpt4", 2), *PANEL])
    first = world.solve(PROMPT, preferred_models=["gpt4"])

    [second] = submit(first.session_id, [ThreadRequest(prompt=PROMPT)], world.services)
    world.run()

    assert world.store.get_thread(second.id).thread_status is ThreadStatus.FAILED
    assert "more than was set aside for it" in " ".join(events(world, second, "budget_refused"))
    assert world.store.get_session(first.session_id).total_cost_nanos == first.total_cost_nanos


def test_models_that_cost_nothing_go_on_answering() -> None:
    free = [priced(name, 0) for name in ("llama", "mistral", "qwen")]
    world = World(bill_answers(cost_usd=0.75), profiles=[priced("gpt4", 2), *free])

    thread = world.solve(PROMPT, preferred_models=["gpt4"])

    session = world.store.get_session(thread.session_id)
    assert session.excess_nanos > 0
    assert [each.role for each in world.store.responses_of(thread.id)].count(Role.EVALUATOR) > 0


def test_a_bill_for_a_model_that_was_to_cost_nothing_is_charged_too() -> None:
    world = World(bill_answers(cost_usd=0.75), profiles=[priced("gpt4", 0), *PANEL])

    thread = world.solve(PROMPT, preferred_models=["gpt4"], cost_limit=5.0)

    session = world.store.get_session(thread.session_id)
    assert (session.total_cost_nanos, session.excess_nanos) == (750_000_000, 750_000_000)
    assert thread.total_cost_nanos == session.total_cost_nanos
    assert len(events(world, thread, "cost_exceeded")) == 1
    assert thread.stop_reason is StopReason.COST_LIMIT
