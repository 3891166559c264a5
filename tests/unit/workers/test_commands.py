"""What each process of Celery's loads: all of it is memory that an idle stack holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LISTS_MODULES = """
import sys
from click.testing import CliRunner
from workers.__main__ import run

CliRunner().invoke(run, ["--quiet", "-A", "workers.app", sys.argv[1], "--help"])
if sys.argv[1] != "worker":
    from workers.app import app
    app.loader.import_default_modules()
print(*sys.modules)
"""


def load(command: str) -> set[str]:
    line = [sys.executable, "-c", LISTS_MODULES, command]
    there = {**os.environ, "ORCHESTRATEX_REDIS_URL": "redis://127.0.0.1:1/0"}
    ran = subprocess.run(line, cwd=ROOT, env=there, capture_output=True, text=True, check=True, timeout=120)
    return {module.partition(".")[0] if "orchestratex" not in module else module for module in ran.stdout.split()}


@pytest.mark.parametrize("command", ["beat", "flower"])
def test_who_runs_no_task_loads_no_task(command: str) -> None:
    loaded = load(command)

    assert not {"pymongo", "requests", "json_repair", "orchestratex.bootstrap", "orchestratex.advance"} & loaded


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_flower_is_loaded_by_itself_alone(command: str) -> None:
    assert not {"flower", "tornado", "prometheus_client"} & load(command)


def test_flower_is_guarded_however_it_is_started() -> None:
    program = """
import sys
from click.testing import CliRunner
from workers.__main__ import run

CliRunner().invoke(run, ["-A", "workers.app", "flower", "--help"])
from flower.command import Flower
assert Flower.is_guarded
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


def test_a_command_that_we_do_not_run_is_refused() -> None:
    line = [sys.executable, "-m", "workers", "-A", "workers.app", "purge"]
    ran = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)

    assert ran.returncode == 2
    assert "purge" in ran.stderr
