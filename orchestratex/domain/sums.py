"""What a window of metrics is made of: sums that can be put together, so that longer windows need no raw data.

All are integers, so that no sum drifts and none depends on the order in which documents are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestratex.domain.base import Count, Domain, ModelName, Nanos, Record

BILLION: Final = 1_000_000_000


class Tally(Record):
    """A sum of values, in billionths of their unit, and of how many."""

    total: int = 0
    count: Count = 0

    @property
    def mean(self) -> float | None:
        """Their mean; None over nothing."""
        return self.total / (BILLION * self.count) if self.count else None


class ModelSums(Record):
    """One model's share."""

    selected: Count = 0  # times that it was chosen, the choice of the final response left out
    attempts: Count = 0  # requests that were sent and are over
    returned: Count = 0  # of those, how many brought a completion
    latency_s: Tally = Tally()  # of completed calls
    tokens: Count = 0
    cost_nanos: Nanos = 0  # of all its calls
    answers: Count = 0  # completed first answers and revisions
    answers_nanos: Nanos = 0  # what they cost
    score: Tally = Tally()  # of those that were weighed


class DomainSums(Record):
    """One domain's share."""

    threads: Count = 0
    satisfaction: Tally = Tally()  # the rating of each thread's session
    iterations: Tally = Tally()
    first_answers: dict[ModelName, Tally] = {}  # scores of rated first answers, by model


class Sums(Record):
    """One window's sums."""

    opened: Count = 0  # sessions that started
    sessions: Count = 0  # that ended
    completed_sessions: Count = 0
    error_sessions: Count = 0
    session_minutes: Tally = Tally()
    session_cost: Tally = Tally()  # US dollars
    peak_rise: int = 0  # most sessions open at once, less those that were open when the window began

    threads: Count = 0
    iterations: Tally = Tally()
    max_iterations_reached: Count = 0
    early_terminations: Count = 0
    final_score: Tally = Tally()
    accepted: Tally = Tally()
    improved: Tally = Tally()  # revisions that were scored: 1 where better
    selection_accuracy: Tally = Tally()

    probes: Count = 0
    probes_passed: Count = 0

    models: dict[ModelName, ModelSums] = {}
    domains: dict[Domain, DomainSums] = {}

    @property
    def net_sessions(self) -> int:
        """How many more sessions are open at the window's end than at its start."""
        return self.opened - self.sessions


def merge(windows: Iterable[Sums], *, is_first_later: bool) -> Sums:
    """The sums of windows that follow each other, in their order. What is between them holds nothing.

    `is_first_later` says that the merged window begins before the first of them: with what was open already.
    """
    merged = Sums() if is_first_later else None
    for each in windows:
        if merged is None:
            merged = each
            continue
        rise = max(merged.peak_rise, merged.net_sessions + each.peak_rise)
        merged = _add(merged, each).model_copy(update={"peak_rise": rise})
    return merged or Sums()


def add(sums: Sums, more: Sums) -> Sums:
    """The sums of one window with more of it; how many sessions were open at once has to be in the first already."""
    together: Sums = _add(sums, more)
    return together.model_copy(update={"peak_rise": sums.peak_rise})


def model_totals(sums: Sums) -> dict[str, dict[str, int]]:
    """What a window adds to each model's running sums: numbers by their path, zeros left out."""
    totals = {name: _flatten(held.model_dump()) for name, held in sums.models.items()}
    for domain, share in sums.domains.items():
        for name, tally in share.first_answers.items():
            totals.setdefault(name, {}).update(_flatten({"first_answers": {domain.value: tally.model_dump()}}))
    return {name: {path: value for path, value in found.items() if value} for name, found in totals.items()}


def subtract(new: Mapping[str, Mapping[str, int]], old: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """By how much running sums change; what does not change is left out."""
    changes: dict[str, dict[str, int]] = {}
    for name in new.keys() | old.keys():
        after, before = new.get(name, {}), old.get(name, {})
        moved = {path: after.get(path, 0) - before.get(path, 0) for path in after.keys() | before.keys()}
        if moved := {path: value for path, value in sorted(moved.items()) if value}:
            changes[name] = moved
    return changes


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, int]:
    flat: dict[str, int] = {}
    for name, value in values.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _add(first: Any, second: Any) -> Any:
    """The sum of two numbers, records or dictionaries of the same shape."""
    if isinstance(first, Record):
        names = type(first).model_fields
        return first.model_copy(update={name: _add(getattr(first, name), getattr(second, name)) for name in names})
    if isinstance(first, Mapping):
        both = {key: _add(first[key], second[key]) if key in first else second[key] for key in second}
        return {**first, **both}
    return first + second
