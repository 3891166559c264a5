from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from bson import ObjectId

from orchestratex.cli import reach
from orchestratex.cli.follow import StackEndedError
from orchestratex.cli.reach import Prepare, Reached
from orchestratex.domain.base import SessionStatus
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.errors import ProviderRejectedError, StoreUnavailableError
from orchestratex.providers.base import CompletionRequest
from orchestratex.settings import Settings
from orchestratex.steps.submit import SessionRequest, open_session
from tests.support import World

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

UNKNOWN_ID = "0" * 24


def written(world: World) -> list[object]:
    return [*world.store._all(Session), *world.store._all(Thread)]


def refuse(request: CompletionRequest) -> str:
    raise ProviderRejectedError(request.model_name, "no")


def give_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_the_final_response_is_printed_with_how_it_came_about(run: Run, world: World) -> None:
    ran = run("solve", "What is a monad?", "--max-iterations", "2")

    thread = world.store._all(Thread)[0]
    assert ran.code == 0
    assert ran.out.startswith(thread.final_response or "?")
    assert f"thread:       {thread.id}" in ran.out
    assert thread.stop_reason is not None
    assert f"stop_reason:  {thread.stop_reason.value}" in ran.out
    assert "$0." in ran.out


def test_its_session_is_ended(run: Run, world: World) -> None:
    run("solve", "What is a monad?", "--max-iterations", "1", "--cost-limit", "2")

    session = world.store._all(Session)[0]
    assert session.status is SessionStatus.COMPLETED
    assert session.settings.cost_limit == 2


def test_a_named_session_stays_open(run: Run, world: World) -> None:
    session = open_session(SessionRequest(), world.services)

    ran = run("solve", "What is a monad?", "--max-iterations", "1", "--session", str(session.id))

    assert ran.code == 0
    assert [each.status for each in world.store._all(Session)] == [SessionStatus.ACTIVE]


def test_json_is_all_that_stdout_gets(run: Run) -> None:
    ran = run("solve", "What is a monad?", "--max-iterations", "1", "--json")

    body = json.loads(ran.out)
    assert (ran.code, body["status"], ran.err) == (0, "completed", "")
    assert body["final_response"]
    assert body["stop_reason"] == "max_iterations"
    assert len(body["models"]) > 1


def test_options_reach_the_thread(run: Run, world: World) -> None:
    run("solve", "x", "--max-iterations", "4", "--quality-threshold", "3", "--prefer", "grok", "--exclude", "gpt4")

    options = world.store._all(Thread)[0].options
    assert (options.max_iterations, options.quality_threshold) == (4, 3)
    assert (options.preferred_models, options.excluded_models) == (["grok"], ["gpt4"])


def test_a_dash_reads_stdin(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, "Où est-ce ?\n".encode())

    run("solve", "-", "--max-iterations", "1")

    assert world.store._all(Thread)[0].original_prompt == "Où est-ce ?\n"


def test_stdin_that_is_not_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, b"\xff\xfe")

    ran = run("solve", "-")

    assert ran.code == 2
    assert "prompt:" in ran.err


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["  "], "prompt"),
        (["x" * 200_001], "prompt"),
        (["x\udcff"], "prompt"),
        (["x", "--max-iterations", "0"], "max_iterations"),
        (["x", "--max-iterations", "11"], "max_iterations"),
        (["x", "--quality-threshold", "11"], "quality_threshold"),
        (["x", "--cost-limit", "-1"], "cost_limit"),
        (["x", "--prefer", "nope"], "preferred_models"),
        (["x", "--exclude", "nope"], "excluded_models"),
        (["x", "--prefer", "gpt4", "--exclude", "gpt4"], "preferred_models"),
        (["x", "--session", "nope"], "session_id"),
        (["x", "--session", UNKNOWN_ID], "session_id"),
        (["x", "--session", UNKNOWN_ID, "--cost-limit", "1"], "cost_limit"),
    ],
)
def test_bad_input_is_named_and_writes_nothing(run: Run, world: World, arguments: list[str], field: str) -> None:
    ran = run("solve", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {field}: ")
    assert written(world) == []


def test_no_model_left_is_bad_input(run: Run, world: World) -> None:
    names = [profile.model_name for profile in world.store.profiles()]

    ran = run("solve", "x", *(word for name in names for word in ("--exclude", name)))

    assert ran.code == 2
    assert "no model is left" in ran.err
    assert written(world) == []


def test_a_bad_variable_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATEX_LEASE_S", "-1")

    ran = run("solve", "x")

    assert ran.code == 2
    assert ran.err.startswith("error: ORCHESTRATEX_LEASE_S: ")


def test_a_failed_thread_exits_1_and_says_why(run: Run, world: World) -> None:
    world.provider._reply = refuse

    ran = run("solve", "x")

    assert ran.code == 1
    assert "error: the thread failed: " in ran.err
    assert "status:       failed" in ran.out
    assert world.store._all(Session)[0].status is SessionStatus.ERROR


def test_an_unreachable_service_exits_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailableError("MongoDB at db:27017 does not answer")

    monkeypatch.setattr(reach, "reach_workers", fail)

    ran = run("solve", "x")

    assert (ran.code, ran.err) == (1, "error: MongoDB at db:27017 does not answer\n")


def test_ctrl_c_leaves_the_thread_and_says_how_to_look(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_id: ObjectId) -> Thread:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.store, "get_thread", interrupt)
    monkeypatch.setattr(world, "run", lambda: None)

    ran = run("solve", "x")

    thread = world.store._all(Thread)[0]
    assert ran.code == 130
    assert f"orchestratex show {thread.id}" in ran.err
    assert world.store._all(Session)[0].status is SessionStatus.ACTIVE


def test_when_anothers_stack_ends_our_own_goes_on(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    @contextmanager
    def reach_workers(_settings: Settings, *, prepare: Prepare, worker_count: int = 1) -> Iterator[Reached]:
        prepare(world.services)
        opened.append("stack")
        if len(opened) == 1:
            raise StackEndedError("The command that ran the local stack has ended.")
        world.run()
        yield Reached(world.services)

    monkeypatch.setattr(reach, "reach_workers", reach_workers)

    ran = run("solve", "x", "--max-iterations", "1")

    assert (ran.code, len(opened)) == (0, 2)
    assert len(world.store._all(Thread)) == 1
