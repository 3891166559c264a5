"""Model servers that refuse connections while they restart: none is given up in seconds, none is awaited for ever."""

from __future__ import annotations

import pytest

from orchestratex.domain.base import ResponseStatus, StopReason, ThreadStatus
from orchestratex.domain.thread import Thread
from orchestratex.errors import InsecureConnectionError, ProviderConnectionError, ProviderError
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.steps.reconcile import reconcile
from tests.support import World, answer_by_rule, steady
from tests.unit.engine.test_loop import assert_settled

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."
TICK_S = 2.0


class Down:
    """Models whose server takes no connection until so many seconds have passed."""

    def __init__(self, *models: str, for_s: float, error: type[ProviderError] = ProviderConnectionError) -> None:
        self.models, self.for_s, self.error = models, for_s, error
        self.tries: dict[str, int] = dict.fromkeys(models, 0)
        self.world = World(self.reply, steady(quorum_deadline_s=180))
        self.begun = self.world.clock()

    @property
    def now_s(self) -> float:
        return (self.world.clock() - self.begun).total_seconds()

    def reply(self, request: CompletionRequest) -> str:
        if request.model_name in self.models and self.now_s < self.for_s:
            self.tries[request.model_name] += 1
            raise self.error(request.model_name, "the connection was refused or the address is unknown")
        return answer_by_rule(request)

    def solve(self, **options: object) -> Thread:
        thread = self.world.submit(PROMPT, **{"preferred_models": ["gpt4"], **options})
        while not (found := self.world.store.get_thread(thread.id)).is_ended and self.now_s < 4000:
            self.world.run()
            self.world.clock.pass_time(TICK_S)
            reconcile(self.world.services)
        return found


def author() -> str:
    return World().solve(PROMPT, max_iterations=1, preferred_models=["gpt4"]).best_model_id or ""


def test_an_evaluator_is_awaited_while_its_panel_has_time() -> None:
    down = Down("claude", for_s=60)

    thread = down.solve(max_iterations=1)

    (claude,) = [r for r in down.world.store.responses_of(thread.id) if r.model_name == "claude"]
    assert thread.scores[0].evaluators == 7
    assert (claude.status, claude.errors, claude.cost_source) == (ResponseStatus.COMPLETED, 0, "computed")
    assert claude.refusals == down.tries["claude"] >= 4
    assert claude.error_message is None
    assert_settled(down.world, thread)


def test_an_evaluator_that_stays_away_does_not_outlast_its_panel() -> None:
    down = Down("claude", for_s=10_000)

    thread = down.solve(max_iterations=1)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.scores[0].evaluators == 6
    assert down.now_s < 200
    assert_settled(down.world, thread)


def test_an_answer_goes_to_another_model_after_a_bounded_time() -> None:
    first = author()
    down = Down(first, for_s=10_000)

    thread = down.solve(max_iterations=1)

    refused = next(r for r in down.world.store.responses_of(thread.id) if r.model_name == first)
    answer = down.world.store.get_response(thread.best_response_id)  # type: ignore[arg-type]
    assert thread.failed_models == [first]
    assert (refused.status, refused.cost) == (ResponseStatus.FAILED, 0)
    assert 5 < (answer.timestamp - down.begun).total_seconds() < 40  # in this rig a waiting call is sent 10 s late
    assert_settled(down.world, thread)


@pytest.mark.parametrize("for_s", [10, 60, 300])
def test_a_thread_whose_only_models_restart_waits_for_them(for_s: float) -> None:
    names = [profile.model_name for profile in World().store.profiles()]
    down = Down(*names, for_s=for_s)

    thread = down.solve(max_iterations=1)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_response
    assert all(r.errors == 0 for r in down.world.store.responses_of(thread.id) if r.status is ResponseStatus.COMPLETED)
    assert_settled(down.world, thread)


def test_a_thread_whose_models_never_come_back_ends_with_its_deadline() -> None:
    names = [profile.model_name for profile in World().store.profiles()]
    down = Down(*names, for_s=10_000)

    thread = down.solve(max_iterations=1, deadline_s=600)

    assert (thread.thread_status, thread.stop_reason) == (ThreadStatus.FAILED, StopReason.DEADLINE)
    assert sum(down.tries.values()) < 100  # the breakers keep it from being asked all the time
    assert_settled(down.world, thread)


def test_what_no_restart_mends_uses_up_its_attempts() -> None:
    first = author()
    down = Down(first, for_s=10_000, error=InsecureConnectionError)

    thread = down.solve(max_iterations=1)

    assert thread.failed_models == [first]
    assert next(r.errors for r in down.world.store.responses_of(thread.id) if r.model_name == first) == 4


def test_waiting_for_a_server_holds_no_money() -> None:
    names = [profile.model_name for profile in World().store.profiles()]
    down = Down(*names, for_s=10_000)
    thread = down.world.submit(PROMPT, max_iterations=1)

    down.world.run()

    assert down.world.store.get_session(thread.session_id).held_nanos == 0
    assert markers.TASK_ANSWER in down.world.provider.requests[0].system
