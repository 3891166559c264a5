"""What became of the calls that a trial made: read from the documents that the engine wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestratex.cli.output import format_cost
from orchestratex.domain.base import Purpose, ResponseStatus, Role, StopReason, to_usd
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.steps.check import Grade
from orchestratex.steps.services import Services

Row = tuple[str, str, str, str, str, str]


@dataclass(frozen=True)
class Outcome:
    """What became of one call."""

    grade: Grade  # skipped: there was nothing to ask for
    text: str
    latency_ms: float | None = None

    def view(self) -> dict[str, Any]:
        """For JSON."""
        return {"grade": self.grade.value, "text": self.text, "latency_ms": self.latency_ms}


@dataclass(frozen=True)
class Tried:
    """What one model did."""

    answer: Outcome
    evaluation: Outcome
    cost_nanos: int = 0  # of all its calls

    @property
    def has_passed(self) -> bool:
        """Whether nothing failed."""
        return Grade.FAILED not in (self.answer.grade, self.evaluation.grade)

    @property
    def was_wanted(self) -> bool:
        """Whether there was something to ask of it."""
        return self.answer.grade is not Grade.SKIPPED

    def view(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "answer": self.answer.view(),
            "evaluation": self.evaluation.view(),
            "cost_usd": to_usd(self.cost_nanos),
        }

    def row(self, model_name: str) -> Row:
        """For a table."""
        parts = [cell for each in (self.answer, self.evaluation) for cell in (each.text, _format_s(each.latency_ms))]
        answer, answer_s, evaluation, evaluation_s = parts
        return model_name, answer, answer_s, evaluation, evaluation_s, format_cost(self.cost_nanos)


class Calls:
    """All calls of a trial's threads."""

    def __init__(self, threads: Sequence[Thread], services: Services) -> None:
        self._calls = [call for thread in threads for call in services.store.responses_of(thread.id)]
        self._services = services

    def has_answered(self, name: str) -> bool:
        """Whether a model gave an answer that could be used."""
        return _find_done(self._of(name, Role.PRIMARY)) is not None

    def was_asked_to_evaluate(self, name: str) -> bool:
        """Whether a model got an answer to evaluate."""
        return bool(self._of(name, Role.EVALUATOR))

    def read(self, name: str, thread: Thread, *, is_alone: bool) -> Tried:
        """What a model did; `thread` is the one that it was to answer."""
        answer = self._read_answer(name, thread)
        cost = sum(call.cost_nanos for call in self._calls if call.model_name == name)
        return Tried(answer, self._read_evaluation(name, thread, is_alone=is_alone), cost)

    def _of(self, name: str, role: Role) -> list[Response]:
        mine = [call for call in self._calls if call.model_name == name and call.role is role]
        return [call for call in mine if call.purpose is not Purpose.ASSESSMENT]

    def _read_answer(self, name: str, thread: Thread) -> Outcome:
        calls = self._of(name, Role.PRIMARY)
        done = _find_done(calls)
        if done is None:
            return Outcome(Grade.FAILED, _find_problem(calls, thread) or "it was not asked: another model was chosen")
        text = "ok, but not whole: it was cut off or filtered" if done.is_partial else "ok"
        return Outcome(Grade.OK, text + _tell_again(calls), done.response_time)

    def _read_evaluation(self, name: str, thread: Thread, *, is_alone: bool) -> Outcome:
        calls = self._of(name, Role.EVALUATOR)
        done = _find_done(calls)
        if done is not None:
            evaluations = self._services.store.evaluations_of(done.thread_id)
            score = next((each.overall_score for each in evaluations if each.id == done.id), None)
            read = "read" if score is None else f"read: {score:.1f}"
            return Outcome(Grade.OK, read + _tell_again(calls), done.response_time)
        if calls:
            return Outcome(Grade.FAILED, _find_problem(calls, thread) or "no reply came")
        if is_alone:
            return Outcome(Grade.SKIPPED, "only one model can be served: nothing to evaluate")
        if thread.stop_reason is StopReason.COST_LIMIT:
            return Outcome(Grade.FAILED, "not asked: the cost limit left nothing; give a higher --cost-limit")
        return Outcome(Grade.SKIPPED, "no other model answered: nothing to evaluate")


def _find_done(calls: Sequence[Response]) -> Response | None:
    return next((call for call in calls if call.status is ResponseStatus.COMPLETED), None)


def _find_problem(calls: Sequence[Response], thread: Thread) -> str | None:
    """Why no call succeeded, the last reason first; else why the thread stopped."""
    said = [call.error_message for call in calls if call.error_message]
    return said[-1] if said else thread.failure_reason


def _tell_again(calls: Sequence[Response]) -> str:
    return ", when asked again" if any(call.purpose is Purpose.RE_ASK for call in calls) else ""


def _format_s(latency_ms: float | None) -> str:
    return "-" if latency_ms is None else f"{latency_ms / 1000:.1f}"
