"""What we ask of persistence: a verb per need. The unique keys behind these verbs are what makes retries safe.

Every time that is compared (`lease_until`, `not_before`, `dispatched_at`, `panel_deadline`) is set and judged by the
store's own clock, never by a worker's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

from bson import ObjectId
from pydantic import Field

from orchestratex.domain.base import (
    MAX_ITERATIONS,
    Document,
    Period,
    Record,
    ResponseStatus,
    SessionStatus,
    UtcDate,
)
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.evaluation import Evaluation
from orchestratex.domain.log import LogEvent
from orchestratex.domain.metrics import Metrics
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import AttemptCost, Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.sums import Tally
from orchestratex.domain.thread import Thread
from orchestratex.store.listing import Wanted
from orchestratex.store.purging import Extent, Remainder, Scope

COLLECTIONS: Final[dict[str, type[Document]]] = {
    "user_sessions": Session,
    "conversation_threads": Thread,
    "ai_model_profiles": Profile,
    "model_responses": Response,
    "model_evaluations": Evaluation,
    "model_selection_history": Selection,
    "criticism_responses": CriticismResponse,
    "orchestration_logs": LogEvent,
    "algorithm_metrics": Metrics,
}


class ThreadTotals(Record):
    """Sums over a thread's responses."""

    models: int = 0  # with a completed call
    tokens: int = 0
    cost_nanos: int = 0
    is_simulated: bool = False  # the sandbox played a model of it


AccountId = ObjectId | str  # a session's id, or the name of a day's budget


class Account(Record):
    """A purse that calls draw on; all amounts in nano-dollars."""

    id: AccountId
    cost_limit_nanos: int | None = None
    total_cost_nanos: int = 0
    held_nanos: int = 0
    excess_nanos: int = 0  # of a session: what calls cost beyond what was set aside for them
    reservations: dict[str, int] = {}  # worst cases of calls, by <response>_<attempt>, and panels, by <thread>_panel
    estimates: dict[str, int] = {}
    unheld: dict[str, int] = {}  # what calls cost that were to cost nothing
    idle_s: float = 0.0  # since it changed last, by the store's clock; known where accounts are listed

    @property
    def left(self) -> int | None:
        """What may still be reserved under the account's own limit; None: no limit."""
        if self.excess_nanos > 0:
            return 0
        if self.cost_limit_nanos is None:
            return None
        return self.cost_limit_nanos - self.total_cost_nanos - self.held_nanos


class HeldCall(Record):
    """What decides about the reservation of a call's attempt."""

    id: ObjectId = Field(alias="_id")
    thread_id: ObjectId
    status: ResponseStatus
    attempt: int
    lease_token: str | None = None
    attempt_costs: dict[str, AttemptCost] = {}
    has_completion: bool = False


class Place(Record):
    """A thread in flight, as it counts against the bounds."""

    thread_id: ObjectId
    user_id: str
    moves: int  # of the thread when it took the place: its end comes later than this
    at: UtcDate  # when it was taken, by the store's clock


class Places(Record):
    """How many threads are in flight."""

    count: int = 0
    by_user: dict[str, int] = {}  # of users who have any


class ModelStats(Record):
    """What a model has shown in all hours that were rolled up, from its running sums. A mean over nothing is None."""

    average_response_time: float | None = None  # ms, of completed calls
    success_rate: float | None = None  # of its attempts: those that brought a completion
    average_quality: float | None = None  # mean score of its answers, first ones and revisions
    requests: int = 0  # attempts that were sent and are over
    tokens: int = 0
    first_answers: dict[str, Tally] = {}  # scores of rated first answers, by domain; domains without any left out


class RollupState(Record):
    """How far rolling up has come. Hours are named by their start."""

    rolled_from: UtcDate | None = None  # the first hour that anything is known of; None: nothing was rolled up yet
    settled_until: UtcDate | None = None  # hours that begin before it are rolled up again only where marked
    closed_until: UtcDate | None = None  # hours that begin before it are never rolled up again: their data is gone


class Mark(Record):
    """An hour in which something changed after its end."""

    hour: UtcDate
    changed_at: UtcDate  # by the store's clock
    age_s: float  # since then, when it was read


class Written(StrEnum):
    """What became of a write by compare-and-set."""

    SAME = "same"  # nothing would have changed, and nothing was written
    WRITTEN = "written"
    LOST = "lost"  # somebody else wrote since


MOST_BYTES: Final = 16 * 1024 * 1024  # of a document, in MongoDB and so everywhere
REOPENED: Final[dict[str, Any]] = {  # of a call that is wanted again
    "status": ResponseStatus.PENDING,
    "errors": 0,
    "refusals": 0,
    "refused_since": None,
    "crashes": 0,
    "dispatches": 0,
    "not_before": None,
    "seat_wanted_at": None,
    "waits_for": None,
    "is_quarantined": False,
    "error_message": None,
    "retried_for": None,
    "processing_duration": None,
}
LEFT_OUT: Final[dict[type[Document], dict[str, Any]]] = {  # most of the bytes, and nothing that is counted
    Response: dict.fromkeys(("prompt_sent", "response_text", "completion", "self_assessment")),
    Thread: {
        **dict.fromkeys(("processed_prompt", "context", "final_response")),
        "original_prompt": "-",
        "scores": [],
    },
    Selection: {"candidates_considered": [], "primary_selection_factors": []},
    CriticismResponse: {
        **dict.fromkeys(
            (
                "acknowledgment",
                "disagreement",
                "clarifications",
                "revised_answer",
                "explanation_of_changes",
                "rebuttal_points",
                "alternative_interpretations",
            ),
            "",
        ),
        "specific_improvements": [],
    },
}
COUNTED: Final = frozenset(  # what roll-ups read of a document and may be written after it has ended
    {
        "completed_at",
        "current_iteration",
        "domain",
        "final_quality_score",
        "max_iterations_reached",
        "selection_score",
        "session_end",
        "status",
        "thread_status",
        "user_accepted",
        "user_satisfaction",
    }
)
NO_DEADLINES: Final[Mapping[str, float]] = {}
Doc = TypeVar("Doc", bound=Document)
Changes = Mapping[str, Any]  # field name -> new value (records, not dicts)


class Store(Protocol):
    """The truth. `MongoStore` keeps it in MongoDB, `MemoryStore` in this process."""

    def ping(self) -> None:
        """Raises StoreUnavailableError naming the address when the store does not answer."""

    def close(self) -> None:
        """Let go of connections; nothing may be asked afterwards."""

    # -- reading; get_* raise NotFoundError ------------------------------------------------------------------------

    def get_session(self, session_id: ObjectId) -> Session:
        """One session."""

    def get_thread(self, thread_id: ObjectId) -> Thread:
        """One thread."""

    def get_response(self, response_id: ObjectId, *, brief: bool = False) -> Response:
        """One response; `brief` leaves out the prompt that was sent and the raw completion, most of its bytes."""

    def profiles(self) -> list[Profile]:
        """All profiles, by name."""

    def threads_of(self, session_id: ObjectId) -> list[Thread]:
        """A session's threads, oldest first."""

    def responses_of(self, thread_id: ObjectId, *, iteration: int | None = None) -> list[Response]:
        """A thread's responses, of one iteration or all, oldest first."""

    def answers_of(self, thread_id: ObjectId, *, iteration: int) -> list[Response]:
        """The calls of one iteration that are no evaluations, oldest first, without prompts and raw completions."""

    def panel_of(self, thread_id: ObjectId, *, iteration: int) -> list[Response]:
        """The evaluations' calls of one iteration, without prompts and raw completions."""

    def has_completed_since(self, model_name: str, moment: datetime) -> bool:
        """Whether a call of the model, made since then, was completed."""

    def is_panel_open(self, thread: Thread) -> bool:
        """Whether an evaluation of the thread's present iteration is pending."""

    def evaluations_of(
        self, thread_id: ObjectId, *, iteration: int | None = None, brief: bool = False
    ) -> list[Evaluation]:
        """A thread's evaluations, by evaluator; `brief` leaves the prompts empty.

        A prompt that is kept with its response (PROMPT_WITH_RESPONSE) is filled in from there.
        """

    def selections_of(self, thread_id: ObjectId) -> list[Selection]:
        """A thread's selections, oldest first."""

    def criticisms_of(self, thread_id: ObjectId) -> list[CriticismResponse]:
        """A thread's criticism responses, by iteration."""

    def logs_of(self, thread_id: ObjectId) -> list[LogEvent]:
        """A thread's log events, oldest first."""

    def metrics(
        self, time_period: str, *, limit: int, since: datetime | None = None, until: datetime | None = None
    ) -> list[Metrics]:
        """Metrics windows of one length that begin in [since, until), the latest first."""

    def scan_between(
        self, document: type[Doc], field: str, start: datetime, end: datetime, *, event_type: str | None = None
    ) -> Iterator[Doc]:
        """All documents whose `field` lies in [start, end), in no order, without texts and lists: see LEFT_OUT.

        They come one by one as they are asked for, however many they are. `event_type` narrows log events to one kind.
        """

    def held_calls(self, response_ids: Sequence[ObjectId]) -> dict[ObjectId, HeldCall]:
        """How the calls stand for which reservations are held, by id; unknown ones are left out."""

    def pending_of(self, thread_id: ObjectId) -> list[Response]:
        """A thread's pending responses, without prompts and raw completions."""

    def thread_totals(self, thread_id: ObjectId) -> ThreadTotals:
        """What a thread has used so far, counted from its responses."""

    def is_current(self, thread: Thread) -> bool:
        """Whether the thread still stands where it was read: same step, iteration and moves."""

    # -- inserting: a document whose id or unique key is there already is left as it is ----------------------------

    def insert_session(self, session: Session) -> None:
        """Add a session."""

    def insert_threads(self, threads: Sequence[Thread], *, deadline_s: float | None = None) -> None:
        """Add threads, all in one write, as dispatched now; `deadline_s` is for those that bring none of their own."""

    def insert_responses(self, responses: Sequence[Response]) -> None:
        """Add responses, all in one write, as dispatched now."""

    def insert_selection(self, selection: Selection) -> Selection:
        """Add a selection; returns the one that stands under its key, which may be an earlier run's."""

    def insert_evaluation(self, evaluation: Evaluation) -> None:
        """Add an evaluation."""

    def insert_criticism(self, criticism: CriticismResponse) -> None:
        """Add a criticism response."""

    def insert_logs(self, events: Sequence[LogEvent]) -> None:
        """Add log events."""

    def insert_profiles(self, profiles: Sequence[Profile]) -> None:
        """Add profiles that are not there yet, by model name."""

    def write_profiles(self, added: Sequence[Profile], changes_by_name: Mapping[str, Changes]) -> bool:
        """Add profiles and change others, all or none.

        False (and no change) when one to be added is there already, or one to be changed is gone.
        """

    # -- leases and moves ------------------------------------------------------------------------------------------

    def claim_thread(self, thread_id: ObjectId, *, lease_s: float) -> Thread | None:
        """Take the lease of a thread at a step without a call; None when ended, leased, waiting or queued."""

    def claim_response(self, response_id: ObjectId, *, lease_s: float) -> Response | None:
        """Take the lease of a pending response; None when not pending, leased or waiting."""

    def renew_leases(self, tokens: Sequence[str], *, lease_s: float) -> set[str]:
        """Prolong leases; returns the tokens that still hold. Those of superseded responses are left to expire."""

    def move_thread(
        self,
        thread: Thread,
        changes: Changes,
        *,
        deadlines_s: Mapping[str, float] = NO_DEADLINES,
        lease_s: float | None = None,
    ) -> Thread | None:
        """Move a thread on from where it was read, by compare-and-set; None when somebody else did.

        A lease that it had when it was read is taken away. `deadlines_s` sets times in so many seconds, by field.
        What comes back is the thread as moved; times that the server set are not in it. A moved thread is queued no
        longer, unless the changes say so. `lease_s` takes the moved thread's lease in the same write.
        """

    def release_thread(self, thread: Thread, *, delay_s: float) -> None:
        """Give a thread's lease back after an error: counted, and claimable again after the delay."""

    def set_thread(self, thread_id: ObjectId, changes: Changes) -> None:
        """Record facts that no move depends on: totals, the user's acceptance."""

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
        """Write under the response's lease; None when the lease is lost. `is_release` gives the lease back.

        `charge` is what the present attempt cost: it goes into the sums of all attempts, as they stand then.

        With `is_pending` also None when the response is no longer wanted: superseded, while its lease stands.
        """

    def end_wait(self, response_id: ObjectId) -> Response | None:
        """Let a call be claimed now that waits for its model to take one more, as dispatched now.

        None when it is not pending, leased, or does not wait for that. Prompt and raw completion are left out.
        """

    def complete_response(
        self, response: Response, changes: Changes, *, charge: AttemptCost | None = None
    ) -> Response | None:
        """Close a pending response under its lease; None when the lease is lost or it is no longer pending."""

    def amend_attempt(self, response_id: ObjectId, attempt: int, cost: AttemptCost) -> bool:
        """Replace an attempt's estimated cost by what became known later; False when there is no estimate."""

    def reopen_responses(self, response_ids: Sequence[ObjectId]) -> int:
        """Make those of these calls pending again that were superseded, or failed and brought no completion.

        Their attempts go on counting: what an earlier one held or cost stays as it is.
        """

    def supersede_responses(
        self, thread_id: ObjectId, *, up_to: int = MAX_ITERATIONS, keeps_assessments: bool = False
    ) -> int:
        """Leave a thread's pending responses behind, up to an iteration. Leases stand: calls in flight still settle.

        Those that were sent say how long they lasted until then.
        """

    def mark_best(self, thread_id: ObjectId, response_id: ObjectId | None) -> None:
        """Make `is_selected_best` true for one response of the thread, then false for all others."""

    def update_selection(self, selection_id: ObjectId, changes: Changes) -> None:
        """Record a selection's outcome."""

    def update_criticism(self, criticism_id: ObjectId, changes: Changes) -> None:
        """Record what the next weigh thinks of a revision."""

    def update_evaluated(self, response_id: ObjectId, changes: Changes) -> None:
        """Record the score of a completed response."""

    def update_profile(self, model_name: str, changes: Changes) -> None:
        """Record what is known anew about a model."""

    def swap_profile(self, model_name: str, before: Changes, after: Changes) -> bool:
        """Change a model's profile where some fields are still as they were; False (and no change) else."""

    def end_session(
        self,
        session_id: ObjectId,
        status: SessionStatus,
        ended_at: datetime,
        *,
        is_cancelling: bool = False,
        unchanged_since: datetime | None = None,
    ) -> bool:
        """End an active session; False when it has ended already, or was changed since its `updated_at` was read.

        `is_cancelling` notes that its threads have yet to be cancelled.
        """

    def reopen_session(self, session_id: ObjectId) -> None:
        """Make a session active again, and note that something happens in it."""

    def touch_session(self, session_id: ObjectId) -> None:
        """Note that something happens in a session: it is not idle."""

    def cancelling_sessions(self, *, limit: int) -> list[Session]:
        """Ended sessions whose threads have yet to be cancelled."""

    def set_session(self, session_id: ObjectId, changes: Changes) -> None:
        """Record facts about a session, such as the user's satisfaction."""

    # -- money: amounts in nano-dollars. An account is a session (its id) or a day's budget (its name) -------------

    def reserve(
        self,
        account_id: AccountId,
        amounts: Mapping[str, int],
        *,
        limit: int | None = None,
        in_place_of: str | None = None,
    ) -> bool:
        """Hold the worst cases of some attempts, all or none; False when the limit does not allow it.

        An attempt that holds a reservation already keeps it and is not added again. A session has its limit in its
        document, a day gets it here (None: no limit). What is held under `in_place_of` is given back in the same write.
        A session in which a call cost more than was held for it gets no further ones.
        """

    def settle(self, account_id: AccountId, key: str, cost: int, *, is_estimate: bool = False) -> bool:
        """Turn a reservation into its cost; False (and no change) when it is settled already.

        What it costs a session beyond its reservation is added to the session's excess, unless it is an estimate: that
        is from above, and proves nothing.
        """

    def charge_unheld(self, account_id: AccountId, key: str, cost: int) -> bool:
        """Charge what nothing was held for, all of it an excess; False (and no change) when it is charged already."""

    def amend_estimate(self, account_id: AccountId, key: str, cost: int) -> bool:
        """Replace an estimated charge by the true one; False when there is no estimate. More than it is an excess."""

    def get_account(self, account_id: AccountId) -> Account:
        """What an account has spent and holds; an unknown day has spent nothing."""

    def accounts_with_reservations(self, *, limit: int) -> list[Account]:
        """Accounts that hold money back."""

    # -- places: who is in flight. What is bounded is counted here, never in the threads themselves ----------------

    def get_places(self) -> Places:
        """How many threads are in flight."""

    def take_places(
        self, threads: Sequence[Thread], *, limit: int | None = None, user_limit: int | None = None
    ) -> bool:
        """Take a place for each thread of one user, all or none; False when a bound does not allow it.

        A thread that holds a place already keeps it, renewed, and is not counted again. None: no bound.
        """

    def free_place(self, thread: Thread) -> bool:
        """Free the place of a thread that has ended; one that it took again since then (to be retried) stands."""

    def orphaned_places(self, *, age_s: float, limit: int) -> list[Place]:
        """Places older than this whose thread is not in flight: it has ended, stands in line or was never inserted."""

    def free_orphan(self, place: Place) -> bool:
        """Free a place as it was found; False when it was freed or taken again meanwhile."""

    def placeless_threads(self, *, limit: int) -> list[Thread]:
        """Threads in flight that hold no place, those that only have to finish left out."""

    def queued_threads(self, *, without_users: Collection[str], limit: int) -> list[Thread]:
        """Threads that stand in line, the oldest first, those of some users left out."""

    def admit_thread(self, thread_id: ObjectId, *, deadlines_s: Mapping[str, float]) -> Thread | None:
        """Let a thread in that stands in line, as dispatched now; None when it stands there no longer.

        Whatever is measured from a thread's start begins here, not when it was inserted.
        """

    # -- rolling up. Every verb above that changes what counts in an hour that has ended marks that hour --------------

    def rollup_state(self) -> RollupState:
        """How far rolling up has come."""

    def settle_rollup(self, *, rolled_from: datetime, settled_until: datetime) -> None:
        """Note how far it has come."""

    def close_hours(self, until: datetime) -> None:
        """Let no hour that begins before `until` be rolled up again; for whoever takes their documents away."""

    def next_activity(self, since: datetime) -> datetime | None:
        """The first moment from then on at which a session starts or ends, a thread ends, a call or event is made."""

    def ratings_of(self, session_ids: Sequence[ObjectId]) -> dict[ObjectId, float]:
        """The users' ratings of these sessions; those that have none are left out."""

    def scan_of(self, document: type[Doc], thread_ids: Sequence[ObjectId]) -> Iterator[Doc]:
        """All documents of a kind that belong to these threads, as scan_between gives them."""

    def get_window(self, period: Period, start: datetime) -> Metrics | None:
        """The metrics of one window."""

    def windows_between(self, period: Period, start: datetime, end: datetime) -> list[Metrics]:
        """All windows of one length that begin in [start, end), the earliest first."""

    def put_hour(self, window: Metrics, *, seen: int | None) -> Written:
        """Add or replace an hour, move the models' running sums by what it changes, all in one.

        `seen` are the `rolls` of the window that was known before its documents were read, None where there was none.
        How many sessions were open when it began follows from the hour before; later windows learn what it changes.
        """

    def put_window(self, window: Metrics, *, seen: int | None) -> Written:
        """Add or replace a longer window."""

    def model_stats(self) -> dict[str, ModelStats]:
        """For each model: what its running sums say."""

    def due_marks(self, *, limit: int) -> list[Mark]:
        """Hours that changed after their end and are to be rolled up again."""

    def clear_mark(self, mark: Mark, *, is_closed: bool = False) -> None:
        """Note that the hour was rolled up after the mark was read; does nothing when it was marked again since.

        A young mark stays, for a last time: the change that it announced may still be on its way. `is_closed`: it goes.
        """

    # -- finding threads again, and deleting them -----------------------------------------------------------------

    def find_threads(self, wanted: Wanted, *, limit: int) -> list[Thread]:
        """Threads, the newest first, without their long texts but for the prompt as it was given."""

    def sessions_of(self, user_id: str) -> list[ObjectId]:
        """The ids of a user's sessions."""

    def measure_extent(self, scope: Scope) -> Extent:
        """How much there is to be deleted, and how many threads in these sessions still run."""

    def purgeable_threads(self, scope: Scope, *, without: Collection[ObjectId], limit: int) -> list[Thread]:
        """Ended threads that nobody works on, in no order and without their long texts; those named are left out."""

    def purgeable_sessions(self, scope: Scope, *, without: Collection[ObjectId], limit: int) -> list[Session]:
        """Ended sessions that have no thread and hold no money back; those named are left out."""

    def purge_thread(self, thread: Thread, remainders: Sequence[Remainder]) -> bool:
        """Delete an ended thread with all that belongs to it, and leave its sums, all in one.

        False (and no change) when it is being worked on, was taken up again, or is gone. Its session says how many
        threads it lost, and what they had cost.
        """

    def purge_session(self, session: Session, remainders: Sequence[Remainder]) -> bool:
        """Delete an ended session without threads, and its events. False when it has some, or changed since."""

    def purge_logs(self, before: datetime, *, limit: int) -> int:
        """Delete the oldest log events of those before a moment; returns how many."""

    def forget_days(self, user_id: str, *, until: str) -> int:
        """Delete what is known of a user's spending on days before one (as 2026-12-31); returns how many days."""

    def remainders_between(self, start: datetime, end: datetime) -> list[Remainder]:
        """What deleted documents count in the hours that begin in [start, end)."""

    def forget_remainders(self, before: datetime) -> None:
        """Delete the remainders of hours that begin before a moment; for hours that are closed."""

    # -- what is done once, whoever does it --------------------------------------------------------------------------

    def take_turn(self, name: str, *, every_s: float) -> bool:
        """Take this period's turn; False when somebody has it. A taker that dies costs its period, no more."""

    def take_lease(self, name: str, *, lease_s: float) -> str | None:
        """Take a short lease of a name; the token that ends it, None when somebody holds it."""

    def end_lease(self, name: str, token: str) -> None:
        """Give a lease back; does nothing when it is another's by now."""

    def set_alarm(self, name: str, is_on: bool) -> bool:
        """Raise or end an alarm; True for the one caller that changed it."""

    # -- what reconcile looks for; the store's clock judges --------------------------------------------------------

    def expired_threads(self, *, limit: int) -> list[Thread]:
        """Threads whose lease ran out."""

    def expired_responses(self, *, limit: int) -> list[Response]:
        """Responses whose lease ran out."""

    def free_thread(self, thread: Thread) -> Thread | None:
        """Take an expired lease away, counting the crash; None when it was renewed or freed meanwhile."""

    def free_response(
        self, response: Response, changes: Changes, *, charge: AttemptCost | None = None
    ) -> Response | None:
        """Take an expired lease away, counting the crash; None when it was renewed or freed meanwhile.

        None also when it was sent, its completion saved or its status changed since it was read.
        """

    def note_reconcile(self, *, gap_s: float, amnesty_s: float) -> bool:
        """Record that reconcile runs; False while no lease may be freed.

        After a gap longer than `gap_s` (an outage: nobody could heartbeat, so expiry proves nothing) that holds for
        `amnesty_s`.
        """

    def overdue_threads(self, *, resend_s: float, doubles: bool, limit: int) -> list[Thread]:
        """Threads not ended, unleased, neither waiting nor queued, and dispatched longer ago than `resend_s`.

        With `doubles` the wait doubles with every time that they were sent again.
        """

    def overdue_responses(self, *, resend_s: float, doubles: bool, limit: int) -> list[Response]:
        """Pending responses, unleased, not waiting, and dispatched longer ago than `resend_s`; see above."""

    def mark_thread_sent(self, thread: Thread, *, is_only_seen: bool = False) -> bool:
        """Note that a message for the thread goes out again; False when somebody else sends it.

        With `is_only_seen` none goes out: it was looked at, and others come first next time.
        """

    def mark_response_sent(self, response: Response, *, is_only_seen: bool = False) -> bool:
        """Note that a message for the response goes out again; False when somebody else sends it. See above."""

    def overdue_panels(self, *, limit: int) -> list[Thread]:
        """Threads being evaluated whose panel's deadline has passed."""

    def straggling_panels(self, *, limit: int) -> list[Thread]:
        """Threads being evaluated for which a quorum of the panel is enough now."""

    def threads_past_deadline(self, *, limit: int) -> list[Thread]:
        """Threads not ended whose own deadline has passed."""

    def put_sample(self, name: str, value: int) -> None:
        """Share a number that one process samples for all."""

    def get_sample(self, name: str) -> int | None:
        """A number that another process sampled lately; None = unknown."""

    def sample_ages(self, names: Collection[str]) -> dict[str, float]:
        """For each of these samples that was ever taken: how many seconds ago."""

    def idle_sessions(self, *, idle_s: float, limit: int) -> list[Session]:
        """Active sessions without a running thread and without a change for this long."""
