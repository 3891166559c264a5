"""Progress, idleness, and stacks that end or hold no workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestratex.cli import follow, reach
from orchestratex.cli.follow import StackEndedError, Watch
from orchestratex.cli.progress import LineView, describe, open_view
from orchestratex.cli.reach import Reached, apply_environment, has_workers, open_stack
from orchestratex.cli.snapshot import take_snapshot
from orchestratex.cli.tally import describe_tally, open_tally
from orchestratex.cli.waits import Idleness
from orchestratex.errors import LocalStackError, StoreUnavailableError
from orchestratex.local import ProcessStatus
from orchestratex.settings import Settings
from tests.support import World


@dataclass
class FakeStack:
    """A stack that is not there."""

    names: list[str] = field(default_factory=list)
    is_owner: bool = False
    has_ended: bool = False
    uses_sandbox: bool = True
    environment: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def processes(self) -> list[ProcessStatus]:
        return [ProcessStatus(name, 1, True, 0, None) for name in self.names]

    def check(self) -> None:
        if self.has_ended:
            raise LocalStackError("gone")

    def wait(self) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to stop."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_silence_is_reported_after_15_seconds() -> None:
    clock = Clock()
    idleness = Idleness(lambda: "the broker is away", clock)
    notes = []

    for clock.now in (0.0, 14.0, 15.0, 21.0):
        notes.append(idleness.note("same", is_worked_on=False))

    assert [bool(note) for note in notes] == [False, False, True, True]
    assert notes[-1] == "nothing has moved for 20 s: the broker is away"
    assert idleness.note("moved", is_worked_on=False) == ""


def test_a_call_at_work_is_not_silence() -> None:
    clock = Clock()
    idleness = Idleness(lambda: "", clock)

    for clock.now in (0.0, 60.0):
        assert idleness.note("same", is_worked_on=True) == ""


def test_an_outage_of_the_store_is_waited_for(world: World) -> None:
    answers: list[Any] = [StoreUnavailableError("away"), StoreUnavailableError("away"), "back"]

    def look() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    watch = Watch(look, is_final=lambda seen: seen == "back", pause_s=0, reached=Reached(world.services))

    assert watch.run(lambda _: None) == "back"


def test_patience_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> str:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(follow, "PATIENCE_S", -1)
    watch = Watch(look, is_final=bool, pause_s=0, reached=Reached(world.services))

    with pytest.raises(StoreUnavailableError):
        watch.run(lambda _: None)


def test_the_end_of_anothers_stack_is_noticed(world: World) -> None:
    stack = FakeStack(has_ended=True)
    watch = Watch(lambda: "seen", is_final=bool, pause_s=0, reached=Reached(world.services, stack))

    with pytest.raises(StackEndedError):
        watch.run(lambda _: None)


def test_the_progress_names_status_scores_models_and_cost(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    thread = world.submit("What is a monad?", max_iterations=2)
    with open_view(is_silent=False) as view:
        assert isinstance(view, LineView)
        while world.queue.messages:
            world.work(world.queue.messages.pop(0))
            for _ in range(2):
                view.show(take_snapshot(thread.id, world.services), "")

    lines = capsys.readouterr().err.splitlines()
    assert any("waiting" in line and "evaluating" in line for line in lines)
    assert any("scores" in line for line in lines)
    assert lines[-1].startswith("completed")
    assert len(lines) == len(set(lines))


def test_models_at_work_are_those_whose_call_is_leased(world: World) -> None:
    thread = world.submit("What is a monad?")
    while not (pending := world.store.pending_of(thread.id)):
        world.work(world.queue.messages.pop(0))
    world.store.claim_response(pending[0].id, lease_s=60)

    snapshot = take_snapshot(thread.id, world.services)

    assert [line.split()[0] for line in snapshot.working] == [pending[0].model_name]
    assert dict(describe(snapshot))["at work"] == snapshot.working[0]
    assert snapshot.is_worked_on


def test_a_note_is_said_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = take_snapshot(world.submit("x").id, world.services)
    view = LineView()

    for _ in range(3):
        view.show(snapshot, "no worker seems to run")

    assert capsys.readouterr().err.count("no worker seems to run") == 1


def test_a_tally_counts_states(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    threads = [world.solve("one", max_iterations=1), world.submit("two")]

    with open_tally(2, is_silent=False) as show:
        show(threads, "")
        show(threads, "")

    assert describe_tally(threads).startswith("1 completed, 1 initializing | cost $0.")
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mongodb", "redis"], False),
        (["mongodb", "redis", "worker", "control", "beat"], True),
        (["worker.1", "worker.2", "control"], True),
        (["worker"], False),
    ],
)
def test_workers_are_recognised(names: list[str], expected: bool) -> None:
    assert has_workers(FakeStack(names)) is expected


def test_a_stack_without_workers_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = [FakeStack(["mongodb"]), FakeStack(["mongodb"]), FakeStack(is_owner=True)]

    @contextmanager
    def local_stack(_settings: Settings, **_options: object) -> Iterator[FakeStack]:
        yield stacks.pop(0)

    monkeypatch.setattr(reach, "local_stack", local_stack)
    monkeypatch.setattr(reach, "LOOK_S", 0)

    with open_stack(Settings(), (), accept=lambda stack: stack.is_owner, before_processes=lambda _: None) as stack:
        assert stack.is_owner


def test_a_stack_that_stays_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def local_stack(_settings: Settings, **_options: object) -> Iterator[FakeStack]:
        yield FakeStack(["mongodb"])

    monkeypatch.setattr(reach, "local_stack", local_stack)
    monkeypatch.setattr(reach, "READER_S", -1)

    with (
        pytest.raises(LocalStackError, match="Another command"),
        open_stack(Settings(), (), accept=lambda stack: stack.is_owner, before_processes=lambda _: None),
    ):
        pass


def test_a_stacks_environment_becomes_settings() -> None:
    settings = apply_environment(
        Settings(home="/home"),
        {
            "ORCHESTRATEX_MONGODB_URI": "mongodb://127.0.0.1:1",
            "ORCHESTRATEX_REDIS_URL": "redis://127.0.0.1:2",
            "ORCHESTRATEX_MODELS_API_KEY": "sandbox",
        },
    )

    assert (settings.mongodb_uri, settings.redis_url) == ("mongodb://127.0.0.1:1", "redis://127.0.0.1:2")
    assert settings.models_api_key is not None
    assert settings.models_api_key.get_secret_value() == "sandbox"
    assert (settings.models_base_url, settings.home) == (None, "/home")
