"""Whatever other people wrote, no command prints a character that steers a terminal or hides from the reader."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestratex.domain.base import Component
from orchestratex.domain.thread import Thread
from orchestratex.local.output import PrefixedOutput
from tests.support import World
from tests.unit.test_terminal import is_hidden

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

EVIL = (
    "\x1b]0;title\x07\x9b2J\x85\r\u202egnp.exe\u2066\u200b\u200d\ufeff\u2028\U000e0041\U000e0100\xad[bold]done[/bold]"
)
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
    ("retry", "{id}"),
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
        values = {"{file}": str(good), "{bad file}": str(bad), "{evil}": evil}
        if "{id}" in command:
            values["{id}"] = str(spoil(world).id)
        if "{session}" in command:
            values["{session}"] = str(spoil(world).session_id)
        if command[0] == "list":
            spoil(world)
        if "{running}" in command:
            values["{running}"] = str(world.submit(f"Say {EVIL}").id)
        return [_replace(word, values) for word in command]

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

    verbatim = {"show", "solve"} if not is_terminal else set()  # a response in a pipe or a file is what the model wrote
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


def _replace(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def _hidden(text: str) -> list[str]:
    return [f"U+{ord(char):04X}" for char in text if is_hidden(char)]
