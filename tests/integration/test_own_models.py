"""Models of one's own, on a machine without any key: the commands as a new user runs them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestratex.local.ports import free_port
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.server import Running, serve
from tests.integration.test_cli import Shell, pytestmark, shell  # noqa: F401 - of the same machine

PROFILE = """
[[profiles]]
model_name = "{name}"
provider = "own"
model_version = "{name}"
specialties = ["analysis"]
max_context_length = 32000
api_endpoint = "{endpoint}"
api_key_required = false
cost_per_input_token = 0
cost_per_output_token = 0
rate_limits = {{ requests_per_minute = 600, tokens_per_minute = 1000000 }}
"""


@pytest.fixture
def server() -> Iterator[Running]:
    """A server of two models that needs no key: the sandbox, under other names."""
    with serve(SandboxConfig(latency_scale=0, aliases={"left": "gpt4", "right": "claude"})) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, server: Running) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text("".join(PROFILE.format(name=name, endpoint=server.base_url) for name in ("left", "right")))
    return path


def asked(server: Running) -> set[str]:
    return {entry.model for entry in server.state.ledger.entries}


def test_models_of_ones_own_answer_and_evaluate_and_the_sandbox_does_not_play(
    shell: Shell,  # noqa: F811
    server: Running,
    file: Path,
) -> None:
    before = json.loads(shell.run("models", "--json")[1])
    added = shell.run("models", "add", str(file))
    listed = {each["model_name"]: each["reached_by"] for each in json.loads(shell.run("models", "--json")[1])}
    checked = shell.run("models", "check", "--call", "--json")
    solved = shell.run("solve", "Why is the sky blue?", "--max-iterations", "1", "--json")

    assert {each["reached_by"] for each in before} == {"sandbox"}
    assert added[:2] == (0, "left: added\nright: added\n")
    assert {name for name, reached_by in listed.items() if reached_by} == {"left", "right"}
    assert set(listed.values()) == {None, "open endpoint"}
    assert checked[0] == 0, checked
    calls = {each["model_name"]: each["call"] for each in json.loads(checked[1])}
    own = [(calls[name]["answer"]["grade"], calls[name]["evaluation"]["grade"]) for name in ("left", "right")]
    assert own == [("ok", "ok"), ("ok", "ok")]
    body = json.loads(solved[1])
    assert (solved[0], body["uses_sandbox"], body["models"]) == (0, False, ["left", "right"])
    assert asked(server)


def test_a_file_that_a_setting_names_decides_before_the_sandbox_plays(
    shell: Shell,  # noqa: F811
    file: Path,
) -> None:
    code, out, err = shell.run(
        "solve", "Why is the sky blue?", "--max-iterations", "1", "--json", ORCHESTRATEX_PROFILES=str(file)
    )

    body = json.loads(out)
    assert code == 0, err
    assert (body["uses_sandbox"], body["models"]) == (False, ["left", "right"])


def test_a_stack_that_began_with_the_sandbox_says_that_it_plays_on(
    shell: Shell,  # noqa: F811
    server: Running,
    file: Path,
) -> None:
    up = shell.start("up", "--no-flower", ORCHESTRATEX_API_PORT=str(free_port()))
    assert up.stderr
    assert up.stdout
    drain = threading.Thread(target=up.stdout.read, daemon=True)
    drain.start()
    while "Ctrl-C" not in (line := up.stderr.readline()):
        assert line, "the command ended early"

    added = shell.run("models", "add", str(file))
    listed = {each["model_name"]: each["reached_by"] for each in json.loads(shell.run("models", "--json")[1])}
    with_key = json.loads(shell.run("models", "--json", OPENAI_API_KEY="sk-0123456789")[1])
    checked = json.loads(shell.run("models", "check", "gpt4", "--json")[1])
    up.terminate()
    up.wait(60)
    drain.join(10)
    up.stdout.close()
    up.stderr.close()

    assert added[0] == 0
    assert "sandbox plays the models until `orchestratex up` is started again; then left, right can be" in added[2]
    assert (listed["gpt4"], listed["left"]) == ("sandbox", None)
    assert {each["reached_by"] for each in with_key if each["model_name"] not in ("left", "right")} == {"sandbox"}
    assert checked[0]["findings"]["address"]["text"].startswith("sandbox: ")
    assert asked(server) == set()
