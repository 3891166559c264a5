"""models check --call."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from orchestratex.cli import reach, trial
from orchestratex.cli.reach import Prepare, Reached
from orchestratex.domain.base import SessionStatus, to_nanos
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.errors import ProviderConnectionError, ProviderRejectedError
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules.markers import TASK_EVALUATE
from orchestratex.settings import Settings
from orchestratex.store.migrations import shipped_profiles
from tests.support import Reply, World, answer_by_rule
from tests.unit.cli.test_following import FakeStack

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

Serve = Callable[..., World]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Commands reach a world in which these of the shipped models are active, and workers are at work."""
    ended, workers = threading.Event(), list[threading.Thread]()
    monkeypatch.setattr(trial, "LOOK_S", 0)

    def start(*names: str, reply: Reply = answer_by_rule, uses_sandbox: bool = False) -> World:
        known = [each for each in shipped_profiles(World().clock()) if each.model_name in names]
        world = World(reply, profiles=known)

        def work() -> None:
            while not ended.wait(0.001):
                world.run()

        workers.append(threading.Thread(target=work))
        workers[-1].start()

        @contextmanager
        def reach_workers(_settings: Settings, *, prepare: Prepare, worker_count: int = 1) -> Iterator[Reached]:
            prepare(world.services)
            yield Reached(world.services, FakeStack(is_owner=True) if uses_sandbox else None)

        monkeypatch.setattr(reach, "reach_workers", reach_workers)
        return world

    yield start
    ended.set()
    for worker in workers:
        worker.join()


def call(run: Run, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = run("models", "check", *arguments, "--call", "--json")
    return ran.code, {each["model_name"]: each["call"] for each in json.loads(ran.out)}


def grades(tried: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {name: (each["answer"]["grade"], each["evaluation"]["grade"]) for name, each in tried.items()}


def refusing(name: str) -> Reply:
    """By rule, but one model refuses everything."""

    def reply(request: CompletionRequest) -> str:
        if request.model_name == name:
            raise ProviderRejectedError(name, "HTTP 400: unknown parameter")
        return answer_by_rule(request)

    return reply


def test_each_model_answers_once_and_evaluates_once(run: Run, serve: Serve) -> None:
    world = serve("claude", "gpt4", "qwen")

    code, tried = call(run)

    assert code == 0
    assert grades(tried) == dict.fromkeys(("claude", "gpt4", "qwen"), ("ok", "ok"))
    assert all(each["evaluation"]["text"].startswith("read: ") for each in tried.values())
    assert all(each["answer"]["latency_ms"] is not None for each in tried.values())
    assert len(world.store._all(Thread)) == 3
    calls = world.store._all(Response)
    assert sum(each["cost_usd"] for each in tried.values()) == pytest.approx(sum(each.cost or 0 for each in calls))


def test_the_limit_that_is_set_by_itself_pays_for_every_shipped_model(run: Run, serve: Serve) -> None:
    names = [profile.model_name for profile in shipped_profiles(World().clock())]
    serve(*names)

    code, tried = call(run)

    assert (code, grades(tried)) == (0, dict.fromkeys(names, ("ok", "ok")))


def test_its_calls_stand_in_a_session_of_their_own_with_a_limit(run: Run, serve: Serve) -> None:
    world = serve("claude", "gpt4")

    call(run)

    session = world.store._all(Session)[0]
    assert (session.cost_limit_nanos, session.status) == (to_nanos(0.4), SessionStatus.COMPLETED)
    assert (session.total_cost_nanos or 0) <= to_nanos(0.4)


def test_a_limit_that_allows_nothing_is_kept_and_said(run: Run, serve: Serve) -> None:
    world = serve("claude", "gpt4")

    code, tried = call(run, "--cost-limit", "0.000001")

    assert code == 1
    assert set(grades(tried).values()) == {("failed", "failed")}
    assert "--cost-limit" in tried["gpt4"]["evaluation"]["text"]
    assert sum(each.cost_nanos for each in world.store._all(Response)) <= 1000


def test_a_model_that_cannot_answer_fails_and_the_others_still_evaluate(run: Run, serve: Serve) -> None:
    serve("claude", "gpt4", "qwen", reply=refusing("gpt4"))

    code, tried = call(run)

    assert code == 1
    assert grades(tried) == {"claude": ("ok", "ok"), "gpt4": ("failed", "failed"), "qwen": ("ok", "ok")}
    assert "unknown parameter" in tried["gpt4"]["answer"]["text"]
    assert "unknown parameter" in tried["gpt4"]["evaluation"]["text"]


def test_an_evaluation_that_cannot_be_read_is_said(run: Run, serve: Serve) -> None:
    def reply(request: CompletionRequest) -> str:
        is_evaluation = request.model_name == "gpt4" and TASK_EVALUATE in request.system
        return "It is fine." if is_evaluation else answer_by_rule(request)

    serve("claude", "gpt4", reply=reply)

    code, tried = call(run)

    assert code == 1
    assert tried["gpt4"]["answer"]["grade"] == "ok"
    assert (tried["gpt4"]["evaluation"]["grade"], tried["claude"]["evaluation"]["grade"]) == ("failed", "ok")
    assert tried["gpt4"]["evaluation"]["text"]


def test_a_single_model_answers_and_nobody_evaluates(run: Run, serve: Serve) -> None:
    serve("gpt4")

    ran = run("models", "check", "--call")

    assert ran.code == 0
    assert "only one model can be served: nothing to evaluate" in ran.out
    assert "Only one model can be served, gpt4: it answers, and nobody evaluates." in ran.err


def test_a_named_model_is_tried_with_one_other(run: Run, serve: Serve) -> None:
    world = serve("claude", "gpt4", "qwen", "mistral")

    code, tried = call(run, "claude")

    assert (code, grades(tried)) == (0, {"claude": ("ok", "ok")})
    assert {each.model_name for each in world.store._all(Response)} == {"claude", "mistral"}  # the cheapest


def test_a_model_that_does_not_answer_its_free_check_is_not_asked(
    run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = serve("claude", "gpt4", "qwen")

    def probe(profile: Profile) -> bool:
        if profile.model_name == "gpt4":
            raise ProviderConnectionError("gpt4", "refused")
        return True

    monkeypatch.setattr(world.provider, "probe", probe)

    code, tried = call(run)

    assert code == 1
    assert grades(tried) == {"claude": ("ok", "ok"), "gpt4": ("failed", "failed"), "qwen": ("ok", "ok")}
    assert tried["gpt4"]["answer"]["text"].startswith("not asked: endpoint: ")
    assert "gpt4" not in {each.model_name for each in world.store._all(Response)}


def test_a_switched_off_model_that_is_named_is_not_asked(run: Run, serve: Serve) -> None:
    world = serve("claude", "gpt4", "qwen")
    world.store.update_profile("gpt4", {"is_active": False})

    code, tried = call(run, "claude", "gpt4")

    assert code == 1
    assert tried["gpt4"]["answer"]["text"].startswith("not asked: switched off")
    assert grades(tried)["claude"] == ("ok", "ok")


def test_the_table_names_each_model_with_what_it_did(run: Run, serve: Serve) -> None:
    serve("claude", "gpt4")

    ran = run("models", "check", "--call")

    lines = ran.out.partition("\n\n")[2].splitlines()
    assert lines[0].split() == ["model", "answer", "s", "evaluation", "s", "cost"]
    assert [line.split()[0] for line in lines[1:]] == ["claude", "gpt4"]
    assert all(" ok " in line and "read: " in line and "$0." in line for line in lines[1:])


def test_models_without_a_key_are_left_out_of_the_calls_unless_they_are_named(
    run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = serve("claude", "gpt4", "qwen")
    monkeypatch.setattr(world.services.providers, "can_serve", lambda profile: profile.model_name != "gpt4")

    unnamed, named = run("models", "check", "--call"), run("models", "check", "--call", "claude", "gpt4")

    assert unnamed.code == 0
    assert [line.split()[0] for line in unnamed.out.partition("\n\n")[2].splitlines()[1:]] == ["claude", "qwen"]
    assert "gpt4" in named.out.partition("\n\n")[2]
    assert "gpt4" not in {each.model_name for each in world.store._all(Response)}


def test_the_sandbox_is_named_where_it_plays(run: Run, serve: Serve) -> None:
    serve("claude", "gpt4", uses_sandbox=True)

    ran = run("models", "check", "--call")

    assert ran.code == 0
    assert "sandbox: " in ran.out
    assert "the sandbox's models answer, by rule" in ran.err


def test_a_limit_without_calls_is_refused(run: Run) -> None:
    ran = run("models", "check", "--cost-limit", "1")

    assert (ran.code, ran.err.split(":")[1]) == (2, " --cost-limit")


@pytest.mark.parametrize("limit", ["-1", "nan"])
def test_a_limit_that_is_none_is_told_before_anything_starts(run: Run, limit: str) -> None:
    ran = run("models", "check", "--call", "--cost-limit", limit)

    assert (ran.code, ran.err.split(":")[1]) == (2, " cost_limit")
