from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestratex.local.child import Command

WaitFor = Callable[[Callable[[], bool]], None]
MakeCommand = Callable[..., Command]


@pytest.fixture
def wait_for() -> WaitFor:
    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in 20 s"
            time.sleep(0.01)

    return wait


@pytest.fixture
def make_command(tmp_path: Path) -> MakeCommand:
    def make(code: str, *, name: str = "worker") -> Command:
        return Command(name=name, argv=(sys.executable, "-I", "-S", "-c", code), env={}, cwd=tmp_path)

    return make
