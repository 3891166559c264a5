"""What can go wrong on demand: per model, per task and per share of calls, drawn so that it repeats itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from orchestratex.domain.base import Share
from orchestratex.sandbox.evaluating import Bias
from orchestratex.sandbox.seeds import draw_unit
from orchestratex.sandbox.tasks import TaskKind


class FaultKind(StrEnum):
    """The ways in which a call goes wrong."""

    RATE_LIMIT = "rate_limit"  # 429 with Retry-After
    SERVER_ERROR = "server_error"  # 500
    HANG = "hang"  # no answer for hang_s, then the connection is closed
    GARBAGE = "garbage"  # 200 with an HTML page
    DROP = "drop"  # the completion is made and charged, the connection is cut before a byte of it is sent
    DROP_AFTER = "drop_after"  # the connection is closed half-way through the body
    TRUNCATED = "truncated"  # a whole HTTP reply with half the JSON
    MALFORMED = "malformed"  # a sound envelope around a text that is broken for its task
    REFUSAL = "refusal"
    EMPTY = "empty"
    CUT_OFF = "cut_off"  # half the text, and all the tokens that were allowed
    EMPTY_CUT_OFF = "empty_cut_off"  # no text: thinking took all the tokens that were allowed
    FILTERED = "filtered"  # half the text, then the provider's filter
    BRIBED = "bribed"  # an evaluator that obeys what the answer tells it
    SEVERITY = "severity"  # an evaluator that adds `offset` points
    SELF_PREFERENCE = "self_preference"  # an evaluator that adds `offset` points to texts in its own style


BIASES: Final = frozenset({FaultKind.BRIBED, FaultKind.SEVERITY, FaultKind.SELF_PREFERENCE})


def _split_names(value: object) -> object:
    return [name for name in value.split(",") if name] if isinstance(value, str) else value


class Fault(BaseModel):
    """One fault that is switched on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    models: Annotated[tuple[str, ...], BeforeValidator(_split_names)] = ()  # schema names; empty means all
    tasks: Annotated[tuple[TaskKind, ...], BeforeValidator(_split_names)] = ()  # empty means all
    share: Share = 1.0  # of the calls it applies to
    times: int | None = Field(default=None, ge=1)  # how many calls it hits at most
    retry_after_s: float = Field(default=1.0, ge=0)  # rate_limit; the header is in whole seconds, rounded up
    hang_s: float = Field(default=30.0, ge=0)
    offset: float = 1.5  # points, of severity and self_preference

    def applies_to(self, model: str, task: TaskKind) -> bool:
        """Tell whether a call is of the kind that this fault may hit."""
        if self.kind in BIASES and task is not TaskKind.EVALUATE:
            return False
        return (not self.models or model in self.models) and (not self.tasks or task in self.tasks)


def parse_fault(text: str) -> Fault:
    """Read a fault as a command line gives it: `rate_limit share=0.1 models=gpt4,claude`, or as JSON.

    Raises ValueError for what is no fault.
    """
    if text.lstrip().startswith("{"):
        return Fault.model_validate(json.loads(text))
    kind, *pairs = text.split() or [""]
    return Fault.model_validate({"kind": kind, **dict(_split_pair(pair) for pair in pairs)})


def _split_pair(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals:
        raise ValueError(f"expected name=value, not {pair!r}")
    return name, value


class FaultPlan:
    """The faults that are on, and how many calls each has hit."""

    def __init__(self, faults: Sequence[Fault], *, seed: int) -> None:
        self.seed = seed
        self.replace(faults)

    def replace(self, faults: Sequence[Fault]) -> None:
        """Switch to other faults and forget all hits."""
        self.faults = tuple(faults)
        self.hits = [0] * len(self.faults)

    def draw(self, model: str, task: TaskKind, key: str) -> tuple[Fault | None, Bias]:
        """Return the fault that hits this call, the first in order, and the bias of its evaluator.

        The same key (of seed, model and idempotency key) is hit by the same faults, as long as `times` allows.
        """
        broken: Fault | None = None
        biases = []
        for place, fault in enumerate(self.faults):
            if (broken and fault.kind not in BIASES) or not self._hits(place, model, task, key):
                continue
            self.hits[place] += 1
            if fault.kind in BIASES:
                biases.append(fault)
            else:
                broken = fault
        return broken, _sum_biases(biases)

    def _hits(self, place: int, model: str, task: TaskKind, key: str) -> bool:
        fault = self.faults[place]
        if not fault.applies_to(model, task) or (fault.times is not None and self.hits[place] >= fault.times):
            return False
        return fault.share >= 1 or draw_unit("fault", self.seed, place, fault.kind, model, key) < fault.share


def _sum_biases(faults: Iterable[Fault]) -> Bias:
    kinds, points = set(), dict.fromkeys(BIASES, 0.0)
    for fault in faults:
        kinds.add(fault.kind)
        points[fault.kind] += fault.offset
    return Bias(
        is_bribable=FaultKind.BRIBED in kinds,
        severity=points[FaultKind.SEVERITY],
        self_preference=points[FaultKind.SELF_PREFERENCE],
    )
