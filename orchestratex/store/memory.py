"""The store's twin in memory, for tests and for trying: the same verbs, the same promises, one process."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bson import ObjectId
from pydantic import BaseModel

from orchestratex.domain.base import (
    CALL_STEPS,
    MAX_ITERATIONS,
    CostSource,
    Document,
    Leased,
    Purpose,
    ResponseStatus,
    Role,
    SessionStatus,
    Step,
    to_usd,
)
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.evaluation import PROMPT_WITH_RESPONSE, Evaluation
from orchestratex.domain.log import LogEvent
from orchestratex.domain.metrics import Metrics
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import AttemptCost, Response, sum_costs
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.errors import DocumentTooLargeError, NotFoundError
from orchestratex.store.base import (
    COLLECTIONS,
    COUNTED,
    LEFT_OUT,
    MOST_BYTES,
    NO_DEADLINES,
    REOPENED,
    Account,
    AccountId,
    Changes,
    Doc,
    HeldCall,
    Place,
    RollupState,
    ThreadTotals,
)
from orchestratex.store.listing import MemoryListing
from orchestratex.store.places import MemoryPlaces
from orchestratex.store.purging import MemoryPurging, Remainder
from orchestratex.store.rollups import MemoryRollups
from orchestratex.store.turns import MemoryTurns

_Work = TypeVar("_Work", bound=Leased)
_FREED: dict[str, Any] = {"lease_token": None, "lease_until": None}
_FATE = ("status", "sent_at", "completion")  # what tells how far a call has come
_SAMPLE_AGE = timedelta(seconds=60)
_CHARGED = {"total_cost_nanos", "attempt_costs", "attempts_sent", "sent_at", "finish_reason", "response_time"}

# The unique keys beside _id, as in indexes.py.
_UNIQUE: dict[type[Document], tuple[str, ...]] = {
    Profile: ("model_name",),
    Selection: ("thread_id", "iteration_number", "selection_phase", "ordinal"),
    Evaluation: ("evaluated_response_id", "evaluator_model"),
    CriticismResponse: ("thread_id", "iteration_number", "responding_model"),
    Response: ("thread_id", "iteration_number", "role", "model_name", "purpose", "ordinal"),
    Metrics: ("time_period", "metric_date"),
}


class MemoryStore(MemoryPlaces, MemoryRollups, MemoryTurns, MemoryListing, MemoryPurging):
    """Documents in dictionaries under one lock; `clock` stands for the server's clock."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.most_bytes = MOST_BYTES  # of a document
        self._clock = clock
        self._lock = threading.RLock()
        self._days: dict[str, Account] = {}
        self._day_times: dict[str, datetime] = {}
        self._samples: dict[str, tuple[int, datetime]] = {}
        self._places: dict[ObjectId, Place] = {}
        self._turns: dict[str, datetime] = {}
        self._leases: dict[str, tuple[str, datetime]] = {}
        self._alarms: set[str] = set()
        self._marks: dict[datetime, tuple[datetime, datetime]] = {}
        self._totals: dict[str, dict[str, int]] = {}
        self._rollup_state = RollupState()
        self._remainders: list[Remainder] = []
        self._reconciled_at: datetime | None = None
        self._amnesty_until: datetime | None = None
        self._tables: dict[type[Document], dict[ObjectId, Any]] = {kind: {} for kind in COLLECTIONS.values()}

    def ping(self) -> None:
        """Always there."""

    def close(self) -> None:
        """Nothing to let go of."""

    # -- reading

    def get_session(self, session_id: ObjectId) -> Session:
        return self._get(Session, session_id, "session_id")

    def get_thread(self, thread_id: ObjectId) -> Thread:
        return self._get(Thread, thread_id, "thread_id")

    def get_response(self, response_id: ObjectId, *, brief: bool = False) -> Response:  # noqa: ARG002
        return self._get(Response, response_id, "response_id")

    def profiles(self) -> list[Profile]:
        return sorted(self._all(Profile), key=lambda profile: profile.model_name)

    def threads_of(self, session_id: ObjectId) -> list[Thread]:
        found = [thread for thread in self._all(Thread) if thread.session_id == session_id]
        return sorted(found, key=lambda thread: thread.created_at)

    def responses_of(self, thread_id: ObjectId, *, iteration: int | None = None) -> list[Response]:
        found = [r for r in self._all(Response) if r.thread_id == thread_id and iteration in (None, r.iteration_number)]
        return sorted(found, key=lambda response: (response.timestamp, response.id))

    def answers_of(self, thread_id: ObjectId, *, iteration: int) -> list[Response]:
        return [r for r in self.responses_of(thread_id, iteration=iteration) if r.role is not Role.EVALUATOR]

    def panel_of(self, thread_id: ObjectId, *, iteration: int) -> list[Response]:
        return [r for r in self.responses_of(thread_id, iteration=iteration) if r.role is Role.EVALUATOR]

    def has_completed_since(self, model_name: str, moment: datetime) -> bool:
        return any(
            r.model_name == model_name and r.status is ResponseStatus.COMPLETED and r.timestamp >= moment
            for r in self._all(Response)
        )

    def is_panel_open(self, thread: Thread) -> bool:
        panel = self.panel_of(thread.id, iteration=thread.current_iteration)
        return any(response.status is ResponseStatus.PENDING for response in panel)

    def evaluations_of(
        self,
        thread_id: ObjectId,
        *,
        iteration: int | None = None,
        brief: bool = False,
    ) -> list[Evaluation]:
        found = [
            e.model_copy(update={"evaluation_prompt_used": "" if brief else self._prompt_of(e)})
            for e in self._all(Evaluation)
            if e.thread_id == thread_id and iteration in (None, e.iteration_number)
        ]
        return sorted(found, key=lambda evaluation: (evaluation.iteration_number, evaluation.evaluator_model))

    def selections_of(self, thread_id: ObjectId) -> list[Selection]:
        found = [selection for selection in self._all(Selection) if selection.thread_id == thread_id]
        return sorted(found, key=lambda selection: (selection.iteration_number, selection.timestamp))

    def criticisms_of(self, thread_id: ObjectId) -> list[CriticismResponse]:
        found = [criticism for criticism in self._all(CriticismResponse) if criticism.thread_id == thread_id]
        return sorted(found, key=lambda criticism: criticism.iteration_number)

    def logs_of(self, thread_id: ObjectId) -> list[LogEvent]:
        found = [event for event in self._all(LogEvent) if event.thread_id == thread_id]
        return sorted(found, key=lambda event: event.timestamp)

    def metrics(
        self, time_period: str, *, limit: int, since: datetime | None = None, until: datetime | None = None
    ) -> list[Metrics]:
        found = [
            metrics
            for metrics in self._all(Metrics)
            if metrics.time_period == time_period
            and (since is None or metrics.metric_date >= since)
            and (until is None or metrics.metric_date < until)
        ]
        return sorted(found, key=lambda metrics: metrics.metric_date, reverse=True)[:limit]

    def scan_between(
        self, document: type[Doc], field: str, start: datetime, end: datetime, *, event_type: str | None = None
    ) -> Iterator[Doc]:
        without = LEFT_OUT.get(document, {})
        for found in self._all(document):
            moment = getattr(found, field)
            is_inside = moment is not None and start <= moment < end
            if is_inside and event_type in (None, getattr(found, "event_type", None)):
                yield found.model_copy(update=without)

    def pending_of(self, thread_id: ObjectId) -> list[Response]:
        return [r for r in self._all(Response) if r.thread_id == thread_id and r.status is ResponseStatus.PENDING]

    def thread_totals(self, thread_id: ObjectId) -> ThreadTotals:
        paid = [r for r in self._all(Response) if r.thread_id == thread_id and r.cost is not None]
        return ThreadTotals(
            models=len({response.model_name for response in paid if response.status is ResponseStatus.COMPLETED}),
            tokens=sum(response.tokens_used.total_tokens for response in paid if response.tokens_used),
            cost_nanos=sum(response.cost_nanos for response in paid),
            is_simulated=any(response.is_simulated for response in paid),
        )

    def is_current(self, thread: Thread) -> bool:
        known = self._known(Thread, thread.id)
        return known is not None and _stands(known, thread)

    # -- inserting

    def insert_session(self, session: Session) -> None:
        self._insert([session])

    def insert_threads(self, threads: Sequence[Thread], *, deadline_s: float | None = None) -> None:
        now = self._now()
        made = []
        for thread in threads:
            seconds = thread.options.deadline_s or deadline_s
            deadline = {} if seconds is None else {"deadline_at": now + timedelta(seconds=seconds)}
            made.append(thread.model_copy(update={"dispatched_at": now, **deadline}))
        self._insert(made)

    def insert_responses(self, responses: Sequence[Response]) -> None:
        self._insert([response.model_copy(update={"dispatched_at": self._now()}) for response in responses])

    def insert_selection(self, selection: Selection) -> Selection:
        with self._lock:
            self._insert([selection])
            return next(known for known in self._all(Selection) if _key(known) == _key(selection))

    def insert_evaluation(self, evaluation: Evaluation) -> None:
        self._insert([evaluation])

    def insert_criticism(self, criticism: CriticismResponse) -> None:
        self._insert([criticism])

    def insert_logs(self, events: Sequence[LogEvent]) -> None:
        self._insert(events)

    def insert_profiles(self, profiles: Sequence[Profile]) -> None:
        self._insert(profiles)

    def write_profiles(self, added: Sequence[Profile], changes_by_name: Mapping[str, Changes]) -> bool:
        with self._lock:
            known = {profile.model_name for profile in self._all(Profile)}
            names = [profile.model_name for profile in added]
            if known & set(names) or len(set(names)) < len(names) or set(changes_by_name) - known - set(names):
                return False
            self._insert(added)
            for name, changes in changes_by_name.items():
                self.update_profile(name, changes)
            return True

    # -- leases and moves

    def claim_thread(self, thread_id: ObjectId, *, lease_s: float) -> Thread | None:
        with self._lock:
            thread = self._tables[Thread].get(thread_id)
            if thread is None or thread.is_queued or thread.due_step is None or thread.due_step in CALL_STEPS:
                return None
            return self._claim(thread, lease_s)

    def claim_response(self, response_id: ObjectId, *, lease_s: float) -> Response | None:
        with self._lock:
            response = self._tables[Response].get(response_id)
            if response is None or response.status is not ResponseStatus.PENDING:
                return None
            claimed = self._claim(response, lease_s)
            return claimed and self._put(claimed, {"sent_at": None})

    def renew_leases(self, tokens: Sequence[str], *, lease_s: float) -> set[str]:
        with self._lock:
            held: set[str] = set()
            wanted = [r for r in self._all(Response) if r.status is ResponseStatus.PENDING]
            for work in [*self._all(Thread), *wanted]:
                if work.lease_token in tokens:
                    self._put(work, {"lease_until": self._now() + timedelta(seconds=lease_s)})
                    held.add(work.lease_token or "")
            return held

    def move_thread(
        self,
        thread: Thread,
        changes: Changes,
        *,
        deadlines_s: Mapping[str, float] = NO_DEADLINES,
        lease_s: float | None = None,
    ) -> Thread | None:
        with self._lock:
            known = self._known(Thread, thread.id)
            if known is None or not _stands(known, thread) or known.lease_token != thread.lease_token:
                return None
            now = self._now()
            moved: dict[str, Any] = {
                "is_queued": False,
                "crashes": 0,
                "errors": 0,
                "dispatches": 0,
                "not_before": None,
                **changes,
                **_FREED,
                "moves": known.moves + 1,
                "dispatched_at": now,
                "updated_at": now,
            }
            if lease_s is not None:
                moved |= {"lease_token": secrets.token_hex(8), "attempt": thread.attempt + 1}
                deadlines_s = {**deadlines_s, "lease_until": lease_s}
            moved |= {field: now + timedelta(seconds=seconds) for field, seconds in deadlines_s.items()}
            return self._put(known, moved)

    def release_thread(self, thread: Thread, *, delay_s: float) -> None:
        with self._lock:
            known = self._known(Thread, thread.id)
            if known is not None and known.lease_token == thread.lease_token:
                wait = self._now() + timedelta(seconds=delay_s)
                self._put(known, {**_FREED, "errors": known.errors + 1, "not_before": wait})

    def set_thread(self, thread_id: ObjectId, changes: Changes) -> None:
        self._change(Thread, thread_id, changes)

    def update_response(
        self,
        response: Response,
        changes: Changes,
        *,
        is_release: bool = False,
        delay_s: float | None = None,
        is_pending: bool = False,
        charge: AttemptCost | None = None,
    ) -> Response | None:
        with self._lock:
            known = self._held(response)
            if known is None or (is_pending and known.status is not ResponseStatus.PENDING):
                return None
            update = {**changes, **(_FREED if is_release else {})}
            if delay_s is not None:
                update["not_before"] = self._now() + timedelta(seconds=delay_s)
            return self._put(known, {**update, **_charge(known, response.attempt, charge)})

    def end_wait(self, response_id: ObjectId) -> Response | None:
        with self._lock:
            known = self._known(Response, response_id)
            if known is None or known.status is not ResponseStatus.PENDING:
                return None
            if known.lease_token is not None or known.seat_wanted_at is None:
                return None
            return self._put(known, {"not_before": None, "dispatched_at": self._now()})

    def complete_response(
        self, response: Response, changes: Changes, *, charge: AttemptCost | None = None
    ) -> Response | None:
        with self._lock:
            known = self._held(response)
            if known is None or known.status is not ResponseStatus.PENDING:
                return None
            return self._put(known, {**changes, **_FREED, **_charge(known, response.attempt, charge)})

    def amend_attempt(self, response_id: ObjectId, attempt: int, cost: AttemptCost) -> bool:
        with self._lock:
            known = self._known(Response, response_id)
            old = known.attempt_costs.get(str(attempt)) if known is not None else None
            if known is None or old is None or old.source is not CostSource.ESTIMATED:
                return False
            self._put(known, _charge(known, attempt, cost))
            return True

    def reopen_responses(self, response_ids: Sequence[ObjectId]) -> int:
        with self._lock:
            closed = [r for r in self._all(Response) if r.id in response_ids and _may_reopen(r)]
            for response in closed:
                anew = {"attempt": response.attempt + 1, "reserved_nanos": 0} if response.lease_token is None else {}
                self._put(response, {**REOPENED, **anew, "dispatched_at": self._now()})
            return len(closed)

    def supersede_responses(
        self, thread_id: ObjectId, *, up_to: int = MAX_ITERATIONS, keeps_assessments: bool = False
    ) -> int:
        with self._lock:
            found = [r for r in self.pending_of(thread_id) if r.iteration_number <= up_to]
            if keeps_assessments:
                found = [response for response in found if response.purpose is not Purpose.ASSESSMENT]
            for response in found:
                self._put(response, {"status": ResponseStatus.SUPERSEDED, **self._lasted(response)})
            return len(found)

    def _lasted(self, response: Response) -> dict[str, Any]:
        if response.prompt_sent is None:
            return {"processing_duration": None}
        return {"processing_duration": max(0.0, (self._now() - response.timestamp).total_seconds() * 1000)}

    def mark_best(self, thread_id: ObjectId, response_id: ObjectId | None) -> None:
        with self._lock:
            for response in self._all(Response):
                if response.thread_id == thread_id:
                    self._put(response, {"is_selected_best": response.id == response_id})

    def update_selection(self, selection_id: ObjectId, changes: Changes) -> None:
        self._change(Selection, selection_id, changes)

    def update_criticism(self, criticism_id: ObjectId, changes: Changes) -> None:
        self._change(CriticismResponse, criticism_id, changes)

    def update_evaluated(self, response_id: ObjectId, changes: Changes) -> None:
        self._change(Response, response_id, changes)

    def update_profile(self, model_name: str, changes: Changes) -> None:
        with self._lock:
            for profile in self._all(Profile):
                if profile.model_name == model_name:
                    self._put(profile, {**changes, "updated_at": self._now()})

    def swap_profile(self, model_name: str, before: Changes, after: Changes) -> bool:
        with self._lock:
            found = next((each for each in self._all(Profile) if each.model_name == model_name), None)
            if found is None or any(getattr(found, name) != value for name, value in before.items()):
                return False
            self._put(found, {**after, "updated_at": self._now()})
            return True

    def end_session(
        self,
        session_id: ObjectId,
        status: SessionStatus,
        ended_at: datetime,
        *,
        is_cancelling: bool = False,
        unchanged_since: datetime | None = None,
    ) -> bool:
        with self._lock:
            session = self._known(Session, session_id)
            if session is None or session.status is not SessionStatus.ACTIVE:
                return False
            if unchanged_since not in (None, session.updated_at):
                return False
            ended = {"status": status, "session_end": ended_at, "is_cancelling": is_cancelling}
            self._put(session, {**ended, "updated_at": self._now()})
            return True

    def reopen_session(self, session_id: ObjectId) -> None:
        with self._lock:
            session = self._known(Session, session_id)
            if session is not None:
                active = {"status": SessionStatus.ACTIVE, "session_end": None, "is_cancelling": False}
                self._put(session, {**active, "updated_at": self._now()})

    def touch_session(self, session_id: ObjectId) -> None:
        self._change(Session, session_id, {"updated_at": self._now()})

    def cancelling_sessions(self, *, limit: int) -> list[Session]:
        return [session for session in self._all(Session) if session.is_cancelling][:limit]

    def set_session(self, session_id: ObjectId, changes: Changes) -> None:
        self._change(Session, session_id, changes)

    # -- money

    def reserve(
        self,
        account_id: AccountId,
        amounts: Mapping[str, int],
        *,
        limit: int | None = None,
        in_place_of: str | None = None,
    ) -> bool:
        with self._lock:
            account = self.get_account(account_id)
            new = {key: amount for key, amount in amounts.items() if key not in account.reservations}
            held = account.held_nanos + sum(new.values()) - account.reservations.get(in_place_of or "", 0)
            most = account.cost_limit_nanos if isinstance(account_id, ObjectId) else limit
            if new and most is not None and account.total_cost_nanos + held > most:
                return False
            if new and account.excess_nanos > 0:
                return False
            reservations = _without({**account.reservations, **new}, in_place_of or "")
            self._put_account(account, {"held_nanos": held, "reservations": reservations})
            return True

    def settle(self, account_id: AccountId, key: str, cost: int, *, is_estimate: bool = False) -> bool:
        with self._lock:
            account = self._known_account(account_id)
            if account is None or key not in account.reservations:
                return False
            changes = {
                "reservations": _without(account.reservations, key),
                "held_nanos": account.held_nanos - account.reservations[key],
                "total_cost_nanos": account.total_cost_nanos + cost,
                "estimates": {**account.estimates, key: cost} if is_estimate else account.estimates,
                **({} if is_estimate else _excess_of(account, cost - account.reservations[key])),
            }
            self._put_account(account, changes)
            return True

    def charge_unheld(self, account_id: AccountId, key: str, cost: int) -> bool:
        with self._lock:
            account = self._known_account(account_id)
            if account is None or key in account.unheld:
                return False
            total, unheld = account.total_cost_nanos + cost, {**account.unheld, key: cost}
            self._put_account(account, {"total_cost_nanos": total, "unheld": unheld, **_excess_of(account, cost)})
            return True

    def amend_estimate(self, account_id: AccountId, key: str, cost: int) -> bool:
        with self._lock:
            account = self._known_account(account_id)
            if account is None or key not in account.estimates:
                return False
            total = account.total_cost_nanos - account.estimates[key] + cost
            changes = {"total_cost_nanos": total, "estimates": _without(account.estimates, key)}
            self._put_account(account, {**changes, **_excess_of(account, cost - account.estimates[key])})
            return True

    def get_account(self, account_id: AccountId) -> Account:
        with self._lock:
            if isinstance(account_id, str):
                return self._days.get(account_id, Account(id=account_id))
            return Account.model_validate(self._get(Session, account_id, "session_id").model_dump())

    def accounts_with_reservations(self, *, limit: int) -> list[Account]:
        with self._lock:
            accounts = [*(self.get_account(session.id) for session in self._all(Session)), *self._days.values()]
            found = [account for account in accounts if account.reservations][:limit]
            return [a.model_copy(update={"idle_s": self._idle_s(a.id)}) for a in found]

    def held_calls(self, response_ids: Sequence[ObjectId]) -> dict[ObjectId, HeldCall]:
        found = (self._known(Response, each) for each in response_ids)
        return {
            r.id: HeldCall.model_validate({**dict(r), "_id": r.id, "has_completion": r.completion is not None})
            for r in found
            if r is not None
        }

    def _idle_s(self, account_id: AccountId) -> float:
        changed = (
            self._day_times[account_id]
            if isinstance(account_id, str)
            else self._get(Session, account_id, "session_id").updated_at
        )
        return (self._now() - changed).total_seconds()

    def _known_account(self, account_id: AccountId) -> Account | None:
        is_known = isinstance(account_id, str) or account_id in self._tables[Session]
        return self.get_account(account_id) if is_known else None

    def _put_account(self, account: Account, changes: Changes) -> None:
        now = self._now()
        if isinstance(account.id, str):
            self._days[account.id] = account.model_copy(update=changes)
            self._day_times[account.id] = now
            return
        total = changes.get("total_cost_nanos", account.total_cost_nanos)
        session = self._get(Session, account.id, "session_id")
        self._put(session, {**changes, "total_cost": to_usd(total), "updated_at": now})

    # -- reconcile

    def expired_threads(self, *, limit: int) -> list[Thread]:
        return [thread for thread in self._all(Thread) if self._is_expired(thread)][:limit]

    def expired_responses(self, *, limit: int) -> list[Response]:
        return [response for response in self._all(Response) if self._is_expired(response)][:limit]

    def free_thread(self, thread: Thread) -> Thread | None:
        return self._free(thread, {})

    def free_response(
        self, response: Response, changes: Changes, *, charge: AttemptCost | None = None
    ) -> Response | None:
        with self._lock:
            known = self._known(Response, response.id)
            if known is None or any(getattr(known, name) != getattr(response, name) for name in _FATE):
                return None
            charged = _charge(known, response.attempt, charge)
            return self._free(response, {**changes, "sent_at": None, **charged})

    def note_reconcile(self, *, gap_s: float, amnesty_s: float) -> bool:
        with self._lock:
            now = self._now()
            if self._reconciled_at is not None and now - self._reconciled_at > timedelta(seconds=gap_s):
                self._amnesty_until = now + timedelta(seconds=amnesty_s)
            self._reconciled_at = now
            return self._amnesty_until is None or self._amnesty_until <= now

    def overdue_threads(self, *, resend_s: float, doubles: bool, limit: int) -> list[Thread]:
        running = [thread for thread in self._all(Thread) if thread.due_step is not None and not thread.is_queued]
        overdue = [thread for thread in running if self._is_overdue(thread, resend_s, doubles)]
        return sorted(overdue, key=_sent_first)[:limit]

    def overdue_responses(self, *, resend_s: float, doubles: bool, limit: int) -> list[Response]:
        pending = [r for r in self._all(Response) if r.status is ResponseStatus.PENDING]
        overdue = [response for response in pending if self._is_overdue(response, resend_s, doubles)]
        return sorted(overdue, key=_sent_first)[:limit]

    def mark_thread_sent(self, thread: Thread, *, is_only_seen: bool = False) -> bool:
        return self._mark_sent(thread, is_only_seen=is_only_seen)

    def mark_response_sent(self, response: Response, *, is_only_seen: bool = False) -> bool:
        return self._mark_sent(response, is_only_seen=is_only_seen)

    def overdue_panels(self, *, limit: int) -> list[Thread]:
        now = self._now()
        return [
            thread
            for thread in self._all(Thread)
            if thread.due_step is Step.EVALUATE
            and not thread.is_queued
            and thread.panel_deadline is not None
            and thread.panel_deadline < now
        ][:limit]

    def straggling_panels(self, *, limit: int) -> list[Thread]:
        now = self._now()
        evaluated = [t for t in self._all(Thread) if t.due_step is Step.EVALUATE and not t.is_queued]
        return [t for t in evaluated if t.quorum_deadline is not None and t.quorum_deadline < now][:limit]

    def threads_past_deadline(self, *, limit: int) -> list[Thread]:
        now = self._now()
        started = [thread for thread in self._all(Thread) if not thread.is_queued]
        running = [thread for thread in started if thread.due_step not in (None, Step.FINISH)]
        return [thread for thread in running if thread.deadline_at is not None and thread.deadline_at < now][:limit]

    def idle_sessions(self, *, idle_s: float, limit: int) -> list[Session]:
        before = self._now() - timedelta(seconds=idle_s)
        with self._lock:
            busy = {thread.session_id for thread in self._all(Thread) if not thread.is_ended}
            idle = [
                session
                for session in self._all(Session)
                if session.status is SessionStatus.ACTIVE and session.updated_at < before and session.id not in busy
            ]
            return sorted(idle, key=lambda session: session.created_at)[:limit]

    def put_sample(self, name: str, value: int) -> None:
        self._samples[name] = (value, self._now())

    def get_sample(self, name: str) -> int | None:
        value, taken_at = self._samples.get(name, (None, self._now()))
        return value if self._now() - taken_at < _SAMPLE_AGE else None

    # -- inside

    def _now(self) -> datetime:
        now = self._clock()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _all(self, kind: type[Doc]) -> list[Doc]:
        with self._lock:
            return list(self._tables[kind].values())

    def _get(self, kind: type[Doc], document_id: ObjectId, field: str) -> Doc:
        found: Doc | None = self._tables[kind].get(document_id)
        if found is None:
            raise NotFoundError(field, document_id)
        return found

    def _known(self, kind: type[Doc], document_id: ObjectId) -> Doc | None:
        known: Doc | None = self._tables[kind].get(document_id)
        return known

    def _prompt_of(self, evaluation: Evaluation) -> str:
        kept = evaluation.evaluation_prompt_used
        response = self._known(Response, evaluation.id) if kept == PROMPT_WITH_RESPONSE else None
        return kept if response is None else response.prompt_sent or ""

    def _held(self, response: Response) -> Response | None:
        """The response as it stands, None when its lease is not the caller's any more."""
        known = self._known(Response, response.id)
        is_ours = known is not None and response.lease_token is not None and known.lease_token == response.lease_token
        return known if is_ours else None

    def _put(self, document: Doc, changes: Changes) -> Doc:
        changed = document.model_copy(update=dict(changes))
        self._check_size(changed)
        if not COUNTED.isdisjoint(changes) or not _CHARGED.isdisjoint(changes):
            self._note_document(changed, document)
        self._tables[type(document)][document.id] = changed
        return changed

    def _check_size(self, document: Document) -> None:
        """As MongoDB does; what is not text is small here."""
        if _text_bytes(document) > self.most_bytes:
            raise DocumentTooLargeError(f"a document would be larger than {self.most_bytes} bytes")

    def _change(self, kind: type[Doc], document_id: ObjectId, changes: Changes) -> None:
        with self._lock:
            known = self._known(kind, document_id)
            if known is not None:
                self._put(known, changes)

    def _insert(self, documents: Sequence[Document]) -> None:
        with self._lock:
            for document in documents:
                table = self._tables[type(document)]
                is_taken = type(document) in _UNIQUE and any(_key(known) == _key(document) for known in table.values())
                if document.id not in table and not is_taken:
                    self._check_size(document)
                    self._note_document(document)
                    table[document.id] = document

    def _claim(self, work: _Work, lease_s: float) -> _Work | None:
        now = self._now()
        if work.lease_token is not None or (work.not_before is not None and work.not_before > now):
            return None
        until = now + timedelta(seconds=lease_s)
        return self._put(work, {"lease_token": secrets.token_hex(8), "lease_until": until, "attempt": work.attempt + 1})

    def _is_expired(self, work: Leased) -> bool:
        return work.lease_token is not None and work.lease_until is not None and work.lease_until < self._now()

    def _free(self, work: _Work, changes: Changes) -> _Work | None:
        with self._lock:
            known: _Work | None = self._tables[type(work)].get(work.id)
            if known is None or known.lease_token != work.lease_token or not self._is_expired(known):
                return None
            return self._put(known, {**changes, **_FREED, "crashes": known.crashes + 1})

    def _is_overdue(self, work: Leased, resend_s: float, doubles: bool) -> bool:
        now = self._now()
        is_free = work.lease_token is None and (work.not_before is None or work.not_before <= now)
        since = max(filter(None, (work.dispatched_at, work.not_before)), default=None)
        wait = timedelta(seconds=resend_s * (2 ** min(work.dispatches, 6) if doubles else 1))
        return is_free and (since is None or since + wait < now)

    def _mark_sent(self, work: Leased, *, is_only_seen: bool) -> bool:
        with self._lock:
            known = self._tables[type(work)].get(work.id)
            if known is None or known.dispatched_at != work.dispatched_at:
                return False
            dispatches = known.dispatches + (not is_only_seen)
            self._put(known, {"dispatched_at": self._now(), "dispatches": dispatches})
            return True


def _charge(known: Response, attempt: int, cost: AttemptCost | None) -> dict[str, Any]:
    return sum_costs({**known.attempt_costs, str(attempt): cost}) if cost is not None else {}


def _may_reopen(response: Response) -> bool:
    is_failed = response.status is ResponseStatus.FAILED and response.completion is None
    return is_failed or response.status is ResponseStatus.SUPERSEDED


def _sent_first(work: Leased) -> datetime:
    return work.dispatched_at or datetime.min.replace(tzinfo=UTC)


def _text_bytes(value: object) -> int:
    """What the texts in a value take."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, BaseModel):
        value = vars(value)
    if isinstance(value, dict):
        return sum(map(_text_bytes, value.values()))
    return sum(map(_text_bytes, value)) if isinstance(value, list | tuple) else 0


def _key(document: Document) -> list[Any]:
    return [getattr(document, field) for field in _UNIQUE[type(document)]]


def _excess_of(account: Account, excess: int) -> dict[str, int]:
    """What a call cost a session beyond what was expected."""
    is_session = isinstance(account.id, ObjectId)
    return {"excess_nanos": account.excess_nanos + excess} if is_session and excess > 0 else {}


def _without(amounts: Mapping[str, int], key: str) -> dict[str, int]:
    return {name: amount for name, amount in amounts.items() if name != key}


def _stands(known: Thread, thread: Thread) -> bool:
    return (known.due_step, known.current_iteration, known.moves) == (
        thread.due_step,
        thread.current_iteration,
        thread.moves,
    )
