"""What an hour's documents add up to. What counts where:

- a session in the window of its `session_end`, a thread in that of its `completed_at`;
- selections and criticisms with their thread, because their outcomes are known when it ends;
- responses in the window of their own `timestamp`: money, latency and errors belong to when the call was made, whatever
  became of its thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import accumulate
from typing import Final

from bson import ObjectId

from orchestratex.domain.base import (
    Domain,
    Purpose,
    ResponseStatus,
    Role,
    SelectionPhase,
    SessionStatus,
    ThreadStatus,
)
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.sums import BILLION, DomainSums, ModelSums, Sums, Tally
from orchestratex.domain.thread import Thread
from orchestratex.rules.attempts import count_over, has_returned

NO_CHANGE: Final = 5.5  # the improvement_score of a revision that is as good as what it revises

_ANSWERING: Final = frozenset({Role.PRIMARY, Role.REFINER})
_ANSWERS: Final = frozenset({Purpose.ANSWER, Purpose.RE_ASK})


class Rollup:
    """One window's sums, from documents given one by one: none is kept, so that a busy hour needs no more memory.

    More may be given than belongs to the window: what lies outside is left out. Threads come before selections and
    criticisms, which count with them. What is remembered is a few bytes for each session and thread of the window.
    """

    def __init__(self, start: datetime, end: datetime, *, model_names: Iterable[str] = ()) -> None:
        """`model_names` are listed even where the window holds nothing of them."""
        self.start = start
        self.end = end
        self._done: set[ObjectId] = set()
        self._changes: list[tuple[datetime, int]] = []  # of how many sessions are open
        self._opened = self._sessions = self._completed = self._errors = 0
        self._minutes, self._cost = _Sum(), _Sum()
        self._max_reached = self._early = self._probes = self._passed = 0
        self._iterations, self._final, self._accepted, self._improved, self._accuracy = (_Sum() for _ in range(5))
        self._domains: dict[Domain, _Domain] = {}
        self._models = {name: _Model() for name in model_names}

    def add_start(self, session: Session) -> None:
        """A session that starts in the window is open from then on."""
        if self._holds(session.session_start):
            self._opened += 1
            self._changes.append((session.session_start, 1))

    def add_end(self, session: Session) -> None:
        """A session counts in the window of its end."""
        if session.session_end is None or not self._holds(session.session_end):
            return
        self._changes.append((session.session_end, -1))
        self._sessions += 1
        self._completed += session.status is SessionStatus.COMPLETED
        self._errors += session.status is SessionStatus.ERROR
        self._minutes.add((session.session_end - session.session_start).total_seconds() / 60)
        self._cost.add_billionths(session.total_cost_nanos)

    def add_moments(self, *, starts: Iterable[datetime], ends: Iterable[datetime]) -> None:
        """When sessions were open whose documents are gone; what else they count is added to the result."""
        self._changes += [(moment, 1) for moment in starts if self._holds(moment)]
        self._changes += [(moment, -1) for moment in ends if self._holds(moment)]

    def add_thread(self, thread: Thread, rating: float | None) -> None:
        """A thread counts when it has ended; `rating` is its session's, None until told."""
        if not (thread.is_ended and self._holds(thread.completed_at)):
            return
        self._done.add(thread.id)
        self._iterations.add(thread.current_iteration)
        self._final.add(thread.final_quality_score)
        self._accepted.add(thread.user_accepted)
        self._max_reached += thread.max_iterations_reached
        self._early += thread.thread_status is ThreadStatus.COMPLETED and not thread.max_iterations_reached
        if thread.domain is not None:
            self._domain(thread.domain).add(thread, rating)

    def add_response(self, response: Response) -> None:
        """A call counts when it was made."""
        if not self._holds(response.timestamp):
            return
        self._models.setdefault(response.model_name, _Model()).add(response)
        is_first = _is_answer(response) and response.role is Role.PRIMARY
        if is_first and response.domain is not None and response.selection_score is not None:
            self._domain(response.domain).add_first_answer(response.model_name, response.selection_score)

    def add_selection(self, selection: Selection) -> None:
        """A selection counts with its thread; picking the response to show (phase `final`) selects no model."""
        if selection.thread_id not in self._done:
            return
        self._accuracy.add(selection.selection_accuracy_score)
        model = self._models.setdefault(selection.selected_model, _Model())
        model.selected += selection.selection_phase is not SelectionPhase.FINAL

    def add_criticism(self, criticism: CriticismResponse) -> None:
        """A criticism response counts with its thread, where the revision was scored."""
        if criticism.thread_id in self._done and criticism.improvement_score is not None:
            self._improved.add(criticism.improvement_score > NO_CHANGE)

    def add_probe(self, *, passed: bool) -> None:
        """A model was probed in the window."""
        self._probes += 1
        self._passed += passed

    def result(self) -> Sums:
        """What was given so far."""
        return Sums(
            opened=self._opened,
            sessions=self._sessions,
            completed_sessions=self._completed,
            error_sessions=self._errors,
            session_minutes=self._minutes.tally,
            session_cost=self._cost.tally,
            peak_rise=measure_rise(self._changes, self.start),
            threads=len(self._done),
            iterations=self._iterations.tally,
            max_iterations_reached=self._max_reached,
            early_terminations=self._early,
            final_score=self._final.tally,
            accepted=self._accepted.tally,
            improved=self._improved.tally,
            selection_accuracy=self._accuracy.tally,
            probes=self._probes,
            probes_passed=self._passed,
            models={name: model.sums for name, model in sorted(self._models.items())},
            domains={domain: held.sums for domain, held in sorted(self._domains.items())},
        )

    def _holds(self, moment: datetime | None) -> bool:
        return moment is not None and self.start <= moment < self.end

    def _domain(self, domain: Domain) -> _Domain:
        return self._domains.setdefault(domain, _Domain())


def measure_rise(changes: Iterable[tuple[datetime, int]], start: datetime) -> int:
    """Return the most that `changes` of a number add up to at any moment of a window that begins at `start`.

    What changes at one moment changes at once: who leaves as another comes is past. Below zero where the number falls
    at the very start and never recovers.
    """
    by_moment: Counter[datetime] = Counter()
    for moment, change in changes:
        by_moment[moment] += change
    levels = [] if start in by_moment else [0]
    return max([*levels, *accumulate(by_moment[moment] for moment in sorted(by_moment))])


class _Sum:
    """A sum of the known values, exact from the billionth on."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.add_billionths(round(value * BILLION))

    def add_billionths(self, value: int) -> None:
        self.total += value
        self.count += 1

    @property
    def tally(self) -> Tally:
        return Tally(total=self.total, count=self.count)


class _Model:
    """A model's share of the window."""

    def __init__(self) -> None:
        self.selected = self.attempts = self.returned = self.tokens = 0
        self.cost_nanos = self.answers = self.answers_nanos = 0
        self.latency_s, self.score = _Sum(), _Sum()

    def add(self, response: Response) -> None:
        self.cost_nanos += response.cost_nanos
        self.attempts += count_over(response)
        self.returned += has_returned(response)
        self.tokens += response.tokens_used.total_tokens if response.tokens_used else 0
        if response.status is ResponseStatus.COMPLETED and response.response_time is not None:
            self.latency_s.add(response.response_time / 1000)
        if _is_answer(response):
            self.answers += 1
            self.answers_nanos += response.cost_nanos
            self.score.add(response.selection_score)

    @property
    def sums(self) -> ModelSums:
        return ModelSums(
            selected=self.selected,
            attempts=self.attempts,
            returned=self.returned,
            latency_s=self.latency_s.tally,
            tokens=self.tokens,
            cost_nanos=self.cost_nanos,
            answers=self.answers,
            answers_nanos=self.answers_nanos,
            score=self.score.tally,
        )


class _Domain:
    """A domain's share of the window: satisfaction is the rating of each thread's session."""

    def __init__(self) -> None:
        self.threads = 0
        self.satisfaction, self.iterations = _Sum(), _Sum()
        self.first_answers: dict[str, _Sum] = {}

    def add(self, thread: Thread, rating: float | None) -> None:
        self.threads += 1
        self.satisfaction.add(rating)
        self.iterations.add(thread.current_iteration)

    def add_first_answer(self, model: str, score: float) -> None:
        self.first_answers.setdefault(model, _Sum()).add(score)

    @property
    def sums(self) -> DomainSums:
        return DomainSums(
            threads=self.threads,
            satisfaction=self.satisfaction.tally,
            iterations=self.iterations.tally,
            first_answers={name: scores.tally for name, scores in sorted(self.first_answers.items())},
        )


def _is_answer(response: Response) -> bool:
    """Whether it is a completed response to the prompt, not an opinion on one."""
    is_response = response.role in _ANSWERING and response.purpose in _ANSWERS
    return is_response and response.status is ResponseStatus.COMPLETED
