from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestratex.advance import cancel, end_session
from orchestratex.domain.base import Effort, SessionStatus, StopReason, ThreadStatus
from orchestratex.domain.thread import Thread
from tests.support import World

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

PROMPT = "What is a monad?"
UNKNOWN_ID = "0" * 24


def test_cancel_ends_threads_and_says_how(run: Run, world: World) -> None:
    done, waiting = world.solve(PROMPT, max_iterations=1), world.submit(PROMPT)

    ran = run("cancel", str(waiting.id), str(done.id), "--json")

    first, second = map(json.loads, ran.out.splitlines())
    assert ran.code == 0
    assert first["thread_id"] == str(waiting.id)
    assert (first["status"], first["stop_reason"]) == ("failed", "cancelled")
    assert (second["status"], second["stop_reason"]) == ("completed", done.stop_reason and done.stop_reason.value)


def test_cancel_ends_nothing_when_one_id_names_nothing(run: Run, world: World) -> None:
    thread = world.submit(PROMPT)

    ran = run("cancel", str(thread.id), UNKNOWN_ID)

    assert ran.code == 2
    assert UNKNOWN_ID in ran.err
    assert not world.store.get_thread(thread.id).is_ended


def test_retry_takes_a_thread_up_again_and_shows_its_response(run: Run, world: World) -> None:
    thread = world.submit(PROMPT, max_iterations=1)
    cancel(thread.id, world.services)
    end_session(thread.session_id, world.services)

    ran = run("retry", str(thread.id))

    ended = world.store.get_thread(thread.id)
    assert ran.code == 0
    assert ran.out.startswith(ended.final_response or "?")
    assert ended.thread_status is ThreadStatus.COMPLETED
    assert ended.stop_reason is not StopReason.CANCELLED
    assert world.store.get_session(thread.session_id).status is not SessionStatus.ACTIVE


def test_retry_of_a_thread_that_ended_well_shows_it_and_pays_nothing(run: Run, world: World) -> None:
    thread = world.solve(PROMPT, max_iterations=1)
    calls = len(world.store.responses_of(thread.id))

    ran = run("retry", str(thread.id))

    assert ran.code == 0
    assert ran.out.startswith(thread.final_response or "?")
    assert len(world.store.responses_of(thread.id)) == calls
    assert world.store.get_thread(thread.id).retries == 0


def test_an_effort_can_be_asked_for(run: Run, world: World) -> None:
    ran = run("solve", PROMPT, "--max-iterations", "1", "--effort", "low", "--json")

    (thread,) = world.store._all(Thread)
    assert ran.code == 0
    assert thread.options.effort is Effort.LOW
    assert run("solve", PROMPT, "--effort", "extreme").code == 2


def test_a_deadline_can_be_asked_for(run: Run, world: World) -> None:
    ran = run("solve", PROMPT, "--max-iterations", "1", "--deadline", "90", "--json")

    (thread,) = world.store._all(Thread)
    assert ran.code == 0
    assert thread.options.deadline_s == 90
    assert run("solve", PROMPT, "--deadline", "1e9").code == 2
