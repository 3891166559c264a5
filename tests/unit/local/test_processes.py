from __future__ import annotations

import sys
from pathlib import Path

from orchestratex.local.processes import LINES, process_commands, procfile_text

PROCFILE = Path(__file__).parents[3] / "Procfile"


def test_procfile_says_the_same_lines() -> None:
    assert PROCFILE.read_text() == procfile_text()


def test_names_of_every_process_type() -> None:
    assert list(LINES) == ["api", "worker", "control", "beat", "flower", "sandbox"]


def test_variables_have_defaults() -> None:
    commands = process_commands({}, instance="7")

    assert commands["sandbox"] == [sys.executable, "-m", "orchestratex", "sandbox", "--port", "8700"]
    assert commands["worker"][:7] == [sys.executable, "-m", "workers", "--quiet", "-A", "workers.app", "worker"]
    assert commands["worker"][commands["worker"].index("--concurrency") + 1] == "64"
    assert commands["worker"][commands["worker"].index("--hostname") + 1] == "worker-7@%h"
    assert commands["beat"][-1] == "beat"  # no schedule file: the default one is unpickled


def test_variables_are_replaced_and_stay_one_argument() -> None:
    environ = {"ORCHESTRATEX_WORKER_CONCURRENCY": "5", "ORCHESTRATEX_SANDBOX_PORT": "8 7"}

    commands = process_commands(environ, instance="7")

    assert commands["worker"][commands["worker"].index("--concurrency") + 1] == "5"
    assert commands["sandbox"][-1] == "8 7"


def test_nothing_is_left_unexpanded() -> None:
    words = [word for command in process_commands({}, instance="7").values() for word in command]

    assert not [word for word in words if "$" in word]
