from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.steps.measure import measure
from tests.support import World

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

UNKNOWN_ID = "0" * 24


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def names(world: World) -> list[str]:
    return sorted({thread.user_id for thread in world.store._all(Thread)})


def test_a_user_is_deleted_with_everything_after_the_count_is_told(run: Run, world: World) -> None:
    for user in ("ann", "ann", "bob"):
        world.solve("What is a monad?", max_iterations=1, user_id=user)
    measure(world.services)
    before = world.store.metrics("daily", limit=5)[0].total_threads

    ran = run("purge", "--user", "ann", "--yes")

    measure(world.services)
    assert (ran.code, ran.out) == (0, "threads deleted: 2; sessions deleted: 2\n")
    assert ran.err == "To delete for good: ended threads: 2; sessions: 2\n"
    assert names(world) == ["bob"]
    assert [session.user_id for session in world.store._all(Session)] == ["bob"]
    assert world.store.metrics("daily", limit=5)[0].total_threads == before == 3


@pytest.mark.parametrize(("said", "code", "left"), [("y\n", 0, []), ("n\n", 1, ["ann"]), ("", 1, ["ann"])])
def test_it_asks_before_it_deletes(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch, said: str, code: int, left: list[str]
) -> None:
    world.solve("What is a monad?", max_iterations=1, user_id="ann")
    answer(monkeypatch, said)

    ran = run("purge", "--user", "ann")

    assert ran.code == code
    assert "Delete them?" in ran.err
    assert names(world) == left


def test_a_session_is_ended_first_and_its_running_threads_are_cancelled(run: Run, world: World) -> None:
    thread = world.submit("What is a monad?")
    other = world.submit("What is a comonad?")

    ran = run("purge", "--session", str(thread.session_id), "--yes", "--json")

    assert json.loads(ran.out) == {
        "threads": 1,
        "sessions": 1,
        "left": 0,
        "found": {"threads": 0, "running": 1, "sessions": 1},
    }
    assert "threads that still run, cancelled first, and deleted, too: 1" in ran.err
    assert [each.id for each in world.store._all(Thread)] == [other.id]


def test_before_a_moment_only_what_has_ended_goes(run: Run, world: World) -> None:
    old = world.solve("What is a monad?", max_iterations=1, user_id="ann")
    world.clock.pass_time(86_400)
    young = world.solve("What is a comonad?", max_iterations=1, user_id="ann")
    world.submit("running", user_id="ann")

    ran = run("purge", "--before", "2026-01-02", "--user", "ann", "--yes")

    assert ran.code == 0
    assert "threads that still run, left as they are: 1" in ran.err
    left = {each.id for each in world.store._all(Thread)}
    assert (old.id in left, young.id in left, len(left)) == (False, True, 2)
    assert run("purge", "--before", "2026-01-03", "--yes").out == "threads deleted: 1; sessions deleted: 0\n"


def test_what_has_calls_under_way_is_told_and_stays(run: Run, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=1)
    call = world.store.responses_of(thread.id)[0].model_copy(update={"lease_token": "held"})
    world.store._tables[type(call)][call.id] = call

    ran = run("purge", "--session", str(thread.session_id), "--yes")

    assert ran.code == 1
    assert "calls under way are over: 1;" in ran.err
    assert world.store.get_thread(thread.id).id == thread.id


def test_nothing_to_delete_is_not_asked_about(run: Run) -> None:
    ran = run("purge", "--user", "nobody")

    assert (ran.code, ran.out) == (0, "threads deleted: 0; sessions deleted: 0\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "name what to delete: --user, --session or --before"),
        (("--session", "x"), "'x' is no id"),
        (("--session", UNKNOWN_ID), "names nothing"),
        (("--before", "yesterday"), "or so long ago: 30min, 2h, 7d"),
        (("--before", "999999w"), "before the year 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(run: Run, arguments: tuple[str, ...], problem: str) -> None:
    ran = run("purge", *arguments, "--yes")

    assert ran.code == 2
    assert problem in ran.err


def test_a_session_of_another_user_is_not_deleted(run: Run, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=1, user_id="ann")

    ran = run("purge", "--session", str(thread.session_id), "--user", "bob", "--yes")

    assert (ran.code, names(world)) == (2, ["ann"])
