"""Whatever other people wrote, no command prints a character that steers a terminal or hides from the reader."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from orchestratex.advance import cancel
from orchestratex.cli.main import app
from orchestratex.domain.base import Component
from orchestratex.domain.thread import Thread
from orchestratex.local.output import PrefixedOutput
from tests.make import make_metrics
from tests.support import World
from tests.unit.test_terminal import is_hidden

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

EVIL = (
    "\x1b]0;title\x07\x9b2J\x85\r\u202egnp.exe\u2066\u200b\u200d\ufeff\u2028\U000e0041\U000e0100\xad[bold]done[/bold]"
)
HIDDEN = "\u202egnp.exe\u2066\u200b\ufeff\u2028\U000e0041"  # no control characters, which profiles refuse
OWN = {
    "model_name": "own",
    "provider": f"me{HIDDEN}",
    "model_version": f"v{HIDDEN}",
    "api_endpoint": "http://127.0.0.1:9/v1",
    "api_key_required": False,
    "specialties": ["coding"],
    "max_context_length": 8192,
    "cost_per_input_token": 0,
    "cost_per_output_token": 0,
    "rate_limits": {"requests_per_minute": 1, "tokens_per_minute": 1},
}
Fill = Callable[[tuple[str, ...], str], list[str]]
ARGUMENT = EVIL + "\udc9b"  # a byte that is not UTF-8, as Python reads arguments


def spoil(world: World) -> Thread:
    """A thread in which every text that is not ours is hostile."""
    thread = world.solve(f"Say {EVIL}", max_iterations=2, user_id=EVIL)
    for response in world.store.responses_of(thread.id):
        world.store.update_evaluated(response.id, {"response_text": EVIL, "error_message": EVIL})
    world.store.set_thread(thread.id, {"final_response": EVIL, "failure_reason": EVIL, "language": EVIL})
    world.services.journal.write(Component.ORCHESTRATOR, EVIL, EVIL, thread=thread)
    profile = world.store.profiles()[0]
    changes = {"provider": EVIL, "model_version": EVIL, "api_endpoint": f"http://{EVIL}/"}
    assert world.store.write_profiles([], {profile.model_name: changes})
    usage = {"times_selected": 1, "success_rate": 1, "average_score": 7, "total_cost": 0.1}
    world.store.put_window(make_metrics(metric_date=world.clock(), model_usage_stats={EVIL: usage}), seen=None)
    return thread


COMMANDS = [
    ("show", "{id}"),
    ("show", "{id}", "--json"),
    ("trace", "{id}"),
    ("trace", "{id}", "--json"),
    ("models",),
    ("models", "--json"),
    ("models", "check"),
    ("models", "check", "--json"),
    ("models", "refresh"),
    ("models", "refresh", "--json"),
    ("models", "refresh", "--apply"),
    ("models", "add", "{profiles}"),
    ("models", "edit", "gpt4", "--strengths", "{hidden}"),
    ("models", "enable", "gpt4"),
    ("models", "disable", "gpt4"),
    ("metrics", "show", "{spoilt}"),
    ("metrics", "show", "{spoilt}", "--json"),
    ("metrics", "show", "{spoilt}", "--csv"),
    ("metrics", "roll", "{spoilt}"),
    ("retry", "{failed}"),
    ("cancel", "{running}"),
    ("cancel", "{running}", "--json"),
    ("solve", "Say {evil}", "--max-iterations", "1"),
    ("solve", "Say {evil}", "--max-iterations", "1", "--json"),
    ("submit", "{file}"),
    ("submit", "{file}", "--json"),
    ("list",),
    ("list", "--json"),
    ("list", "--user", "{evil}"),
    ("results", "{session}"),
    ("purge", "--session", "{session}", "--yes"),
    ("purge", "--session", "{session}", "--yes", "--json"),
]
REFUSED = [
    ("{evil}",),
    ("--{evil}",),
    ("show", "{evil}"),
    ("show", "{id}", "{evil}"),
    ("trace", "{evil}"),
    ("cancel", "{evil}"),
    ("list", "--session", "{evil}"),
    ("list", "--status", "{evil}"),
    ("list", "--since", "{evil}"),
    ("results", "{evil}"),
    ("purge", "--session", "{evil}"),
    ("purge", "--before", "{evil}"),
    ("retry", "{evil}"),
    ("solve", "a", "--max-iterations", "{evil}"),
    ("solve", "a", "--session", "{evil}"),
    ("solve", "a", "--prefer", "{evil}"),
    ("solve", "a", "--json", "--prefer", "{evil}"),
    ("submit", "{evil}"),
    ("submit", "{bad file}"),
    ("submit", "{file}", "--workers", "{evil}"),
    ("models", "{evil}"),
    ("models", "--{evil}"),
    ("models", "add", "{evil}"),
    ("models", "edit", "{evil}", "--strengths", "{evil}"),
    ("models", "edit", "gpt4", "--endpoint", "{evil}"),
    ("models", "edit", "gpt4", "--dialect", "{evil}"),
    ("models", "enable", "{evil}"),
    ("models", "disable", "{evil}", "--json"),
    ("models", "check", "{evil}"),
    ("init-db", "--profiles", "{evil}"),
    ("init-db", "--{evil}"),
    ("sandbox", "--fault", "{evil}"),
    ("sandbox", "--alias", "{evil}={evil}"),
    ("sandbox", "--host", "{evil}"),
    ("sandbox", "--port", "{evil}"),
    ("up", "{evil}"),
    ("up", "--workers", "{evil}"),
    ("api", "{evil}"),
]


@pytest.fixture
def fill(world: World, tmp_path: Path) -> Fill:
    def fill_in(command: tuple[str, ...], evil: str) -> list[str]:
        good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
        good.write_text(json.dumps({"prompt": f"Say {EVIL}", "max_iterations": 1}))
        bad.write_text(json.dumps({"prompt": "a", EVIL: EVIL}))
        values = {"{hidden}": HIDDEN, "{file}": str(good), "{bad file}": str(bad), "{evil}": evil}
        if "{id}" in command:
            values["{id}"] = str(spoil(world).id)
        if "{session}" in command:
            values["{session}"] = str(spoil(world).session_id)
        if command[0] == "list":
            spoil(world)
        if "{running}" in command:
            values["{running}"] = str(world.submit(f"Say {EVIL}").id)
        if "{failed}" in command:
            values["{failed}"] = str(cancel(world.submit(f"Say {EVIL}").id, world.services).id)
        if "{profiles}" in command:
            profiles = tmp_path / "own.toml"
            fields = {**OWN, "strengths": HIDDEN}.items()
            profiles.write_text("[[profiles]]\n" + "\n".join(f"{name} = {_to_toml(value)}" for name, value in fields))
            values["{profiles}"] = str(profiles)
        if "{spoilt}" in command:
            spoil(world)
        return [_replace(word, values) for word in command if word != "{spoilt}"]

    return fill_in


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("is_terminal", [False, True], ids=["piped", "on a terminal"])
def test_what_a_command_prints_of_other_peoples_text_is_harmless(
    run: Run, fill: Fill, command: tuple[str, ...], is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_terminal:  # a plain one, for which no colours are written
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    ran = run(*fill(command, EVIL))

    verbatim = (
        {"show", "solve", "retry"} if not is_terminal else set()
    )  # a response in a pipe or a file is what the model wrote
    assert _hidden(ran.err) == []
    assert _hidden(ran.out if command[0] not in verbatim or "--json" in command else ran.out.replace(EVIL, "")) == []
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
def test_what_a_refusal_repeats_is_harmless(run: Run, fill: Fill, command: tuple[str, ...]) -> None:
    ran = run(*fill(command, ARGUMENT))

    assert ran.code in (1, 2)
    assert ran.err
    assert _hidden(ran.out + ran.err) == []


@pytest.mark.parametrize(
    "variable", ["ORCHESTRATEX_API_HOST", "ORCHESTRATEX_LOG_LEVEL", "ORCHESTRATEX_REDIS_URL", "ORCHESTRATEX_HOME"]
)
def test_what_a_refusal_repeats_of_the_environment_is_harmless(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, ARGUMENT.replace("\r", ""))

    ran = run("api")

    assert ran.code == 2
    assert _hidden(ran.out + ran.err) == []


def test_an_error_of_ours_shows_its_traceback_harmlessly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestratex.cli import reach

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(EVIL)

    monkeypatch.setattr(reach, "reach_store", fail)

    ran = run("models")

    assert ran.code == 1
    assert ran.err.startswith("Traceback")
    assert "RuntimeError: \\x1b]0;title" in ran.err
    assert _hidden(ran.err) == []


def test_what_processes_print_under_up_is_harmless() -> None:
    stream = io.StringIO()
    output = PrefixedOutput(stream, width=3, is_coloured=False)

    descriptor = output.open("api")
    os.write(descriptor, f"GET {EVIL}\n".encode() + b"\x9b2J\n")
    os.close(descriptor)
    output.close()

    assert _hidden(stream.getvalue()) == []
    assert "\\u202egnp.exe" in stream.getvalue()


def test_every_command_is_tried() -> None:
    servers = {("up",), ("init-db",), ("sandbox",), ("api",)}  # what they print comes by PrefixedOutput and logging
    tried = {command[:length] for command in COMMANDS for length in (1, 2)} | servers

    assert set(_list_commands(app)) <= tried


def _list_commands(group: typer.Typer, *path: str) -> Iterator[tuple[str, ...]]:
    for command in group.registered_commands:
        yield (*path, command.name or command.callback.__name__)  # type: ignore[union-attr]
    for inner in group.registered_groups:
        yield from _list_commands(inner.typer_instance, *path, str(inner.name))  # type: ignore[arg-type]


def _to_toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {_to_toml(each)}' for name, each in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


def _replace(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def _hidden(text: str) -> list[str]:
    return [f"U+{ord(char):04X}" for char in text if is_hidden(char)]
