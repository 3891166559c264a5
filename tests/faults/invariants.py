"""What must hold after every fault, judged from the documents, their history, and the models' own record of calls.

Each invariant is a function from the evidence to sentences, one for each thing that broke it, naming the documents.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from orchestratex.domain.base import CostSource, ThreadStatus, to_usd
from orchestratex.domain.response import Response
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.sandbox.ledger import OK, OPEN
from orchestratex.store.base import COLLECTIONS
from tests.contract.schema import ALLOWED_NULLS, AllowedNulls, missing_fields, unexpected_nulls
from tests.faults.history import Saved, Stand

# A profile's uptime follows its probes by up to one interval of measuring; faults do not wait for that.
_LATE_FIGURES = {"performance_metrics.uptime_percentage": lambda _: True}
NULLS: AllowedNulls = {
    **ALLOWED_NULLS,
    "ai_model_profiles": {**ALLOWED_NULLS["ai_model_profiles"], **_LATE_FIGURES},
}
FLIGHT_S = 2.0  # how long a call may take from its claim to its model, and its answer from there into the store


@dataclass(frozen=True)
class Call:
    """One call as the models' ledger has it; times in seconds since the epoch."""

    response_id: str
    attempt: int
    started: float
    ended: float | None
    outcome: str = OK
    is_charged: bool = True
    cost_nanos: int = 0

    def is_open_at(self, moment: float) -> bool:
        """Whether it was under way."""
        return self.started <= moment and (self.ended is None or self.ended >= moment)

    def was_in_flight(self, window: Window) -> bool:
        """Whether a fault can have cost this call its answer."""
        is_begun = self.started <= window.ended
        return is_begun and (self.ended is None or self.ended >= window.started - FLIGHT_S)


@dataclass(frozen=True)
class Window:
    """From when to when a fault was there, in seconds since the epoch."""

    started: float
    ended: float
    loses_answers: bool = True  # False: what was in flight is answered and saved all the same


@dataclass(frozen=True)
class Evidence:
    """All that the invariants are judged from."""

    submitted: Sequence[str]  # ids of threads
    documents: Mapping[str, Sequence[Mapping[str, Any]]]  # raw, by collection
    calls: Sequence[Call] = ()
    saved: Mapping[str, Saved] = field(default_factory=dict)  # by response
    stands: Sequence[Stand] = ()
    windows: Sequence[Window] = ()
    stand_limit_s: float = 35.0
    may_fail: bool = False  # the fault may leave a thread without any answer

    @cached_property
    def threads(self) -> list[Thread]:
        """Those that are valid."""
        return _valid(Thread, self.documents.get("conversation_threads", ()))

    @cached_property
    def responses(self) -> list[Response]:
        """Those that are valid."""
        return _valid(Response, self.documents.get("model_responses", ()))

    @cached_property
    def sessions(self) -> list[Session]:
        """Those that are valid."""
        return _valid(Session, self.documents.get("user_sessions", ()))

    @cached_property
    def charged(self) -> dict[str, list[Call]]:
        """Paid calls by response, oldest first."""
        found: dict[str, list[Call]] = defaultdict(list)
        for call in sorted(self.calls, key=lambda each: each.started):
            if call.is_charged:
                found[call.response_id].append(call)
        return dict(found)

    @cached_property
    def repeats(self) -> list[Call]:
        """Paid calls of a response that was paid again after them."""
        return [call for calls in self.charged.values() for call in calls[:-1]]

    @cached_property
    def in_flight(self) -> list[Call]:
        """Calls that were open when a fault began, and those that it cost their answer later."""
        open_then = [call for call in self.calls if any(call.is_open_at(window.started) for window in self.windows)]
        return [*open_then, *(call for call in self.repeats if call not in open_then)]


def find_lost(evidence: Evidence) -> list[str]:
    """Every thread ends, and with an answer."""
    by_id = {str(thread.id): thread for thread in evidence.threads}
    problems = []
    for thread_id in evidence.submitted:
        thread = by_id.get(thread_id)
        if thread is None:
            problems.append(f"thread {thread_id} is gone")
        elif not thread.is_ended:
            problems.append(f"thread {thread_id} has not ended: {thread.due_step} of {thread.current_iteration} is due")
        elif thread.thread_status is ThreadStatus.FAILED and not evidence.may_fail:
            problems.append(f"thread {thread_id} failed: {thread.failure_reason}")
    return problems


def find_stuck(evidence: Evidence) -> list[str]:
    """Nothing stands longer than the limit."""
    return [
        f"{stand.subject} stood for {stand.seconds:.1f} s from {stand.started:.1f} on"
        for stand in evidence.stands
        if stand.seconds > evidence.stand_limit_s
    ]


def find_paid_after_save(evidence: Evidence) -> list[str]:
    """No call whose completion was saved is paid again, by the clock and by the number of the attempt."""
    problems = []
    for call in evidence.calls:
        saved = evidence.saved.get(call.response_id)
        if saved is None:
            continue
        if call.attempt > saved.attempt:
            problems.append(
                f"response {call.response_id} was sent as attempt {call.attempt}, its answer is of {saved.attempt}"
            )
        elif call.started > saved.at:
            problems.append(
                f"response {call.response_id} was sent {call.started - saved.at:.3f} s after its answer was saved"
            )
    return problems


def find_paid_twice(evidence: Evidence) -> list[str]:
    """Only a call that a fault met, at its worker or at its model, is paid again."""
    return [
        f"response {call.response_id} was paid again although attempt {call.attempt} met no fault"
        for call in evidence.repeats
        if call.outcome in {OK, OPEN}
        and not any(call.was_in_flight(window) for window in evidence.windows if window.loses_answers)
    ]


def find_same_attempt_twice(evidence: Evidence) -> list[str]:
    """No attempt is sent twice: its number is the idempotency key."""
    counts = Counter((call.response_id, call.attempt) for call in evidence.calls)
    return [f"response {key} was sent {n} times as attempt {number}" for (key, number), n in counts.items() if n > 1]


def find_money_lost(evidence: Evidence) -> list[str]:
    """Each attempt costs what the models charged; only an estimate may be above it."""
    responses = {str(response.id): response for response in evidence.responses}
    problems = []
    for call in evidence.calls:
        response = responses.get(call.response_id)
        if not call.is_charged:
            continue
        if response is None:
            problems.append(f"a call was paid for response {call.response_id}, which does not exist")
            continue
        booked = response.attempt_costs.get(str(call.attempt))
        if booked is None or booked.nanos < call.cost_nanos:
            nanos = booked.nanos if booked else "nothing"
            problems.append(f"response {response.id} has {nanos} for attempt {call.attempt}, charged {call.cost_nanos}")
    return problems


def find_money_invented(evidence: Evidence) -> list[str]:
    """An amount that is said to be known is what the models charged; where nothing went wrong, all are known."""
    charged = {(c.response_id, c.attempt): c.cost_nanos for calls in evidence.charged.values() for c in calls}
    is_faultless = not evidence.windows and all(call.outcome == OK for call in evidence.calls)
    problems = []
    for response in evidence.responses:
        for attempt, cost in response.attempt_costs.items():
            truth = charged.get((str(response.id), int(attempt)), 0)
            if cost.source is CostSource.ESTIMATED and is_faultless:
                problems.append(f"response {response.id} has an estimate for attempt {attempt}, and nothing went wrong")
            if cost.source is not CostSource.ESTIMATED and cost.nanos != truth:
                problems.append(f"response {response.id} has {cost.nanos} for attempt {attempt}, charged {truth}")
    return problems


def find_sums_that_differ(evidence: Evidence) -> list[str]:
    """A response is the sum of its attempts, a thread of its responses, a session of its threads."""
    problems = []
    by_thread: Counter[str] = Counter()
    by_session: Counter[str] = Counter()
    for response in evidence.responses:
        total = sum(cost.nanos for cost in response.attempt_costs.values())
        by_thread[str(response.thread_id)] += response.cost_nanos
        by_session[str(response.session_id)] += response.cost_nanos
        if response.cost_nanos != total:
            problems.append(f"response {response.id} costs {response.cost_nanos}, its attempts {total}")
    for thread in evidence.threads:
        if thread.total_cost_nanos != by_thread[str(thread.id)]:
            problems.append(
                f"thread {thread.id} has {thread.total_cost_nanos}, its responses {by_thread[str(thread.id)]}"
            )
    for session in evidence.sessions:
        sums = (by_session[str(session.id)], session.total_cost_nanos)
        if sums[0] != sums[1] or abs(session.total_cost - to_usd(sums[1])) > 1e-9:
            problems.append(f"session {session.id} has {sums[1]} nano-dollars, its responses {sums[0]}")
        if session.cost_limit_nanos is not None and sums[1] > session.cost_limit_nanos:
            problems.append(f"session {session.id} has spent {sums[1]} of {session.cost_limit_nanos}")
    return problems


def find_left_over(evidence: Evidence) -> list[str]:
    """No reservation and no lease is left."""
    problems = [
        f"session {session.id} holds {session.held_nanos} in {len(session.reservations)} reservations: "
        f"{', '.join(session.reservations)}"
        for session in evidence.sessions
        if session.held_nanos or session.reservations
    ]
    leased = [*evidence.threads, *evidence.responses]
    return problems + [f"{type(each).__name__.lower()} {each.id} is leased" for each in leased if each.lease_token]


def find_invalid(evidence: Evidence) -> list[str]:
    """Every document is one of its collection, whole, with null only where null means something."""
    problems = []
    for name, documents in evidence.documents.items():
        for raw in documents:
            try:
                COLLECTIONS[name].model_validate(raw)
            except ValidationError as error:
                problems.append(f"{name} {raw.get('_id')}: {error.errors()[0]['loc']} {error.errors()[0]['msg']}")
                continue
            flaws = [*missing_fields(name, raw), *unexpected_nulls(name, raw, NULLS)]
            if flaws:
                problems.append(f"{name} {raw['_id']} lacks {', '.join(flaws)}")
    return problems


def find_worsened(evidence: Evidence) -> list[str]:
    """A final score is never below the first."""
    problems = []
    for thread in evidence.threads:
        first = thread.scores[0].score if thread.scores else None
        if first is not None and (thread.final_quality_score or 0) < first:
            problems.append(f"thread {thread.id} ended at {thread.final_quality_score}, and began at {first}")
    return problems


def find_doubled(evidence: Evidence) -> list[str]:
    """A call has one response: the unique key holds."""
    counts = Counter(response.key for response in evidence.responses)
    return [f"there are {n} responses for {key}" for key, n in counts.items() if n > 1]


INVARIANTS: dict[str, Callable[[Evidence], list[str]]] = {
    "every thread ends": find_lost,
    "nothing stands": find_stuck,
    "no saved call is paid again": find_paid_after_save,
    "only calls in flight are repeated": find_paid_twice,
    "an attempt is sent once": find_same_attempt_twice,
    "money is never below the ledger": find_money_lost,
    "money differs only in estimates": find_money_invented,
    "sums agree": find_sums_that_differ,
    "no lease or reservation is left": find_left_over,
    "every document is valid": find_invalid,
    "no final score is below the first": find_worsened,
    "a call has one response": find_doubled,
}
MONEY = ("money is never below the ledger", "money differs only in estimates", "sums agree")


def check(evidence: Evidence) -> dict[str, list[str]]:
    """The invariants that do not hold, with what broke them."""
    found = {name: find(evidence) for name, find in INVARIANTS.items()}
    return {name: problems for name, problems in found.items() if problems}


def _valid(kind: Any, documents: Sequence[Mapping[str, Any]]) -> list[Any]:
    records = []
    for raw in documents:
        try:
            records.append(kind.model_validate(raw))
        except ValidationError:
            continue  # `find_invalid` tells
    return records
