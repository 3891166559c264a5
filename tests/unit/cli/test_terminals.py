"""Terminals that are narrow or not UTF-8: nothing is lost, nothing is cut in two, nothing fails."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestratex.advance import cancel
from orchestratex.cli import reach
from orchestratex.cli.main import main
from orchestratex.cli.prose import cut_text, wrap_prose
from orchestratex.cli.reach import Prepare, Reached
from orchestratex.cli.tables import choose_columns, fit_columns
from orchestratex.domain.thread import Thread
from orchestratex.settings import Settings
from tests.support import World

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Ran, Run

RunOn = Callable[..., "Ran"]

WIDE = "Café 中文 → “done” … 😀"
LONG = (
    "Sunlight meets air molecules, and of its colours the shorter waves are scattered far more than the longer ones. "
)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    prompts = ["Why is the sky blue, and why does it turn red in the evening?", "What is a monad, in plain words?"]
    path.write_text("\n".join(json.dumps({"prompt": each, "max_iterations": 1}) for each in prompts))
    return str(path)


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch, run: Run) -> RunOn:
    """Runs a command on a terminal of so many signs; what it prints comes back without its colours."""

    def run_command(width: int, *arguments: str) -> Ran:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        ran = run(*arguments)
        return replace(ran, out=re.sub(r"\x1b\[[0-9;]*m", "", ran.out))

    return run_command


def run_with_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str, *arguments: str) -> tuple[int, str, str]:
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    monkeypatch.setattr(sys, "argv", ["orchestratex", *arguments])
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    with pytest.raises(SystemExit) as ended:
        main()
    texts = []
    for stream in streams.values():
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(encoding))
    return int(ended.value.code or 0), texts[0], texts[1]


def solve_wide(world: World) -> Thread:
    thread = world.solve(WIDE, max_iterations=1)
    world.store.set_thread(thread.id, {"final_response": WIDE})
    return world.store.get_thread(thread.id)


# -- encodings


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "koi8-r", "shift_jis"])
@pytest.mark.parametrize("command", ["show", "trace"])
def test_a_result_is_printed_whatever_the_encoding(
    monkeypatch: pytest.MonkeyPatch, world: World, encoding: str, command: str
) -> None:
    thread = solve_wide(world)

    code, out, err = run_with_encoding(monkeypatch, encoding, command, str(thread.id))

    assert (code, "Traceback" in err) == (0, False)
    assert "done" in out
    assert "\\U0001f600" in out  # what the encoding lacks is an escape: nothing is lost


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_submit_prints_its_table_after_the_money_is_spent(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt": WIDE, "max_iterations": 1}), encoding="utf-8")

    code, out, err = run_with_encoding(monkeypatch, encoding, "submit", str(path))

    assert (code, "Traceback" in err) == (0, False)
    assert '-> "done"' in out if encoding == "ascii" else "done" in out
    assert "1 of 1 completed" in err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_json_means_the_same_in_every_encoding(monkeypatch: pytest.MonkeyPatch, world: World, encoding: str) -> None:
    thread = solve_wide(world)

    code, out, _ = run_with_encoding(monkeypatch, encoding, "show", str(thread.id), "--json")

    assert code == 0
    assert json.loads(out)["final_response"] == WIDE


def test_an_error_is_told_in_every_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run_with_encoding(monkeypatch, "ascii", "show", "中文")

    assert code == 2
    assert err.startswith("error: thread_id: '\\u4e2d\\u6587' is no id")


# -- narrow terminals


def test_submits_table_fits_80_signs_and_cuts_no_word(run_on: RunOn, world: World, file: str) -> None:
    ran = run_on(80, "submit", file)

    threads = world.store._all(Thread)
    lines = ran.out.splitlines()
    assert ran.code == 0
    assert max(map(len, lines)) <= 80
    assert [line.split()[1:3] for line in lines[1:]] == [[str(thread.id), "completed"] for thread in threads]
    assert "Why is the sky…" in lines[1]
    assert "What is a monad,…" in lines[2]


@pytest.mark.parametrize("command", ["models", "models check", "metrics show", "cancel {id}"])
def test_no_table_cuts_a_word_on_80_signs(run_on: RunOn, world: World, command: str) -> None:
    thread = world.solve("What is a monad?", max_iterations=1)
    run_on(80, "metrics", "roll")
    arguments = command.format(id=thread.id).split()

    narrow, wide = run_on(80, *arguments), run_on(500, *arguments)

    assert max(map(len, narrow.out.splitlines())) <= 80
    assert set(narrow.out.split()) <= set(wide.out.split())
    assert "left out in so narrow a terminal" not in wide.err


def test_a_response_is_wrapped_between_words(run_on: RunOn, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=1)
    code = "x = " + "1 + " * 40 + "1"
    world.store.set_thread(thread.id, {"final_response": f"{LONG * 2}\n\n- {LONG}\n```python\n{code}\n```\n"})

    ran = run_on(80, "show", str(thread.id))

    shown = ran.out.split("```")
    assert max(map(len, shown[0].splitlines())) <= 80
    assert shown[0].split() == f"{LONG * 2} - {LONG}".split()
    assert f"{code}\n" in ran.out


@pytest.mark.parametrize("width", [10, 20, 33, 80])
def test_wrapping_changes_nothing_but_spaces(width: int) -> None:
    text = f"{LONG}\n  {LONG}\n1. {LONG}\n> {LONG}\n{'x' * 100} y\n\n    {LONG}\n| a | {LONG} |\n中文 {'中' * 50}"

    wrapped = wrap_prose(text, width=width)

    assert wrapped.split() == text.split()


@pytest.mark.parametrize(
    ("text", "length", "cut"),
    [
        ("one two three", 13, "one two three"),
        ("one two three", 12, "one two…"),
        ("one two three", 8, "one two…"),
        ("one two three", 7, "one…"),
        ("one two three four", 15, "one two three…"),
        ("onetwothree", 7, "onetwo…"),
        ("a onetwothreefour", 10, "a onetwot…"),
        ("", 5, ""),
    ],
)
def test_a_text_is_cut_between_words(text: str, length: int, cut: str) -> None:
    assert cut_text(text, length) == cut
    assert len(cut) <= length


def test_columns_are_narrowed_to_their_longest_words_and_no_further() -> None:
    rows = [["a" * 24, "one two three four", "five six seven"]]

    assert fit_columns(["id", "x", "y"], rows, width=80) == [24, 18, 14]
    assert fit_columns(["id", "x", "y"], rows, width=40) == [24, 6, 6]
    assert fit_columns(["id", "x", "y"], rows, width=37) is None


def test_spare_columns_are_left_out_where_there_is_no_room() -> None:
    columns, rows = ["a", "b", "c"], [["x" * 10, "y" * 10, "z" * 10]]

    chosen = [choose_columns(columns, rows, spare=["c", "a"], width=width) for width in (34, 33, 22, 21, 10, 9)]

    assert chosen == [[0, 1, 2], [0, 1], [0, 1], [1], [1], [0, 1, 2]]


def test_what_a_table_says_is_said_in_blocks_where_it_does_not_fit(run_on: RunOn, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=1)

    ran = run_on(40, "cancel", str(thread.id))

    assert re.search(rf"^thread +{thread.id} *$", ran.out, re.MULTILINE)
    assert re.search(r"^stop_reason +max_iterations *$", ran.out, re.MULTILINE)


# -- before servers stop


@pytest.mark.parametrize("command", [("solve", "What is a monad?"), ("submit", "{file}"), ("retry", "{id}")])
@pytest.mark.parametrize("is_json", [False, True], ids=["for people", "as JSON"])
def test_an_answer_is_shown_before_servers_stop(
    run: Run,
    world: World,
    file: str,
    command: tuple[str, ...],
    is_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cancelled = world.submit("What is a comonad?", max_iterations=1)
    cancel(cancelled.id, world.services)
    shown = []

    @contextmanager
    def reach_workers(_settings: Settings, *, prepare: Prepare, worker_count: int = 1) -> Iterator[Reached]:
        prepare(world.services)
        world.run()
        yield Reached(world.services)
        shown.append(capsys.readouterr().out)

    monkeypatch.setattr(reach, "reach_workers", reach_workers)
    arguments = [each.format(file=file, id=cancelled.id) for each in command]

    ran = run(*arguments, *(["--json"] if is_json else []))

    assert ran.code == 0
    assert "completed" in shown[0]
    assert ran.out == ""


def test_who_interrupts_the_end_of_servers_is_not_told_that_a_shown_thread_was_left(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def reach_workers(_settings: Settings, *, prepare: Prepare, worker_count: int = 1) -> Iterator[Reached]:
        prepare(world.services)
        world.run()
        yield Reached(world.services)
        raise KeyboardInterrupt

    monkeypatch.setattr(reach, "reach_workers", reach_workers)

    ran = run("solve", "What is a monad?", "--max-iterations", "1")

    assert ran.code == 130
    assert "completed" in ran.out
    assert "Left as it is" not in ran.err
