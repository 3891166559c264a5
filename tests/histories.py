"""Histories that a clock, a few dice and the store's own verbs write: sessions, threads, calls, and what comes late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bson import ObjectId

from orchestratex.bootstrap import assemble
from orchestratex.domain.base import (
    CostSource,
    Domain,
    FinishReason,
    Purpose,
    ResponseStatus,
    ResponseType,
    Role,
    SessionStatus,
    Step,
    ThreadStatus,
)
from orchestratex.domain.response import AttemptCost, Completion, Response, Usage
from orchestratex.domain.thread import Thread
from orchestratex.providers.fake import FakeProvider, FakeProviders
from orchestratex.queue import MemoryQueue
from orchestratex.settings import Settings
from orchestratex.steps.measure import measure
from orchestratex.steps.services import Services
from orchestratex.store.base import Store
from tests.make import make_criticism_response, make_log, make_profile, make_response, make_selection, make_session
from tests.make import make_thread as new_thread
from tests.support import answer_by_rule

MODELS: Final = ("gpt4", "gpt-4.1", "claude")
BEGIN: Final = datetime(2026, 12, 30, 22, 15, tzinfo=UTC)  # a year, a month and an ISO week end soon
STEPS_S: Final = (0, 1, 61, 20 * 60, 59 * 60, 5 * 3600, 30 * 3600, 5 * 86400, -1)  # -1: to the next full hour
NANOS: Final = 1_000_000


class StillClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = BEGIN) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        """Move on; by -1 to the next full hour."""
        hour = self.now.replace(minute=0, second=0, microsecond=0)
        self.now = hour + timedelta(hours=1) if seconds < 0 else self.now + timedelta(seconds=seconds)


class History:
    """Writes a history: each act picks what it acts on by a number."""

    def __init__(self, store: Store, clock: StillClock) -> None:
        self.store = store
        self.clock = clock
        provider = FakeProviders(FakeProvider(answer_by_rule))
        self.services: Services = assemble(
            Settings(), store=store, queue=MemoryQueue(), providers=provider, clock=clock
        )
        self.sessions: list[ObjectId] = []
        self.threads: list[ObjectId] = []
        self.responses: list[ObjectId] = []
        store.insert_profiles([make_profile(name) for name in MODELS])

    def act(self, name: str, seconds: float, number: int) -> None:
        """Let time pass, then do something."""
        self.clock.move(seconds)
        ACTS[name](self, number)

    def roll(self) -> int:
        """Roll up until nothing is due; returns how many windows were written."""
        written = 0
        while True:
            rolled = measure(self.services)
            written += rolled.written
            if rolled.is_caught_up:
                return written
            self.clock.move(3)  # marks of this very moment stay due

    def _open_session(self, number: int) -> None:
        now = self.clock()
        session = make_session(session_start=now, created_at=now, updated_at=now)
        self.store.insert_session(session)
        self.sessions.append(session.id)

    def _end_session(self, number: int) -> None:
        if self.sessions:
            status = (SessionStatus.COMPLETED, SessionStatus.ERROR, SessionStatus.TERMINATED)[number % 3]
            self.store.end_session(_pick(self.sessions, number), status, self.clock())

    def _reopen_session(self, number: int) -> None:
        if self.sessions:
            self.store.reopen_session(_pick(self.sessions, number))

    def _rate(self, number: int) -> None:
        if self.sessions:
            self.store.set_session(_pick(self.sessions, number), {"user_satisfaction": 1 + number % 10})

    def _start_thread(self, number: int) -> None:
        if self.sessions:
            now, domain = self.clock(), list(Domain)[number % 2]
            thread = new_thread(
                session_id=_pick(self.sessions, number), created_at=now, updated_at=now, domain=domain, user_id="ann"
            )
            self.store.insert_threads([thread])
            self.threads.append(thread.id)

    def _call(self, number: int) -> None:
        if not self.threads:
            return
        thread = self.store.get_thread(_pick(self.threads, number))
        role, kind, purpose = _KINDS[number % len(_KINDS)]
        response = make_response(
            thread_id=thread.id,
            session_id=thread.session_id,
            model_name=MODELS[number % len(MODELS)],
            role=role,
            response_type=kind,
            purpose=purpose,
            ordinal=len(self.responses),
            domain=thread.domain,
            timestamp=self.clock(),
        )
        self.store.insert_responses([response])
        self.store.reserve(thread.session_id, {f"{response.id}_1": 5 * NANOS})
        self.responses.append(response.id)

    def _send(self, number: int) -> None:
        held = self._claim(number)
        if held is not None:
            sent = {"sent_at": self.clock(), "attempts_sent": (held.attempts_sent or 0) + 1}
            self.store.update_response(held, sent)

    def _fail(self, number: int) -> None:
        held = self._sent(number)
        if held is None:
            return
        cost = AttemptCost(nanos=number % 7 * NANOS, source=CostSource.ESTIMATED)
        if number % 2:
            self.store.complete_response(held, {"status": ResponseStatus.FAILED, "error_message": "no"}, charge=cost)
        else:
            self.store.update_response(held, {"sent_at": None}, is_release=True, charge=cost)
        self.store.settle(held.session_id, f"{held.id}_1", cost.nanos, is_estimate=True)

    def _succeed(self, number: int) -> None:
        held = self._sent(number)
        if held is None:
            return
        usage = Usage(input_tokens=3, output_tokens=number, total_tokens=3 + number)
        cost = AttemptCost(nanos=number % 11 * NANOS, source=CostSource.COMPUTED, usage=usage)
        came = {"completion": Completion(text="yes"), "finish_reason": FinishReason.STOP, "response_time": 1.5 + number}
        saved = self.store.update_response(held, came, charge=cost)
        self.store.settle(held.session_id, f"{held.id}_1", cost.nanos)
        if saved is not None and number % 5:
            self.store.complete_response(saved, {"status": ResponseStatus.COMPLETED, "response_text": "yes"})

    def _score(self, number: int) -> None:
        if self.responses:
            response = self.store.get_response(_pick(self.responses, number))
            if response.status is ResponseStatus.COMPLETED and response.role is not Role.EVALUATOR:
                self.store.update_evaluated(response.id, {"selection_score": 1 + number % 9 + number / 1000})

    def _learn_the_price(self, number: int) -> None:
        if not self.responses:
            return
        response = self.store.get_response(_pick(self.responses, number))
        cost = AttemptCost(nanos=number * NANOS, source=CostSource.PROVIDER)
        for attempt in response.attempt_costs:
            self.store.amend_attempt(response.id, int(attempt), cost)
        self.store.amend_estimate(response.session_id, f"{response.id}_1", cost.nanos)

    def _finish(self, number: int) -> None:
        if not self.threads:
            return
        thread = self.store.get_thread(_pick(self.threads, number))
        if thread.is_ended:
            return
        ids: dict[str, Any] = {"thread_id": thread.id, "session_id": thread.session_id, "timestamp": self.clock()}
        phase = ("initial", "refinement", "final")[number % 3]
        chosen = {"selected_model": MODELS[number % 3], "selection_phase": phase, "ordinal": thread.moves}
        accuracy = None if number % 4 == 0 else number % 10 / 10
        self.store.insert_selection(make_selection(**ids, **chosen, selection_accuracy_score=accuracy))
        improved = {"iteration_number": 2 + thread.moves % 8, "improvement_score": (None, 4.0, 5.5, 8.0)[number % 4]}
        self.store.insert_criticism(make_criticism_response(**ids, **improved))
        self._end_thread(thread, number)

    def _end_thread(self, thread: Thread, number: int) -> None:
        is_good = number % 6 != 5
        changes = {
            "due_step": None,
            "thread_status": ThreadStatus.COMPLETED if is_good else ThreadStatus.FAILED,
            "completed_at": self.clock(),
            "current_iteration": 1 + number % 3,
            "max_iterations_reached": number % 3 == 2,
            "final_quality_score": 1 + number % 9 if is_good else None,
        }
        self.store.move_thread(thread, changes)

    def _retry(self, number: int) -> None:
        if self.threads:
            thread = self.store.get_thread(_pick(self.threads, number))
            if thread.is_ended:
                self.store.reopen_session(thread.session_id)
                running = {"thread_status": ThreadStatus.RESPONDING, "due_step": Step.RESPOND, "completed_at": None}
                self.store.move_thread(thread, {**running, "user_accepted": None})

    def _accept(self, number: int) -> None:
        if self.threads:
            self.store.set_thread(_pick(self.threads, number), {"user_accepted": number % 3 > 0})

    def _probe(self, number: int) -> None:
        passed = {"passed": number % 3 > 0}
        self.store.insert_logs([make_log(event_type="model_probed", details=passed, timestamp=self.clock())])

    def _measure(self, number: int) -> None:
        measure(self.services)

    def _claim(self, number: int) -> Response | None:
        return self.store.claim_response(_pick(self.responses, number), lease_s=600) if self.responses else None

    def _sent(self, number: int) -> Response | None:
        """A call that somebody waits for."""
        held = [each for each in map(self.store.get_response, self.responses) if each.lease_token and each.sent_at]
        return held[number % len(held)] if held else None


def _pick(ids: list[ObjectId], number: int) -> ObjectId:
    return ids[number % len(ids)]


_KINDS: Final = (
    (Role.PRIMARY, ResponseType.INITIAL, Purpose.ANSWER),
    (Role.EVALUATOR, ResponseType.EVALUATION, Purpose.EVALUATION),
    (Role.PRIMARY, ResponseType.INITIAL, Purpose.RE_ASK),
    (Role.REFINER, ResponseType.IMPROVEMENT, Purpose.ANSWER),
    (Role.PRIMARY, ResponseType.INITIAL, Purpose.ASSESSMENT),
    (Role.PRIMARY, ResponseType.INITIAL, Purpose.ANSWER),
)
ACTS: Final[dict[str, Callable[[History, int], None]]] = {
    name: getattr(History, f"_{name}")
    for name in (
        "open_session",
        "end_session",
        "reopen_session",
        "rate",
        "start_thread",
        "call",
        "send",
        "fail",
        "succeed",
        "score",
        "learn_the_price",
        "finish",
        "retry",
        "accept",
        "probe",
        "measure",
    )
}
