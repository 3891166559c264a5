"""Why a thread does not move, as every view says it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestratex.domain.thread import Thread
from orchestratex.errors import LimiterUnavailableError
from orchestratex.limits.base import NoLimiter, Wait
from orchestratex.steps.health import Health
from orchestratex.steps.waiting import Waiting, describe_time, find_waiting
from tests.make import NOW, make_answer, make_response, make_thread
from tests.support import World

WELL = Health({}, refuses=False)
LATER = NOW + timedelta(seconds=90)


def find(thread: Thread, *calls: object, health: Health = WELL) -> Waiting | None:
    return find_waiting(thread, list(calls), lambda: health, LATER)  # type: ignore[arg-type]


def test_what_has_ended_waits_for_nothing() -> None:
    assert find(make_thread(thread_status="completed", due_step=None)) is None


def test_what_a_worker_holds_waits_for_nothing() -> None:
    held = {"lease_token": "t", "lease_until": LATER + timedelta(seconds=1)}

    assert find(make_thread(**held)) is None
    assert find(make_thread(due_step="respond"), make_answer(**held)) is None


def test_what_a_dead_worker_held_is_told() -> None:
    dead = {"lease_token": "t", "lease_until": LATER - timedelta(seconds=1)}

    waiting = find(make_thread(due_step="respond"), make_answer(**dead))

    assert waiting is not None
    assert waiting.why == "it waits for a free worker"


def test_a_message_under_way_is_no_waiting() -> None:
    assert find(make_thread(updated_at=LATER - timedelta(seconds=4))) is None


@pytest.mark.parametrize(
    ("due_step", "part"),
    [
        ("analyse", "control"),
        ("weigh", "control"),
        ("respond", "workers"),
        ("refine", "limits"),
        ("evaluate", "broker"),
    ],
)
def test_whoever_should_do_something_is_named(due_step: str, part: str) -> None:
    waiting = find(make_thread(due_step=due_step), health=Health({part: "it is away", "beat": "no"}, refuses=False))

    assert waiting == Waiting("nothing works on it: it is away", NOW, is_silent=True)
    assert waiting.tell(LATER) == "for 1 min: nothing works on it: it is away"


def test_who_is_not_needed_is_not_blamed() -> None:
    waiting = find(make_thread(due_step="weigh"), health=Health({"workers": "away", "limits": "away"}, refuses=False))

    assert waiting is not None
    assert waiting.why == "it waits for a free worker"


def test_a_refused_connection_is_told_as_the_cause() -> None:
    call = make_answer(
        retried_for="claude: connection refused at 127.0.0.1:9",
        refused_since=NOW + timedelta(seconds=30),
        not_before=LATER + timedelta(seconds=4),
    )

    waiting = find(make_thread(due_step="respond"), call, health=Health({"workers": "away"}, refuses=False))

    assert waiting is not None
    assert waiting.why == "claude: connection refused at 127.0.0.1:9; it is asked again"
    assert waiting.seconds(LATER) == 60


def test_a_call_that_waits_for_a_seat_says_so() -> None:
    call = make_response(
        model_name="left", seat_wanted_at=LATER - timedelta(seconds=40), waits_for="left takes no more than 1 at once"
    )

    waiting = find(make_thread(due_step="evaluate"), call)

    assert waiting is not None
    assert waiting.tell(LATER) == "for 40 s: left's call waits its turn: left takes no more than 1 at once"


def test_evaluations_that_wait_for_the_same_are_told_once() -> None:
    calls = [
        make_response(model_name=name, waits_for="the limits in Redis cannot be asked", not_before=LATER)
        for name in ("gpt4", "gpt4", "claude")
    ]

    waiting = find(make_thread(due_step="evaluate"), *calls)

    assert waiting is not None
    assert waiting.why.count("gpt4's call waits") == 1
    assert "claude's call waits" in waiting.why


def test_nobody_waits_for_an_assessment() -> None:
    call = make_answer(purpose="assessment", waits_for="a limit", not_before=LATER)

    waiting = find(make_thread(due_step="respond"), call)

    assert waiting is not None
    assert waiting.why == "it waits for a free worker"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (59, "55 s"), (60, "1 min"), (3599, "59 min"), (7320, "2 h 2 min")]
)
def test_times_are_told_in_steps(seconds: float, told: str) -> None:
    assert describe_time(seconds) == told


class FullLimiter(NoLimiter):
    """A Redis that answers and takes nothing, until it does."""

    is_full = True

    def book(self, *arguments: object, **options: object) -> Wait:
        if self.is_full:
            raise LimiterUnavailableError("the limits in Redis at cache:6379 cannot be asked: OOM")
        return Wait(0.0)


def test_a_call_that_is_given_back_says_why_until_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    world, limiter = World(), FullLimiter()
    monkeypatch.setattr(NoLimiter, "book", lambda _, *a, **o: limiter.book(*a, **o))
    thread = world.submit("What is a monad?", max_iterations=1)
    world.run()
    (call,) = world.store.pending_of(thread.id)
    waiting = find_waiting(world.store.get_thread(thread.id), [call], lambda: WELL, world.clock())

    limiter.is_full = False
    world.clock.pass_time(30)
    world.queue.send_iteration(world.store.get_thread(thread.id).due_step, thread.id)  # type: ignore[arg-type]
    world.run()

    assert waiting is not None
    assert waiting.why == f"{call.model_name}'s call waits: the limits in Redis at cache:6379 cannot be asked: OOM"
    assert world.store.get_response(call.id).waits_for is None
    assert world.store.get_thread(thread.id).is_ended
