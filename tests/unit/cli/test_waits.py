"""What commands say of threads that wait, fail, are left or were played by the sandbox."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from bson import ObjectId

from orchestratex.advance import cancel
from orchestratex.cli import reach
from orchestratex.cli.advice import advise
from orchestratex.cli.reach import Prepare, Reached
from orchestratex.cli.snapshot import Snapshot
from orchestratex.cli.waits import WaitWatch
from orchestratex.domain.base import StopReason
from orchestratex.domain.response import Completion
from orchestratex.domain.thread import Thread
from orchestratex.errors import ProviderAuthenticationError
from orchestratex.providers.base import CompletionRequest
from orchestratex.settings import Settings
from tests.make import make_answer, make_thread
from tests.support import World, answer_by_rule
from tests.unit.cli.test_following import FakeStack

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

PROMPT = "What is a monad?"


def refuse(request: CompletionRequest) -> str:
    raise ProviderAuthenticationError(request.model_name, "HTTP 401: invalid x-api-key")


def play(request: CompletionRequest) -> Completion:
    return Completion(text=answer_by_rule(request), latency_ms=1, is_simulated=True)


def test_a_failure_is_told_once_with_what_to_run_next(run: Run, world: World) -> None:
    world.provider._reply = refuse

    ran = run("solve", PROMPT)

    (thread,) = world.store._all(Thread)
    assert (ran.out + ran.err).count("HTTP 401: invalid x-api-key") == 1
    assert "error: the thread failed: no model is left: claude, gemini, " in ran.err
    assert f"next: orchestratex models check; when that is mended: orchestratex retry {thread.id}" in ran.err


def test_show_names_the_cause_and_what_to_run_next(run: Run, world: World) -> None:
    world.provider._reply = refuse
    thread = world.solve(PROMPT)

    shown = run("show", str(thread.id)).out

    assert shown.count("HTTP 401") == 1
    assert f"orchestratex retry {thread.id}" in shown


@pytest.mark.parametrize(
    ("stop_reason", "advice"),
    [
        (StopReason.FAILED, "orchestratex models check"),
        (StopReason.COST_LIMIT, "a higher --cost-limit"),
        (StopReason.DEADLINE, "orchestratex retry"),
        (StopReason.CANCELLED, "orchestratex retry"),
    ],
)
def test_every_failure_has_a_next_step(stop_reason: StopReason, advice: str) -> None:
    thread = make_thread(thread_status="failed", due_step=None, stop_reason=stop_reason)

    assert advice in (advise(thread) or "")


def test_what_ended_well_or_runs_needs_no_advice() -> None:
    ended = make_thread(
        thread_status="completed", due_step=None, stop_reason=StopReason.NOTHING_SEVERE, final_response="x"
    )

    assert advise(ended) is None
    assert advise(make_thread()) is None


@pytest.mark.parametrize("view", [("show",), ("show", "--json"), ("trace",), ("trace", "--json")])
def test_every_view_says_that_the_sandbox_played(run: Run, world: World, view: tuple[str, ...]) -> None:
    world.provider._reply = play
    played = world.solve(PROMPT, max_iterations=1)
    world.provider._reply = answer_by_rule
    real = world.solve(PROMPT, max_iterations=1)

    def says(thread: Thread) -> bool:
        out = run(view[0], str(thread.id), *view[1:]).out
        return '"is_simulated": true' in out if "--json" in view else "sandbox" in out and "(simulated)" in out

    assert says(played)
    assert not says(real)


def test_show_says_what_a_thread_waits_for(run: Run, world: World) -> None:
    thread = world.submit(PROMPT)
    world.clock.pass_time(400)

    shown = run("show", str(thread.id))
    drawn = run("trace", str(thread.id)).out
    body = json.loads(run("show", str(thread.id), "--json").out)

    assert re.search(r"waiting: +for .+: nothing works on it: nothing ever came from a control worker", shown.out)
    assert re.search(r"waiting: for .+: nothing works on it", drawn)
    assert body["waiting_for"].startswith("nothing works on it")
    assert body["waiting_s"] >= 0


def test_who_watches_is_told_of_a_refused_connection_and_not_of_workers(world: World) -> None:
    thread = world.submit(PROMPT)
    now = world.clock()
    call = make_answer(
        retried_for="claude: connection refused at 127.0.0.1:9",
        refused_since=now - timedelta(seconds=20),
        not_before=now + timedelta(seconds=5),
    )

    told = WaitWatch(world.services).tell(Snapshot(thread.model_copy(update={"due_step": "respond"}), [call]))

    assert told == "for 20 s: claude: connection refused at 127.0.0.1:9; it is asked again"


def test_who_watches_is_not_told_of_what_takes_a_moment(world: World) -> None:
    thread = world.submit(PROMPT)
    watch = WaitWatch(world.services)

    world.clock.pass_time(10)
    soon = watch.tell(Snapshot(thread, []))
    world.clock.pass_time(10)

    assert soon == ""
    assert watch.tell(Snapshot(thread, [])).startswith("for 20 s: nothing works on it: ")


def use_stack(monkeypatch: pytest.MonkeyPatch, world: World, *, is_owner: bool) -> None:
    @contextmanager
    def reach_workers(_settings: Settings, *, prepare: Prepare, worker_count: int = 1) -> Iterator[Reached]:
        prepare(world.services)
        yield Reached(world.services, FakeStack(is_owner=is_owner, uses_sandbox=False))

    def interrupt(_id: ObjectId) -> Thread:
        raise KeyboardInterrupt

    monkeypatch.setattr(reach, "reach_workers", reach_workers)
    monkeypatch.setattr(world.store, "get_thread", interrupt)


def test_ctrl_c_says_that_nothing_works_on_the_thread_where_its_workers_end_too(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_stack(monkeypatch, world, is_owner=True)

    ran = run("solve", PROMPT)

    (thread,) = world.store._all(Thread)
    assert ran.code == 130
    assert "Nothing works on it until `orchestratex up`" in ran.err
    assert f"orchestratex retry {thread.id}" in ran.err


def test_ctrl_c_leaves_the_thread_to_the_workers_of_another_command(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_stack(monkeypatch, world, is_owner=False)

    ran = run("solve", PROMPT)

    assert "Nothing works on it" not in ran.err
    assert "orchestratex show " in ran.err


def test_retry_waits_for_a_thread_that_was_left(run: Run, world: World) -> None:
    thread = world.submit(PROMPT, max_iterations=1)

    ran = run("retry", str(thread.id))

    ended = world.store.get_thread(thread.id)
    assert ran.code == 0
    assert ended.is_ended
    assert ended.retries == 0
    assert ran.out.startswith(ended.final_response or "?")


def test_retry_of_a_cancelled_thread_still_takes_it_up(run: Run, world: World) -> None:
    thread = world.submit(PROMPT, max_iterations=1)
    cancel(thread.id, world.services)

    run("retry", str(thread.id))

    assert world.store.get_thread(thread.id).retries == 1


def test_a_misspelt_variable_is_told_and_never_its_value(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestratex.cli.inputs import _tell_misspelt

    _tell_misspelt.cache_clear()
    monkeypatch.setenv("ORCHESTRATEX_PANELSIZE", "s3cret")

    ran = run("models")

    assert "warning: ORCHESTRATEX_PANELSIZE is no setting and does nothing; did you mean ORCHESTRATEX_PANEL_SIZE?" in (
        ran.err
    )
    assert "s3cret" not in ran.err + ran.out


def test_every_bad_variable_is_named_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATEX_LEASE_S", "-1")
    monkeypatch.setenv("ORCHESTRATEX_PANEL_SIZE", "none")

    ran = run("models")

    assert ran.code == 2
    assert "ORCHESTRATEX_LEASE_S: must be more than 0" in ran.err
    assert "ORCHESTRATEX_PANEL_SIZE: must be a whole number" in ran.err
