"""Every interleaving of steps, duplicates, reorders, losses and crashes that hypothesis can think of, on the fakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestratex.advance import cancel
from orchestratex.domain.base import ResponseStatus, ThreadStatus
from orchestratex.domain.thread import Thread
from orchestratex.errors import InputError, ProviderError, ProviderOverloadedError, ProviderTimeoutError
from orchestratex.faultpoints import FaultPoint
from orchestratex.providers.base import CompletionRequest
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.retry import retry
from orchestratex.store.base import COLLECTIONS
from tests.support import World, answer_by_rule, steady

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."
ROUNDS = 400  # of reconcile, after which a thread stands for ever
CALL_POINTS = st.sampled_from([p for p in FaultPoint if p.startswith("call")])
STEP_POINTS = st.sampled_from([p for p in FaultPoint if not p.startswith("call")])
EARLY = 2  # moves: cancelling earlier than this ends most runs before anything can break
MESSAGES = 30  # more than one iteration needs
PLACES = st.integers(min_value=0, max_value=200)


class CrashError(BaseException):
    """The end of a worker, as far as its own code can tell."""


class CrashPoints:
    """Dies at a point once, after it was passed so many times."""

    def __init__(self) -> None:
        self.point: FaultPoint | None = None

    def reach(self, point: FaultPoint) -> None:
        """See FaultPoints."""
        if point is self.point:
            self.point = None
            raise CrashError(point)


class Machine(RuleBasedStateMachine):
    """One thread on the engine; hypothesis plays broker, workers, user, providers and bad luck."""

    def __init__(self) -> None:
        super().__init__()
        self.crashes = CrashPoints()
        self.crashed = 0
        self.failures: list[type[ProviderError]] = []
        self.charged: Counter[str] = Counter()
        self.saved: set[str] = set()
        self.paid_again: list[str] = []

    @initialize(iterations=st.integers(min_value=1, max_value=3), limit=st.sampled_from([None, 0.004, 0.02, 0.1]))
    def submit(self, iterations: int, limit: float | None) -> None:
        self.world = World(self.reply, steady(), faults=self.crashes)
        self.limit = limit
        wishes = {"max_iterations": iterations} | ({} if limit is None else {"cost_limit": limit})
        self.thread_id = self.world.submit(PROMPT, **wishes).id

    def reply(self, request: CompletionRequest) -> str:
        response_id = request.idempotency_key.partition(".")[0]
        if response_id in self.saved:  # an assertion here would be taken for an error of the step
            self.paid_again.append(response_id)
        if self.failures:
            raise self.failures.pop()(request.model_name, "as it was told")
        self.charged[response_id] += 1
        return answer_by_rule(request)

    @property
    def thread(self) -> Thread:
        return self.world.store.get_thread(self.thread_id)

    @contextmanager
    def mortal(self) -> Iterator[None]:
        try:
            yield
        except CrashError:
            self.crashed += 1
        self.note_saved()

    def note_saved(self) -> None:
        """What is saved from now on must not be asked for again."""
        responses = self.world.store.responses_of(self.thread_id)
        self.saved |= {str(response.id) for response in responses if response.completion is not None}

    def has_messages(self) -> bool:
        return bool(self.world.queue.messages)

    @precondition(has_messages)
    @rule(place=PLACES)
    def deliver(self, place: int) -> None:
        messages = self.world.queue.messages
        with self.mortal():
            self.world.work(messages.pop(place % len(messages)))

    @precondition(has_messages)
    @rule(place=PLACES)
    def deliver_and_keep(self, place: int) -> None:
        messages = self.world.queue.messages
        with self.mortal():
            self.world.work(messages[place % len(messages)])

    @precondition(has_messages)
    @rule(place=PLACES)
    def lose(self, place: int) -> None:
        messages = self.world.queue.messages
        messages.pop(place % len(messages))

    @precondition(has_messages)
    @rule(count=st.integers(min_value=1, max_value=20))
    def deliver_some(self, count: int) -> None:
        for _ in range(count):
            if self.world.queue.messages:
                self.deliver(0)

    @precondition(has_messages)
    @rule(place=PLACES, point=CALL_POINTS)
    def work_until_a_call_crashes(self, place: int, point: FaultPoint) -> None:
        self.work_until_a_crash(place, point)

    @precondition(has_messages)
    @rule(place=PLACES, point=STEP_POINTS)
    def work_until_a_crash(self, place: int, point: FaultPoint) -> None:
        self.crashes.point = point
        for _ in range(MESSAGES):
            if self.crashes.point is not None and self.world.queue.messages:
                self.deliver(place)
        self.crashes.point = None

    @rule(error=st.sampled_from([ProviderOverloadedError, ProviderTimeoutError]), times=st.integers(1, 5))
    def fail_calls(self, error: type[ProviderError], times: int) -> None:
        self.failures += [error] * times

    @rule(seconds=st.sampled_from([1, 6, 21, 70, 200, 4000]))
    def pass_time(self, seconds: float) -> None:
        self.world.clock.pass_time(seconds)

    @rule()
    def mend(self) -> None:
        with self.mortal():
            reconcile(self.world.services)

    @precondition(lambda self: self.thread.moves >= EARLY or self.crashed)
    @rule(point=st.sampled_from([None, FaultPoint.STEP_CLAIMED, FaultPoint.THREAD_MOVED]))
    def cancel(self, point: FaultPoint | None) -> None:
        self.crashes.point = point
        calls = len(self.world.provider.requests)
        with self.mortal():
            assert cancel(self.thread_id, self.world.services).is_ended
        self.crashes.point = None
        assert len(self.world.provider.requests) == calls

    @precondition(lambda self: self.thread.is_ended)
    @rule()
    def retry(self) -> None:
        with suppress(InputError):  # it ended well
            retry(self.thread_id, self.world.services)

    @invariant()
    def money_is_never_overspent(self) -> None:
        session = self.world.store.get_session(self.thread.session_id)
        assert session.held_nanos == sum(session.reservations.values())
        if session.cost_limit_nanos is not None:
            assert session.total_cost_nanos + session.held_nanos <= session.cost_limit_nanos

    @invariant()
    def no_completion_that_was_saved_is_paid_again(self) -> None:
        assert self.paid_again == []

    @invariant()
    def no_call_has_two_documents(self) -> None:
        keys = Counter(response.key for response in self.world.store.responses_of(self.thread_id))
        assert all(count == 1 for count in keys.values())

    def teardown(self) -> None:
        """Stop breaking things: the thread ends, and everything is as it should be."""
        if not hasattr(self, "thread_id"):
            return
        self.failures.clear()
        for _ in range(ROUNDS):
            self.world.run()
            self.note_saved()
            self.world.clock.pass_time(7)
            reconcile(self.world.services)
            if self.thread.is_ended and not self.world.queue.messages and self.is_quiet():
                break
        self.check_end()

    def is_quiet(self) -> bool:
        session = self.world.store.get_session(self.thread.session_id)
        return not session.reservations and not any(
            r.lease_token for r in self.world.store.responses_of(self.thread_id)
        )

    def check_end(self) -> None:
        store, thread = self.world.store, self.thread
        responses = store.responses_of(thread.id)
        session = store.get_session(thread.session_id)
        assert thread.is_ended, f"it stands at {thread.due_step}"
        assert thread.lease_token is None
        assert (session.reservations, session.held_nanos) == ({}, 0)
        assert not [r for r in responses if r.lease_token or r.status is ResponseStatus.PENDING]
        assert session.total_cost_nanos == sum(r.cost_nanos for r in responses) == thread.total_cost_nanos
        assert sum(count - 1 for count in self.charged.values()) <= self.crashed
        self.check_result(thread)
        for kind in COLLECTIONS.values():
            for document in store._all(kind):
                kind.model_validate(document.model_dump(by_alias=True))

    def check_result(self, thread: Thread) -> None:
        responses = self.world.store.responses_of(thread.id)
        answers = [r for r in responses if r.status is ResponseStatus.COMPLETED and r.purpose in {"answer", "re_ask"}]
        has_answer = any(r.role != "evaluator" for r in answers)
        assert thread.thread_status is (ThreadStatus.COMPLETED if has_answer else ThreadStatus.FAILED)
        assert thread.stop_reason is not None
        assert (thread.final_response is not None) == has_answer
        assert [r.is_selected_best for r in responses].count(True) == int(has_answer)
        first = thread.scores[0].score if thread.scores else None
        if first is not None:
            assert (thread.final_quality_score or 0) >= first


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
