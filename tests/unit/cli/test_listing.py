"""list and results."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestratex.cli.output import format_cost
from orchestratex.domain.base import ThreadStatus
from orchestratex.domain.thread import Thread
from orchestratex.rules.ages import describe_age, parse_age
from tests.support import World

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run


@pytest.fixture
def threads(world: World) -> dict[str, Thread]:
    done = world.solve("What is a monad?", max_iterations=1, user_id="ann")
    world.clock.pass_time(7000)
    running = world.submit("Why is the sky blue?", user_id="bob")
    world.clock.pass_time(300)
    return {"done": done, "running": running}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), ["running", "done"]),
        (("--user", "ann"), ["done"]),
        (("--session", "{running}"), ["running"]),
        (("--status", "running"), ["running"]),
        (("--status", "ended"), ["done"]),
        (("--status", "completed"), ["done"]),
        (("--status", "initializing"), ["running"]),
        (("--status", "queued"), []),
        (("--since", "2026-01-01T01:00:00Z"), ["running"]),
        (("--user", "ann", "--status", "failed"), []),
        (("--limit", "1"), ["running"]),
    ],
)
def test_threads_are_found_again(
    run: Run, threads: dict[str, Thread], arguments: tuple[str, ...], found: list[str]
) -> None:
    filled = [each.format(running=threads["running"].session_id) for each in arguments]

    plain, as_json = run("list", *filled), run("list", *filled, "--json")

    wanted = [str(threads[name].id) for name in found]
    assert [each["thread_id"] for each in json.loads(as_json.out)] == wanted
    assert [line.split()[0] for line in plain.out.splitlines()[1:-1]] == wanted
    assert plain.code == 0


def test_a_list_ends_with_what_its_threads_cost(run: Run, world: World, threads: dict[str, Thread]) -> None:
    spent = world.store.get_thread(threads["done"].id).total_cost_nanos

    last = run("list", "--user", "ann").out.splitlines()[-1]

    assert last == f"1 thread, {format_cost(spent)} in all"
    assert spent > 0


def test_a_list_says_how_long_each_thread_has_stood(run: Run, threads: dict[str, Thread]) -> None:
    lines = run("list").out.splitlines()
    bodies = {each["thread_id"]: each for each in json.loads(run("list", "--json").out)}

    assert "initializing  5 min" in lines[1]
    assert "completed     2 h" in lines[2]
    assert 300 <= bodies[str(threads["running"].id)]["stood_s"] < 310
    assert bodies[str(threads["done"].id)]["user_id"] == "ann"


def test_a_list_that_is_cut_short_says_so(run: Run, threads: dict[str, Thread]) -> None:
    cut = run("list", "--limit", "1")

    assert "There are more" in cut.err
    assert cut.out.splitlines()[-1].startswith("the newest 1 thread, ")
    assert run("list", "--limit", "2").err == ""


def test_where_there_is_no_thread_that_is_said(run: Run) -> None:
    assert run("list").out == "no thread there\n"
    assert run("list", "--json").out == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--status", "done"), "must be one of running, queued, ended, initializing, "),
        (("--since", "soon"), "or so long ago"),
        (("--session", "x"), "is no id"),
        (("--session", "0" * 24), "names nothing"),
        (("--limit", "0"), "from 1 to 1000"),
    ],
)
def test_a_question_that_is_none_is_refused(run: Run, arguments: tuple[str, ...], problem: str) -> None:
    ran = run("list", *arguments)

    assert ran.code == 2
    assert problem in ran.err


def test_a_sessions_finals_are_printed_as_lines(run: Run, world: World, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    lines = ({"prompt": name, "id": name, "metadata": {"n": 1}, "max_iterations": 1} for name in ("one", "two"))
    path.write_text("\n".join(map(json.dumps, lines)))
    run("submit", str(path))
    known = world.store._all(Thread)

    ran = run("results", str(known[0].session_id))

    bodies = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    assert [(body["id"], body["prompt"], body["metadata"]) for body in bodies] == [
        ("one", "one", {"n": 1}),
        ("two", "two", {"n": 1}),
    ]
    assert [body["final_response"] for body in bodies] == [thread.final_response for thread in known]


def test_what_runs_is_left_out_of_the_results_and_told(run: Run, threads: dict[str, Thread]) -> None:
    ran = run("results", str(threads["running"].session_id))

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("still running and left out: 1 of 1; orchestratex list --session ")


def test_what_failed_is_among_the_results(run: Run, world: World, threads: dict[str, Thread]) -> None:
    failed = {"thread_status": ThreadStatus.FAILED, "final_response": None, "failure_reason": "no model"}
    world.store.set_thread(threads["done"].id, failed)

    ran = run("results", str(threads["done"].session_id))

    assert ran.code == 1
    assert json.loads(ran.out)["failure_reason"] == "no model"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (-5, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_ages_are_told_in_their_largest_unit(seconds: float, said: str) -> None:
    assert describe_age(seconds) == said


@pytest.mark.parametrize(("text", "age"), [("90s", 90), ("30min", 1800), ("30m", 1800), ("2 H", 7200), ("1w", 604_800)])
def test_ages_are_read(text: str, age: float) -> None:
    assert parse_age(text) == timedelta(seconds=age)


@pytest.mark.parametrize("text", ["", "h", "2", "-2h", "2y", "٢h", "1.5h"])
def test_what_is_no_age_is_not_read_as_one(text: str) -> None:
    assert parse_age(text) is None
