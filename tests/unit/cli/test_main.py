from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orchestratex.cli.output import format_cost, shorten

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

COMMANDS = ("solve", "up", "submit", "show", "trace", "models", "metrics", "init-db", "sandbox", "api")
HEAVY = ("celery", "pymongo", "pydantic", "fastapi", "uvicorn", "requests")
LOADED = f"""
import sys
import orchestratex.cli.main
print([name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    ran = run(command, "--help")

    assert ran.code == 0
    assert f"orchestratex {command}" in ran.out


def test_help_lists_all_commands(run: Run) -> None:
    ran = run("--help")

    assert all(command in ran.out for command in COMMANDS)


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


def test_wrong_usage_exits_2(run: Run) -> None:
    assert run("solve").code == 2
    assert run("nope").code == 2
    assert run("submit", "x.jsonl", "--workers", "0").code == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--fault", "nope"], "kind: "),
        (["--alias", "x=nope"], "the sandbox plays no nope"),
        (["--latency-scale", "-1"], "latency_scale: "),
    ],
)
def test_the_sandbox_refuses_what_it_cannot_play(run: Run, arguments: list[str], problem: str) -> None:
    ran = run("sandbox", *arguments)

    assert ran.code == 2
    assert problem in ran.err


def test_the_sandbox_says_where_it_cannot_listen(run: Run) -> None:
    ran = run("sandbox", "--host", "192.0.2.1", "--port", "0")

    assert ran.code == 1
    assert "192.0.2.1" in ran.err


def test_the_api_is_for_this_machine_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATEX_API_HOST", "0.0.0.0")

    ran = run("api")

    assert ran.code == 2
    assert ran.err.startswith("error: ORCHESTRATEX_API_HOST: ")


def test_long_texts_are_cut_to_a_line() -> None:
    assert shorten("one\n  two", 20) == "one two"
    assert shorten("x" * 20, 10) == "x" * 9 + "…"


def test_costs_show_what_a_call_costs() -> None:
    assert format_cost(1_234_567) == "$0.001235"
