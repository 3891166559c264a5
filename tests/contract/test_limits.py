"""What the limiter and the breaker promise, held against both that keep it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestratex.errors import LimiterUnavailableError, LocalStackError
from orchestratex.limits.base import Limiter, Pacing, Wait
from orchestratex.limits.breaker import Breaker, BreakerPolicy, BreakerState, MemoryBreaker, RedisBreaker
from orchestratex.limits.memory import MemoryLimiter
from orchestratex.limits.shared import Client, RedisLimiter, connect
from orchestratex.local.binaries import find_binary
from orchestratex.local.output import LogFiles
from orchestratex.local.redis_server import start_redis
from orchestratex.local.service import Service
from tests.limits import MODEL, Granted, Seconds, most_in_window

MINUTE_S = 6.0  # of the tests: slots of 30 requests are 0.2 s apart
SLOT_S = MINUTE_S / 30 / 0.97
CLOSE_S = 0.1  # what a busy machine may take between two questions
PACING = Pacing(minute_s=MINUTE_S)
POLICY = BreakerPolicy(open_s=0.3, open_max_s=0.6, trial_s=1.0, trial_poll_s=0.2, window_s=2.0)
PATIENCE_S = 60


@dataclass
class Lab:
    """The ports under test and a way to let their clock go on."""

    limiter: Limiter
    breaker: Breaker
    pass_time: Callable[[float], None]

    def book(self, call_id: str, *, rpm: int = 30, tpm: int = 20_000, tokens: int = 10) -> float:
        return self.limiter.book(MODEL, call_id=call_id, requests_per_minute=rpm, tokens_per_minute=tpm, tokens=tokens)

    def ask(self, call_id: str, *, seats: int | None = 1, seat_s: float = 30.0, rpm: int = 60_000) -> Wait:
        """Ask for a seat of a model whose rates do not bind."""
        return self.limiter.book(
            MODEL,
            call_id=call_id,
            requests_per_minute=rpm,
            tokens_per_minute=10**9,
            tokens=1,
            seats=seats,
            seat_s=seat_s,
        )

    def sit(self, call_id: str, *, seats: int | None = 1, seat_s: float = 30.0) -> None:
        """Come back as told until seated."""
        while (wait := self.ask(call_id, seats=seats, seat_s=seat_s)) > 0:
            assert not wait.is_for_seat, f"{call_id} finds no seat"
            self.pass_time(wait)

    def finish(self, call_id: str) -> tuple[str, ...]:
        """The call is answered; whose turn it is."""
        return self.limiter.correct(MODEL, call_id=call_id, estimated=1, actual=1)

    def await_grant(self, call_id: str, *, rpm: int = 30, tpm: int = 20_000, tokens: int = 10) -> float:
        """Come back as told until granted; the seconds that it told."""
        told_s = 0.0
        while (wait_s := self.book(call_id, rpm=rpm, tpm=tpm, tokens=tokens)) > 0:
            told_s += wait_s
            self.pass_time(wait_s)
        return told_s


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home: Path = tmp_path_factory.mktemp("redis")
    try:
        binary = find_binary("valkey-server")
    except LocalStackError as error:
        pytest.skip(str(error))
    service = start_redis(binary, home / "data", logs=LogFiles(home))
    yield service
    service.child.stop(10)


@pytest.fixture
def client(server: Service) -> Iterator[Client]:
    with connect(server.uri) as opened:
        empty(opened)
        yield opened


def empty(client: Client) -> None:
    """What FLUSHALL does, which our user may not."""
    for key in client.scan_iter(count=1000):
        client.delete(key)


def redis_lab(client: Client) -> Lab:
    limiter = RedisLimiter(client, prefix="t:", pacing=PACING)
    return Lab(limiter, RedisBreaker(client, prefix="t:", policy=POLICY), lambda seconds: pass_time(client, seconds))


def redis_now(client: Client) -> float:
    seconds, micros = client.time()
    return float(seconds) + float(micros) / 1e6


def pass_time(client: Client, seconds: float) -> None:
    until, deadline = redis_now(client) + seconds, time.monotonic() + PATIENCE_S
    while redis_now(client) < until:
        assert time.monotonic() < deadline, "Redis' clock stands still"
        threading.Event().wait(0.002)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def lab(request: pytest.FixtureRequest) -> Lab:
    """Each test runs on both twins."""
    if request.param == "redis":
        return redis_lab(request.getfixturevalue("client"))
    clock = Seconds()

    def go_on(seconds: float) -> None:
        clock.now += seconds

    return Lab(MemoryLimiter(clock, PACING), MemoryBreaker(clock, POLICY), go_on)


def test_first_call_goes_at_once_and_the_next_waits_a_slot(lab: Lab) -> None:
    assert lab.book("a") == 0

    assert lab.book("b") == pytest.approx(SLOT_S, abs=CLOSE_S)


def test_booked_slots_follow_each_other(lab: Lab) -> None:
    waits = [lab.book(f"c{number}") for number in range(6)]

    assert waits == pytest.approx([number * SLOT_S for number in range(6)], abs=CLOSE_S)
    assert waits == sorted(waits)


def test_coming_back_early_returns_the_rest_of_the_wait(lab: Lab) -> None:
    lab.book("a")
    for number in range(4):
        wait_s = lab.book(f"c{number}")

    lab.pass_time(SLOT_S)

    assert lab.book("c3") <= wait_s - SLOT_S + 0.001


def test_coming_back_in_time_is_granted(lab: Lab) -> None:
    lab.book("a")
    wait_s = lab.book("b")

    lab.pass_time(wait_s)

    assert lab.book("b") == 0


def test_asking_again_after_a_grant_is_a_new_call(lab: Lab) -> None:
    lab.book("a")

    assert lab.book("a") > 0


def test_models_have_limits_of_their_own(lab: Lab) -> None:
    lab.book("a")

    assert lab.limiter.book("other", call_id="b", requests_per_minute=60, tokens_per_minute=20_000, tokens=10) == 0.0


def test_tokens_pace_calls_too(lab: Lab) -> None:
    for number in range(3):
        lab.await_grant(f"c{number}", rpm=6000, tokens=4000)
        lab.limiter.correct(MODEL, call_id=f"c{number}", estimated=4000, actual=4000)

    told_s = lab.await_grant("last", rpm=6000, tokens=10)

    assert told_s == pytest.approx(4000 * MINUTE_S / (0.97 * 20_000), abs=CLOSE_S + 0.2)


def test_correction_makes_room(lab: Lab) -> None:
    lab.await_grant("a", rpm=6000, tokens=19_000)

    lab.limiter.correct(MODEL, call_id="a", estimated=19_000, actual=100)

    assert lab.await_grant("b", rpm=6000, tokens=19_000) < 1


def test_correcting_twice_counts_once(lab: Lab) -> None:
    lab.await_grant("a", rpm=6000, tokens=10_000)

    for _ in range(3):
        lab.limiter.correct(MODEL, call_id="a", estimated=10_000, actual=9000)

    assert lab.await_grant("b", rpm=6000, tokens=12_000) > MINUTE_S / 2


def test_a_call_above_the_limit_goes_alone(lab: Lab) -> None:
    lab.await_grant("small", rpm=6000, tokens=100)

    told_s = lab.await_grant("huge", rpm=6000, tokens=50_000)

    assert told_s == pytest.approx(PACING.window_s, abs=0.8)
    assert lab.book("next", rpm=6000, tokens=100) > 0


def test_a_call_that_does_not_fit_is_not_overtaken(lab: Lab) -> None:
    for number in range(2):
        lab.await_grant(f"c{number}", rpm=6000, tokens=5000)
        lab.limiter.correct(MODEL, call_id=f"c{number}", estimated=5000, actual=5000)
    wait_s = lab.book("large", rpm=6000, tokens=15_000)
    while (again_s := lab.book("large", rpm=6000, tokens=15_000)) > 0 and again_s < 0.15:
        lab.pass_time(again_s)

    assert wait_s > 0
    assert lab.book("small", rpm=6000, tokens=1) > 0


def test_a_forgotten_booking_makes_room(lab: Lab) -> None:
    lab.book("a")
    for number in range(20):
        lab.book(f"c{number}")

    for number in range(20):
        lab.limiter.forget(MODEL, call_id=f"c{number}")

    assert lab.book("b") <= SLOT_S + 0.001


def test_a_slot_is_lost_after_a_minute(lab: Lab) -> None:
    lab.book("a")
    wait_s = lab.book("b")

    lab.pass_time(wait_s + MINUTE_S + 0.1)
    lab.book("c")

    assert lab.book("b") > 0  # booked anew, behind c


def test_late_calls_do_not_leave_as_a_burst(lab: Lab) -> None:
    for number in range(10):
        lab.book(f"c{number}")

    lab.pass_time(10 * SLOT_S)
    waits = [lab.book(f"c{number}") for number in range(1, 10)]

    assert waits.count(0) == 1
    assert waits == pytest.approx([number * 0.8 * SLOT_S for number in range(9)], abs=CLOSE_S)


def test_nobody_is_granted_in_a_pause(lab: Lab) -> None:
    lab.book("a")
    wait_s = lab.book("b")

    lab.limiter.pause(MODEL, seconds=1)
    lab.pass_time(wait_s)

    assert 0 < lab.book("b") < 1 + SLOT_S
    assert lab.book("c") > lab.book("b")


def test_a_shorter_pause_does_not_shorten_a_longer_one(lab: Lab) -> None:
    lab.limiter.pause(MODEL, seconds=5)

    lab.limiter.pause(MODEL, seconds=0.1)

    assert lab.book("a") == pytest.approx(5, abs=CLOSE_S)


def test_a_pause_slows_once_an_incident_and_recovers(lab: Lab) -> None:
    for _ in range(20):
        lab.limiter.pause(MODEL, seconds=0.01)
    lab.pass_time(0.05)
    lab.book("a")

    assert lab.book("b") == pytest.approx(SLOT_S / 0.7, rel=0.01, abs=CLOSE_S)


def test_no_more_calls_sit_than_there_are_seats(lab: Lab) -> None:
    lab.sit("a", seats=2)
    lab.sit("b", seats=2)

    wait = lab.ask("c", seats=2)

    assert wait > 0
    assert wait.is_for_seat


def test_a_wait_for_the_rates_is_none_for_a_seat(lab: Lab) -> None:
    lab.ask("a", seats=5, rpm=30)

    wait = lab.ask("b", seats=5, rpm=30)

    assert wait == pytest.approx(SLOT_S, abs=CLOSE_S)
    assert not wait.is_for_seat


def test_a_model_without_seats_takes_any_number_at_once(lab: Lab) -> None:
    for number in range(20):
        lab.sit(f"c{number}", seats=None)


def test_seats_are_a_models_own(lab: Lab) -> None:
    lab.sit("a")

    wait_s = lab.limiter.book(
        "other", call_id="b", requests_per_minute=60_000, tokens_per_minute=10**9, tokens=1, seats=1
    )

    assert wait_s == 0.0


@pytest.mark.parametrize("verb", ["correct", "give up", "release", "forget"])
def test_a_call_that_is_over_frees_its_seat_and_calls_the_next(lab: Lab, verb: str) -> None:
    lab.sit("a")
    lab.ask("b")
    lab.ask("c")

    woken = {
        "correct": lambda: lab.limiter.correct(MODEL, call_id="a", estimated=1, actual=1),
        "give up": lambda: lab.limiter.correct(MODEL, call_id="a", estimated=0, actual=0),
        "release": lambda: lab.limiter.release(MODEL, call_id="a"),
        "forget": lambda: lab.limiter.forget(MODEL, call_id="a"),
    }[verb]()

    assert woken == ("b",)
    lab.sit("b")


def test_as_many_are_called_as_seats_are_free(lab: Lab) -> None:
    for name in "abc":
        lab.sit(name, seats=3)
    for name in "defg":
        lab.ask(name, seats=3)

    woken = [lab.finish(name) for name in "abc"]

    assert woken == [("d",), ("d", "e"), ("d", "e", "f")]


def test_freeing_a_seat_twice_frees_one(lab: Lab) -> None:
    lab.sit("a", seats=2)
    lab.sit("b", seats=2)

    lab.finish("a")
    lab.limiter.release(MODEL, call_id="a")
    lab.finish("a")
    lab.sit("c", seats=2)

    assert lab.ask("d", seats=2).is_for_seat


def test_seats_are_taken_in_the_order_of_first_asking(lab: Lab) -> None:
    lab.sit("a")
    waits = [lab.ask(name) for name in "bcd"]
    lab.finish("a")

    late = lab.ask("d")

    assert late.is_for_seat  # the seat is free, and b's turn
    assert waits == sorted(waits)
    lab.sit("b")
    lab.finish("b")
    lab.sit("c")


def test_asking_again_and_again_gains_nothing(lab: Lab) -> None:
    lab.sit("a")
    lab.ask("b")
    for _ in range(20):
        lab.ask("c")
    lab.finish("a")

    assert lab.ask("c").is_for_seat
    lab.sit("b")


def test_who_does_not_come_back_in_time_is_passed_and_keeps_its_place(lab: Lab) -> None:
    lab.sit("a")
    wait_s = lab.ask("b")
    lab.finish("a")
    lab.pass_time(wait_s + PACING.patience * MINUTE_S + 0.05)

    lab.sit("c")
    lab.ask("d")

    assert lab.finish("c") == ("b", "d")  # b may be lost: the next one is called, too
    lab.sit("b")


def test_a_place_in_line_is_lost_after_a_minute(lab: Lab) -> None:
    lab.sit("a", seat_s=60.0)
    lab.ask("b", seat_s=60.0)
    lab.pass_time(PACING.seat_most * MINUTE_S + MINUTE_S + 1)
    lab.ask("c", seat_s=60.0)

    lab.ask("b", seat_s=60.0)

    assert lab.finish("a") == ("c",)


def test_a_forgotten_call_leaves_the_line(lab: Lab) -> None:
    lab.sit("a")
    lab.ask("b")
    lab.ask("c")
    lab.limiter.forget(MODEL, call_id="b")

    assert lab.finish("a") == ("c",)


def test_a_dead_callers_seat_is_free_after_its_calls_time_limit(lab: Lab) -> None:
    lab.sit("dead", seat_s=1.0)
    lab.pass_time(0.5)
    before = lab.ask("b", seat_s=1.0)
    lab.pass_time(0.6)

    assert before.is_for_seat
    lab.sit("b", seat_s=1.0)


def test_a_redelivered_call_takes_its_own_seat_again(lab: Lab) -> None:
    lab.sit("a")
    lab.ask("b")

    lab.sit("a")

    assert lab.ask("b").is_for_seat
    assert lab.finish("a") == ("b",)
    lab.sit("b")


def test_fewer_seats_hold_for_calls_from_then_on(lab: Lab) -> None:
    for name in "abc":
        lab.sit(name, seats=3)

    assert lab.ask("d", seats=1).is_for_seat
    lab.finish("a")
    lab.finish("b")

    assert lab.ask("d", seats=1).is_for_seat
    assert lab.finish("c") == ("d",)


def test_lifting_the_limit_lets_everybody_in(lab: Lab) -> None:
    lab.sit("a")
    assert lab.ask("b").is_for_seat

    lab.sit("b", seats=None)
    lab.sit("c", seats=None)


def test_waits_for_a_seat_follow_how_long_calls_take(lab: Lab) -> None:
    for number in range(40):
        lab.sit(f"c{number}")
        lab.pass_time(0.02)
        lab.finish(f"c{number}")
    lab.sit("a")

    first, second = lab.ask("b"), lab.ask("c")

    assert first == pytest.approx(PACING.seat_least * MINUTE_S, abs=0.01)
    assert second <= PACING.seat_most * MINUTE_S


def test_breaker_opens_on_failures_in_a_row(lab: Lab) -> None:
    states = [lab.breaker.record(MODEL, ok=False) for _ in range(5)]

    assert states == [None] * 4 + [BreakerState.OPEN]
    assert lab.breaker.allow(MODEL).state is BreakerState.OPEN
    assert 0 < lab.breaker.allow(MODEL).wait_s <= POLICY.open_s + 0.001
    assert lab.breaker.snapshot([MODEL, "other"]) == {MODEL: BreakerState.OPEN, "other": BreakerState.CLOSED}


def test_breaker_opens_on_a_failure_rate(lab: Lab) -> None:
    states = [lab.breaker.record(MODEL, ok=number % 2 == 0) for number in range(10)]

    assert states == [None] * 9 + [BreakerState.OPEN]


def test_breaker_forgets_what_left_its_window(lab: Lab) -> None:
    for number in range(8):
        lab.breaker.record(MODEL, ok=number % 2 == 0)
    lab.pass_time(POLICY.window_s + 0.01)

    states = [lab.breaker.record(MODEL, ok=number % 2 == 0) for number in range(8)]

    assert states == [None] * 8


def open_breaker(lab: Lab) -> None:
    for _ in range(5):
        lab.breaker.record(MODEL, ok=False)


def test_one_trial_closes_it(lab: Lab) -> None:
    open_breaker(lab)
    lab.pass_time(POLICY.open_s)

    verdicts = [lab.breaker.allow(MODEL) for _ in range(5)]

    assert [verdict.is_trial for verdict in verdicts] == [True] + [False] * 4
    assert [verdict.is_allowed for verdict in verdicts] == [True] + [False] * 4
    assert lab.breaker.record(MODEL, ok=True, trial=True) is BreakerState.CLOSED
    assert lab.breaker.allow(MODEL).is_allowed
    assert not lab.breaker.allow(MODEL).is_trial


def test_a_failed_trial_doubles_the_time_up_to_the_limit(lab: Lab) -> None:
    open_breaker(lab)
    waits: list[float] = []
    for _ in range(3):
        lab.pass_time(waits[-1] if waits else POLICY.open_s)
        assert lab.breaker.allow(MODEL).is_trial
        assert lab.breaker.record(MODEL, ok=False, trial=True) is BreakerState.OPEN
        waits.append(lab.breaker.allow(MODEL).wait_s)

    assert waits == pytest.approx([0.6, 0.6, 0.6], abs=CLOSE_S)


def test_late_news_does_not_move_an_open_breaker(lab: Lab) -> None:
    open_breaker(lab)

    assert lab.breaker.record(MODEL, ok=True) is None
    assert lab.breaker.record(MODEL, ok=False) is None
    assert lab.breaker.snapshot([MODEL]) == {MODEL: BreakerState.OPEN}


def test_a_dead_trial_does_not_block_for_ever(lab: Lab) -> None:
    open_breaker(lab)
    lab.pass_time(POLICY.open_s)
    assert lab.breaker.allow(MODEL).is_trial
    assert lab.breaker.allow(MODEL).wait_s <= POLICY.trial_poll_s + 0.001

    lab.pass_time(POLICY.trial_s)

    assert lab.breaker.allow(MODEL).is_trial


def test_a_trial_given_back_is_the_next_calls(lab: Lab) -> None:
    open_breaker(lab)
    lab.pass_time(POLICY.open_s)
    lab.breaker.allow(MODEL)

    lab.breaker.give_back(MODEL)

    assert lab.breaker.allow(MODEL).is_trial


@pytest.mark.integration
def test_workers_together_never_exceed_a_limit(server: Service, client: Client) -> None:
    pacing, rpm, tpm = Pacing(minute_s=2), 60, 6000
    granted: list[Granted] = []
    numbers = itertools.count()
    end = time.monotonic() + 5

    def work(worker: int) -> None:
        with connect(server.uri) as own:
            limiter = RedisLimiter(own, prefix="t:", pacing=pacing)
            while time.monotonic() < end:
                call_id, tokens = f"{worker}-{next(numbers)}", 40 + 17 * (next(numbers) % 8)
                options = {"call_id": call_id, "requests_per_minute": rpm, "tokens_per_minute": tpm}
                while wait_s := limiter.book(MODEL, tokens=tokens, **options):  # type: ignore[arg-type]
                    threading.Event().wait(wait_s)
                at = own.zscore(f"t:limit:{{{MODEL}}}:log", call_id)
                if at is not None:  # this thread was held up for longer than a grant counts
                    granted.append(Granted(float(at), tokens, call_id))
                limiter.correct(MODEL, call_id=call_id, estimated=tokens, actual=tokens)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    most_calls, most_tokens = most_in_window(granted, pacing.minute_s)
    assert most_calls <= rpm
    assert most_tokens <= tpm
    assert len(granted) > rpm


@pytest.mark.integration
def test_workers_together_never_hold_more_seats_than_there_are(server: Service, client: Client) -> None:
    lock, seats, most, served = threading.Lock(), 3, [0, 0], [0] * 8
    end = time.monotonic() + 3

    def work(worker: int) -> None:
        with connect(server.uri) as own:
            limiter = RedisLimiter(own, prefix="t:", pacing=PACING)
            while time.monotonic() < end:
                call_id = f"{worker}-{served[worker]}"
                options = {"call_id": call_id, "requests_per_minute": 60_000, "tokens_per_minute": 10**9, "tokens": 1}
                while wait_s := limiter.book(MODEL, seats=seats, **options):  # type: ignore[arg-type]
                    threading.Event().wait(wait_s)
                with lock:
                    most[0] += 1
                    most[1] = max(most)
                threading.Event().wait(0.01)
                with lock:
                    most[0] -= 1
                limiter.correct(MODEL, call_id=call_id, estimated=1, actual=1)
                served[worker] += 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert most[1] == seats
    assert min(served) > 0.5 * max(served)  # nobody starves


@pytest.mark.integration
def test_one_trial_among_many_askers(server: Service, client: Client) -> None:
    lab = redis_lab(client)
    open_breaker(lab)
    lab.pass_time(POLICY.open_s)

    with ThreadPoolExecutor(16) as pool:
        verdicts = list(pool.map(lambda _: lab.breaker.allow(MODEL), range(16)))

    assert sum(verdict.is_trial for verdict in verdicts) == 1


@pytest.mark.integration
def test_emptied_redis_makes_no_burst(client: Client) -> None:
    lab = redis_lab(client)
    for number in range(10):
        lab.book(f"c{number}")

    empty(client)
    client.script_flush()
    waits = [lab.book(f"c{number}") for number in range(10)]

    assert waits.count(0) == 1
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(9 * SLOT_S, abs=2 * CLOSE_S)


@pytest.mark.integration
def test_no_key_stays_for_ever(client: Client) -> None:
    lab = redis_lab(client)
    lab.book("a")
    lab.book("b")
    lab.limiter.correct(MODEL, call_id="a", estimated=10, actual=5)
    lab.sit("c", seat_s=3600)
    lab.ask("d", seat_s=3600)
    open_breaker(lab)
    lab.breaker.record("other", ok=True)
    lab.breaker.record("other", ok=False)

    keys = list(client.scan_iter())

    assert len(keys) >= 8
    assert all(f"{{{MODEL}}}" in key or "{other}" in key for key in keys)
    assert [key for key in keys if client.ttl(key) < 0] == []
    assert client.ttl(f"t:limit:{{{MODEL}}}:seated") > 3500  # no seat is forgotten before its call's time is over


@pytest.mark.integration
def test_redis_away_is_an_error_and_heals_by_itself(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path)
    binary = find_binary("valkey-server")
    service = start_redis(binary, tmp_path / "data", logs=logs)
    with connect(service.uri, timeout_s=1) as client:
        lab = redis_lab(client)
        assert lab.book("a") == 0
        service.child.stop(10)

        with pytest.raises(LimiterUnavailableError, match=str(service.port)):
            lab.book("b")
        with pytest.raises(LimiterUnavailableError):
            lab.breaker.allow(MODEL)

        service = start_redis(binary, tmp_path / "data", service.port, logs=logs)
        try:
            assert lab.await_grant("b") < 1
        finally:
            service.child.stop(10)
