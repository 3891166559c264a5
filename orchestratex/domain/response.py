from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from orchestratex.domain.base import (
    MAX_ITERATIONS,
    CostSource,
    Count,
    Domain,
    Effort,
    FinishReason,
    Id,
    Leased,
    Millis,
    ModelName,
    Nanos,
    Purpose,
    Record,
    ResponseStatus,
    ResponseType,
    Role,
    Score,
    Usd,
    UtcDate,
    added,
    to_usd,
)

SIMULATED_HEADER: Final = "x-orchestratex-sandbox"  # on every reply of the sandbox: no setting has to say who it is


class Usage(Record):
    """Tokens of one call. Cached tokens and those put into a cache are part of the input, reasoning of the output."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    total_tokens: Count = 0
    cached_tokens: Count = 0
    reasoning_tokens: Count = 0
    cache_write_tokens: Count = added(0)


class Completion(Record):
    """A provider's raw answer, saved before anything else happens to it."""

    text: str
    bytes_left_out: Count = added(0)  # of a text that no document could keep
    finish_reason: FinishReason = FinishReason.STOP
    usage: Usage | None = None  # None: the provider did not say
    cost_usd: Usd | None = None  # what the provider itself charged, where it says so
    latency_ms: Millis = 0
    request_id: str | None = None
    model_version: str | None = None
    is_simulated: bool = added(False)  # it says of itself that it comes from the sandbox

    @property
    def served_version(self) -> str | None:
        """The version that answered, as the reply names it: what was asked for may be an alias."""
        return self.model_version


LEAST_CERTAIN_FIRST: Final = (CostSource.ESTIMATED, CostSource.COMPUTED, CostSource.PROVIDER)


class AttemptCost(Record):
    """What one attempt of a call cost."""

    nanos: Nanos
    source: CostSource
    usage: Usage = Usage()


def sum_costs(costs: Mapping[str, AttemptCost]) -> dict[str, Any]:
    """A response's money, from what its attempts cost."""
    nanos = sum(cost.nanos for cost in costs.values())
    sources = {cost.source for cost in costs.values()}
    usages = [cost.usage for cost in costs.values()]
    return {
        "attempt_costs": dict(costs),
        "cost_nanos": nanos,
        "cost": to_usd(nanos),
        "cost_source": next(source for source in LEAST_CERTAIN_FIRST if source in sources),
        "tokens_used": Usage(**{name: sum(getattr(each, name) for each in usages) for name in Usage.model_fields}),
    }


class Response(Leased):
    """One paid call: its ledger entry and what came of it."""

    thread_id: Id
    session_id: Id
    iteration_number: int = Field(ge=1, le=MAX_ITERATIONS)

    model_name: ModelName
    role: Role
    response_type: ResponseType
    response_text: str | None = None  # of completed calls alone: what came of others is in `completion`

    prompt_sent: str | None = None  # as it left last; until sent
    prompt_time: Millis | None = added(None)  # what putting it together took, of the last attempt; until sent
    context_provided: str = ""  # the caller's, empty where none was given; on calls that ask again, too
    asked_again_for: str | None = added(None)  # what was wrong with the reply that this call asks for again
    parent_response_id: Id | None = None  # the response that it improves, evaluates or assesses; None: a first answer
    criticism_addressed: list[Id] = []  # the evaluations that a revision answers

    response_time: Millis | None = None  # of the last attempt, from sending to answer or failure; None: not sent
    tokens_used: Usage | None = None  # sum of the attempts; until charged
    cost: Usd | None = None  # sum of the attempts; None until one was sent

    # an answer's: what its author said in a call of its own beside the panel, None where that is switched off, failed
    # or came too late; an evaluator's confidence is that in its evaluation
    confidence_score: Score | None = None
    self_assessment: str | None = None
    is_selected_best: bool = False  # true for exactly one response of an ended thread that has one
    is_partial: bool = added(False)  # its text is not whole: the output limit or a filter ended it
    stands_by: bool = added(False)  # not whole, and shown only where no other answer comes
    selection_score: Score | None = None  # its panel's aggregate; None: an evaluator's call, or nothing was weighed

    # superseded: its model was replaced, the quorum left it behind, or its thread ended first
    status: ResponseStatus = ResponseStatus.PENDING
    is_quarantined: bool = added(False)  # given up because it failed at the same place again and again
    error_message: str | None = None  # of failed calls alone
    retried_for: str | None = added(None)  # why its last attempt but one failed; None: none did

    timestamp: UtcDate  # when it was asked for
    processing_duration: Millis | None = None  # from then until it was over, waiting and all attempts included

    domain: Domain | None = None  # the thread's, so that a model's record in a domain is one query

    without_schema: bool = added(False)  # the reply's schema is left out: it was in the way
    left_out: list[str] = added([])  # parameters that its model refused in this call, see domain.capabilities
    effort: Effort | None = added(None)  # how hard the model was asked to think; None: it was not said
    served_version: str | None = added(None)  # the version that answered; until then, or where the reply names none
    refusals: Count = added(0)  # connections that were refused: they cost nothing and use up no attempt
    refused_since: UtcDate | None = added(None)  # when the first of them was
    # calls that wait until their model, which takes only so many at once, takes one more
    seat_wanted_at: UtcDate | None = added(None)  # since when it waits now; None: it does not
    seat_wait_ms: Millis = added(0.0)  # how long it has waited in all
    waits_for: str | None = added(None)  # why it was given back unsent, to wait without a worker; until sent
    is_simulated: bool = added(False)  # the sandbox played its model: text and costs are made up

    # the ledger
    purpose: Purpose  # with thread, iteration, role, model and ordinal the unique key of a paid call
    ordinal: Count = 0  # tells calls of one purpose apart
    sent_at: UtcDate | None = None  # set just before the request leaves: from then on money may be owed
    attempts_sent: Count | None = added(None)  # requests that left, of all attempts; None: none, or not counted yet
    completion: Completion | None = None  # saved raw, before parsing
    finish_reason: FinishReason | None = added(None)  # the completion's, for who reads without it
    output_limit: Count | None = added(None)  # tokens that the last attempt was allowed; until sent
    output_wanted: Count | None = added(None)  # tokens to allow, where the reply before it was cut off; None: by role
    days: list[str] = []  # the day budgets that the present attempt draws on, beside its session
    reserved_nanos: Nanos = 0  # worst case of the attempt under way
    worst_case: Usd | None = None  # US dollars, the highest reservation of its attempts
    cost_nanos: Nanos = 0
    cost_source: CostSource | None = None  # the least certain of its attempts
    attempt_costs: dict[str, AttemptCost] = {}  # by attempt number

    @property
    def is_pending(self) -> bool:
        """Whether it is still to be answered."""
        return self.status is ResponseStatus.PENDING

    @property
    def key(self) -> tuple[str, int, str, str, str, int]:
        """The unique key of a paid call; the attempt is outside it."""
        return (
            str(self.thread_id),
            self.iteration_number,
            self.role.value,
            self.model_name,
            self.purpose.value,
            self.ordinal,
        )

    @property
    def money_key(self) -> str:
        """The name of the present attempt in its session's account."""
        return f"{self.id}_{self.attempt}"
