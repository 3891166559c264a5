from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from orchestratex.cli import reach
from orchestratex.cli.main import main
from orchestratex.cli.reach import Prepare, Reached
from orchestratex.settings import Settings, load_settings
from tests.support import World


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def _use_world(monkeypatch: pytest.MonkeyPatch, world: World) -> Iterator[None]:
    """Commands reach the world; its workers are done before the command first looks."""

    @contextmanager
    def reach_store(_settings: Settings, *, with_models: bool = False) -> Iterator[Reached]:
        yield Reached(world.services)

    @contextmanager
    def reach_workers(_settings: Settings, *, prepare: Prepare, worker_count: int = 1) -> Iterator[Reached]:
        prepare(world.services)
        prepare(world.services)
        world.run()
        yield Reached(world.services)

    monkeypatch.setattr(reach, "reach_store", reach_store)
    monkeypatch.setattr(reach, "reach_workers", reach_workers)
    for name in list(os.environ):
        if name.startswith("ORCHESTRATEX_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    load_settings.cache_clear()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    load_settings.cache_clear()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["orchestratex", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return run_command
