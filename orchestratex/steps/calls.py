"""One paid call, from claim to saved completion: the ledger's side of every step that asks a model.

The order is what keeps money and answers safe: claim, reserve, look at the thread again, set `sent_at`, send, save the
raw completion, settle. Each write is conditional on the lease; a late answer only settles its money.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bson import ObjectId

from orchestratex.domain.base import (
    Component,
    CostSource,
    LogLevel,
    Purpose,
    ResponseStatus,
    Role,
    Step,
    to_usd,
)
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import AttemptCost, Completion, Response, Usage
from orchestratex.domain.thread import Thread
from orchestratex.errors import (
    BreakerOpenError,
    BudgetError,
    CallUnwantedError,
    ContextTooLongError,
    ProviderError,
    ProviderNotFoundError,
    ProviderTimeoutError,
    StoreUnavailableError,
)
from orchestratex.faultpoints import FaultPoint
from orchestratex.providers.base import STILL_WANTED, CompletionRequest
from orchestratex.rules.pricing import affordable_output, completion_cost, prompt_tokens, worst_case
from orchestratex.rules.prompts import Messages
from orchestratex.rules.schemas import reply_schema
from orchestratex.steps import budget, gates
from orchestratex.steps.flight import LeftError, Outcome, fly
from orchestratex.steps.heart import Lease
from orchestratex.steps.poison import taking_back
from orchestratex.steps.services import Services

_log = logging.getLogger(__name__)

BuildPrompt = Callable[[Thread, Response], Messages]

_STEP_BY_ROLE = {Role.PRIMARY: Step.RESPOND, Role.EVALUATOR: Step.EVALUATE, Role.REFINER: Step.REFINE}
_SEEDS_PER_ITERATION = 1000
_SAVE_PATIENCE = 240  # tries, half a second apart: an answer that was paid for outlives an outage of two minutes
_SAVE_PAUSE_S = 0.5
_AGAIN_S = 10.0  # a call of a thread that stands in line is looked at no more often
_STALE_LOOK_S = 0.5  # a look at the thread that is older than this says nothing any more
_CALL_MARGIN_S = 1.0  # the client's own time limits come first, they know more


class CallState(StrEnum):
    """How a call ended for the step that wanted it."""

    SAVED = "saved"  # its completion is in the store and the lease is ours: read it and complete it
    WAITING = "waiting"  # given back, to be sent again after `delay_s`
    FAILED = "failed"  # closed as failed
    LEFT = "left"  # not ours: somebody else has it, or the thread went on without it
    UNAFFORDABLE = "unaffordable"  # its worst case does not fit into what the budget leaves


@dataclass(frozen=True)
class Called:
    """The outcome of one call."""

    state: CallState
    thread: Thread | None = None
    response: Response | None = None
    delay_s: float = 0.0
    why: str = ""


def run_call(response_id: ObjectId, build: BuildPrompt, services: Services) -> Called:
    """Claim a pending response and get its completion, from the ledger if it is there, else from the model."""
    response = services.store.claim_response(response_id, lease_s=services.settings.lease_s)
    if response is None or response.lease_token is None:
        return Called(CallState.LEFT, why="not pending, leased elsewhere, or waiting")
    limit_s = _call_limit_s(services) + services.settings.step_deadline_s
    with services.heart.hold(response.lease_token, limit_s=limit_s) as lease, taking_back(response, services):
        services.faults.reach(FaultPoint.CALL_CLAIMED)
        thread = services.store.get_thread(response.thread_id)
        if response.completion is not None:
            return Called(CallState.SAVED, thread, response, why="the ledger has its completion")
        if thread.is_queued or not _wants(thread, response):
            return _leave(thread, response, services)
        return _call(thread, response, build(thread, response), lease, services)


def call_worst_case(profile: Profile, role: Role, messages: Messages, services: Services) -> int:
    """The most that a call can cost, in nano-dollars."""
    max_tokens = _max_tokens(profile, role, Purpose.ANSWER, services)
    given = prompt_tokens(messages.text, json_schema=_schema_of(profile, role, Purpose.ANSWER))
    return worst_case(profile, input_tokens=given, max_tokens=max_tokens)


def close_failed(response: Response, problem: str, services: Services) -> Response | None:
    """Close a response as failed, keeping what was paid for and what came back."""
    text = response.completion.text if response.completion else None
    changes = {
        "status": ResponseStatus.FAILED,
        "error_message": problem[:2000],
        "response_text": text,
        "processing_duration": _since(response, services),
    }
    return services.store.complete_response(response, changes)


def completed_fields(response: Response, text: str, services: Services) -> dict[str, object]:
    """What every completed response records."""
    return {
        "status": ResponseStatus.COMPLETED,
        "response_text": text,
        "processing_duration": _since(response, services),
    }


def _wants(thread: Thread, response: Response) -> bool:
    """Whether the thread still stands where this call is wanted."""
    is_due = thread.due_step is _STEP_BY_ROLE[response.role]
    return not thread.is_ended and is_due and thread.current_iteration == response.iteration_number


def _leave(thread: Thread, response: Response, services: Services) -> Called:
    unsent = {"sent_at": None, "reserved_nanos": 0}
    now = services.store.get_thread(thread.id)
    if _wants(now, response):  # it was ended and taken up again meanwhile, or stands in line
        services.store.update_response(response, unsent, is_release=True, delay_s=_AGAIN_S if now.is_queued else None)
        budget.settle(response, 0, services)
        return Called(CallState.LEFT, thread, why="its thread was taken up anew")
    if services.store.complete_response(response, {**unsent, "status": ResponseStatus.SUPERSEDED}) is None:
        services.store.update_response(response, unsent, is_release=True)  # it was superseded by who moved the thread
    gates.forget_booking(response, services)
    budget.settle(response, 0, services)
    return Called(CallState.LEFT, thread, why="the thread went on without it")


def _call(thread: Thread, response: Response, messages: Messages, lease: Lease, services: Services) -> Called:
    profile = services.profile(response.model_name)
    if profile is None:
        return _fail(thread, response, ProviderNotFoundError(response.model_name, "its profile is gone"), services)
    max_tokens = _max_tokens(profile, response.role, response.purpose, services)
    given = prompt_tokens(messages.text, json_schema=_schema(profile, response))
    if given > 2 * profile.max_context_length:  # the estimate is from above; closer calls are the provider's to judge
        problem = f"about {given} tokens in a context of {profile.max_context_length}"
        return _fail(thread, response, ContextTooLongError(response.model_name, problem), services)
    try:
        hold = _hold(thread, response, profile, given, max_tokens, services)
    except BudgetError as error:
        return _unaffordable(thread, response, str(error), services)
    services.faults.reach(FaultPoint.CALL_RESERVED)
    response = response.model_copy(update={"days": list(hold.days), "reserved_nanos": hold.amount})
    expectations, characters = services.expectations, len(messages.text)
    estimated = expectations.expect(
        response.model_name, response.role, characters=characters, max_tokens=hold.max_tokens
    )
    passage = gates.pass_gates(response, profile, estimated, services)
    if passage.is_broken and _has_alternative(thread, response, services):
        return _fail(thread, response, BreakerOpenError(response.model_name, passage.why), services)
    if passage.wait_s > 0:
        return _give_back(thread, response, passage, services)
    looked_at = time.monotonic()
    if not services.store.is_current(thread):  # the last look before money is spent
        gates.give_up(response, passage, services)
        return _leave(thread, response, services)
    sent = _mark_sent(response, messages, hold.amount, services)
    if sent is None:
        gates.give_up(response, passage, services)
        return _leave(thread, response, services)
    sending = _Sending(thread, sent, profile, messages, passage, hold, given, estimated, looked_at)
    services.faults.reach(FaultPoint.CALL_SENT)
    return _send(sending, lease, services)


@dataclass(frozen=True)
class _Sending:
    """A call that leaves, and what its end will be judged by."""

    thread: Thread
    response: Response
    profile: Profile
    messages: Messages
    passage: gates.Passage
    hold: _Held
    given: int  # input tokens, from above
    estimated: int  # tokens that the limiter was told
    looked_at: float  # when its thread was last seen to want it, on the monotonic clock

    @property
    def schema(self) -> dict[str, Any] | None:
        """The form that its reply must have."""
        return _schema(self.profile, self.response)

    def worst_cost(self) -> AttemptCost:
        """What is charged as long as nobody knows better."""
        tokens = self.hold.max_tokens
        usage = Usage(input_tokens=self.given, output_tokens=tokens, total_tokens=self.given + tokens)
        return AttemptCost(nanos=self.hold.amount, source=CostSource.ESTIMATED, usage=usage)

    def cost(self, completion: Completion) -> AttemptCost:
        """What a completion costs."""
        nanos, source, usage = completion_cost(
            self.profile, completion, prompt=self.messages.text, json_schema=self.schema
        )
        return AttemptCost(nanos=nanos, source=source, usage=usage)

    def charge_of(self, error: ProviderError) -> AttemptCost | None:
        """What a failure costs; None when nothing was billed."""
        if isinstance(error.completion, Completion):  # a refusal that was billed: its price is known
            return self.cost(error.completion)
        return self.worst_cost() if error.may_be_charged else None


def _send(sending: _Sending, lease: Lease, services: Services) -> Called:
    """Send it and wait. When waiting is over first, its slot is free and its late answer settles its money."""
    thread, sent, model = sending.thread, sending.response, sending.response.model_name
    request = _request(sending.profile, sent, sending.messages, sending.hold.max_tokens)

    def is_wanted() -> bool:
        return services.store.is_current(thread)

    def send() -> Completion:
        if time.monotonic() - sending.looked_at > _STALE_LOOK_S and not is_wanted():
            raise CallUnwantedError(model, "its thread went on without it; nothing was sent")
        STILL_WANTED.set(is_wanted)  # of this flight's own thread
        return services.providers.of(sending.profile).complete(request)

    def conclude_late(outcome: Outcome) -> None:
        _conclude_late(sending, outcome, services)

    limit_s = _call_limit_s(services)
    try:
        completion = fly(send, lease, timeout_s=limit_s, conclude_late=conclude_late)
    except LeftError:
        if lease.is_lost:
            return _left(thread)
        error: ProviderError = ProviderTimeoutError(model, f"no complete answer within {limit_s:g} s")
        return _conclude_failure(sending, error, services)
    except CallUnwantedError:
        gates.give_up(sent, sending.passage, services)
        return _leave(thread, sent, services)
    except ProviderError as failure:
        return _conclude_failure(sending, failure, services)
    services.faults.reach(FaultPoint.CALL_ANSWERED)
    try:
        return _save(sending, completion, lease, services)  # first of all: it is paid for
    finally:
        _report_success(sending, completion, services)


def _call_limit_s(services: Services) -> float:
    """The most that a call may take, from its first byte to the answer's last."""
    return services.settings.connect_timeout_s + services.settings.call_timeout_s + _CALL_MARGIN_S


def _report_success(sending: _Sending, completion: Completion, services: Services) -> None:
    model, role, characters = sending.response.model_name, sending.response.role, len(sending.messages.text)
    actual = completion.usage.total_tokens if completion.usage else sending.estimated
    if completion.usage is not None:
        services.expectations.learn(model, role, characters=characters, usage=completion.usage)
    gates.report_success(sending.response, sending.passage, sending.estimated, actual, services)


def _conclude_failure(sending: _Sending, error: ProviderError, services: Services) -> Called:
    gates.report_failure(sending.response, sending.passage, error, sending.estimated, services)
    return _fail(sending.thread, sending.response, error, services, sending.charge_of(error))


def _conclude_late(sending: _Sending, outcome: Outcome, services: Services) -> None:
    """An answer that nobody waits for any more: keep what was paid for, and settle its money."""
    try:
        if isinstance(outcome, Completion):
            _report_success(sending, outcome, services)
            _keep_late(sending, sending.cost(outcome), services, completion=outcome)
        elif isinstance(outcome, ProviderError):
            if isinstance(outcome, CallUnwantedError):  # it never left, and says nothing about the model
                gates.give_up(sending.response, sending.passage, services)
            else:
                gates.report_failure(sending.response, sending.passage, outcome, sending.estimated, services)
            nothing = AttemptCost(nanos=0, source=CostSource.COMPUTED)
            _keep_late(sending, sending.charge_of(outcome) or nothing, services)
        else:
            _log.error("a call to %s failed by our own error", sending.response.model_name, exc_info=outcome)
    except StoreUnavailableError as error:  # reconcile charges the worst case
        _log.warning("a late answer of %s is not recorded: %s", sending.response.model_name, error)


def _keep_late(
    sending: _Sending, cost: AttemptCost, services: Services, *, completion: Completion | None = None
) -> None:
    """Charge an attempt that nobody waits for: under its lease while that stands, else in place of its estimate."""
    thread, response = sending.thread, sending.response
    kept = {} if completion is None else {"completion": completion, "response_time": completion.latency_ms}
    changes = {**kept, "reserved_nanos": 0, "sent_at": None}
    if services.store.update_response(response, changes, is_release=True, charge=cost) is not None:
        services.settle_totals(thread.id)  # before its reservation goes, which tells reconcile that this is to be done
        budget.settle(response, cost.nanos, services, is_estimate=cost.source is CostSource.ESTIMATED)
    elif cost.source is not CostSource.ESTIMATED:
        _settle_late(thread, response, cost, services)
    services.journal.write(
        Component.ORCHESTRATOR,
        "call_settled_late",
        f"{response.model_name}'s call ended after its thread had gone on: its cost is settled",
        thread=thread,
        model=response.model_name,
        response_id=str(response.id),
        attempt=response.attempt,
        cost_nanos=cost.nanos,
    )


def _mark_sent(response: Response, messages: Messages, amount: int, services: Services) -> Response | None:
    """Note that the request leaves now: from here on money may be owed."""
    return services.store.update_response(
        response,
        {
            "sent_at": services.clock(),
            "prompt_sent": messages.text,
            "reserved_nanos": amount,
            "days": response.days,
            "worst_case": max(to_usd(amount), response.worst_case or 0.0),
        },
        is_pending=True,
    )


def _give_back(thread: Thread, response: Response, passage: gates.Passage, services: Services) -> Called:
    """Let the call wait without a worker. Waiting is no attempt: the reservation stands for the next claim."""
    waiting = {"attempt": response.attempt - 1, "reserved_nanos": response.reserved_nanos, "days": response.days}
    delay_s = max(0.0, passage.wait_s - gates.SHORT_WAIT_S)
    released = services.store.update_response(response, waiting, is_release=True, delay_s=delay_s)
    if released is None:
        return Called(CallState.LEFT, thread, why="the lease was lost before sending")
    return Called(CallState.WAITING, thread, released, delay_s=delay_s, why=passage.why)


def _has_alternative(thread: Thread, response: Response, services: Services) -> bool:
    """Whether the thread can do without this call: another model answers, or others of the panel evaluate."""
    if response.role is Role.EVALUATOR:
        panel = services.store.panel_of(thread.id, iteration=response.iteration_number)
        open_or_done = {ResponseStatus.PENDING, ResponseStatus.COMPLETED}
        return any(each.id != response.id and each.status in open_or_done for each in panel)
    out = {response.model_name, *thread.failed_models, *thread.options.excluded_models}
    return any(p.is_available and p.model_name not in out for p in services.usable_profiles())


@dataclass(frozen=True)
class _Held:
    """What is set aside for an attempt, and the output that it pays for."""

    amount: int
    max_tokens: int
    days: tuple[str, ...]


def _hold(
    thread: Thread, response: Response, profile: Profile, given: int, max_tokens: int, services: Services
) -> _Held:
    """Set the worst case aside, for less output where the budget leaves less that is useful. Raises BudgetError."""
    amount = worst_case(profile, input_tokens=given, max_tokens=max_tokens)
    held = (
        response.reserved_nanos
    )  # by the panel's one update, or before a wait: it stands, and so does what it pays for
    if held:
        fitting = affordable_output(profile, input_tokens=given, nanos=held) if held < amount else max_tokens
        return _Held(held, max(1, min(max_tokens, fitting)), tuple(response.days))
    hold = budget.reserve(thread.session_id, thread.user_id, {response.money_key: amount}, services)
    if hold.is_granted:
        return _Held(amount, max_tokens, hold.days)
    smaller = _shrink(thread, response, profile, given, services)
    if smaller is None or smaller >= max_tokens:
        raise BudgetError(f"its worst case of ${to_usd(amount):.6f} does not fit into {hold.refused_by}")
    amount = worst_case(profile, input_tokens=given, max_tokens=smaller)
    hold = budget.reserve(thread.session_id, thread.user_id, {response.money_key: amount}, services)
    if hold.is_granted:
        return _Held(amount, smaller, hold.days)
    raise BudgetError(f"not even {smaller} output tokens fit into {hold.refused_by}")


def _shrink(thread: Thread, response: Response, profile: Profile, given: int, services: Services) -> int | None:
    """How much output the budget still pays for, where that is useful; a cut-off evaluation never is."""
    left = budget.available(thread.session_id, thread.user_id, services)
    if left is None or response.role is Role.EVALUATOR:
        return None
    tokens = affordable_output(profile, input_tokens=given, nanos=left)
    return tokens if tokens >= services.settings.useful_answer_tokens else None


def _unaffordable(thread: Thread, response: Response, problem: str, services: Services) -> Called:
    close_failed(response, problem, services)
    services.journal.write(
        Component.ORCHESTRATOR,
        "budget_refused",
        f"{response.model_name} is not called: {problem}",
        thread=thread,
        level=LogLevel.WARNING,
        model=response.model_name,
    )
    return Called(CallState.UNAFFORDABLE, thread, response, why=problem)


def _request(profile: Profile, response: Response, messages: Messages, max_tokens: int) -> CompletionRequest:
    return CompletionRequest(
        model_name=profile.model_name,
        model_version=profile.model_version,
        system=messages.system,
        user=messages.user,
        max_tokens=max_tokens,
        temperature=0.2 if response.role is Role.EVALUATOR else 0.7,
        seed=response.iteration_number * _SEEDS_PER_ITERATION + response.ordinal,
        idempotency_key=f"{response.id}.{response.attempt}",
        json_schema=_schema(profile, response),
    )


def _save(sending: _Sending, completion: Completion, lease: Lease, services: Services) -> Called:
    thread, response, cost = sending.thread, sending.response, sending.cost(completion)
    changes = {
        "completion": completion,
        "response_time": completion.latency_ms,
        "reserved_nanos": 0,
    }
    saved = _write_patiently(response, changes, cost, lease, services)
    if saved is None:
        _keep_late(sending, cost, services, completion=completion)
        return _left(thread)
    services.faults.reach(FaultPoint.CALL_SAVED)
    budget.settle(response, cost.nanos, services, is_estimate=cost.source is CostSource.ESTIMATED)
    services.faults.reach(FaultPoint.CALL_SETTLED)
    return Called(CallState.SAVED, thread, saved)


def _write_patiently(
    response: Response, changes: dict[str, object], cost: AttemptCost, lease: Lease, services: Services
) -> Response | None:
    """Write under the lease, through an outage of the store: what was paid for must not be lost to a blink."""
    for _ in range(_SAVE_PATIENCE):
        try:
            return services.store.update_response(response, changes, is_pending=True, charge=cost)
        except StoreUnavailableError:
            if lease.is_lost:
                return None
            threading.Event().wait(_SAVE_PAUSE_S)
    return services.store.update_response(response, changes, is_pending=True, charge=cost)


def _settle_late(thread: Thread, response: Response, cost: AttemptCost, services: Services) -> None:
    """The lease was freed meanwhile and the call charged at its worst case: now the truth is known.

    Without an estimate in the response there is none in the accounts: both must say the same.
    """
    if not services.store.amend_attempt(response.id, response.attempt, cost):
        return
    budget.settle_late(response, cost.nanos, services)
    services.settle_totals(thread.id)


def _fail(
    thread: Thread, response: Response, error: ProviderError, services: Services, charged: AttemptCost | None = None
) -> Called:
    """Settle a failed attempt, then wait for another or give the call up."""
    errors = response.errors + 1
    delay_s = _delay(error, errors, services)
    again = error.is_retryable and errors < services.settings.call_attempts and _has_time(thread, delay_s, services)
    changes: dict[str, object] = {"errors": errors, "error_message": str(error)[:2000], "reserved_nanos": 0}
    if again:
        closed = services.store.update_response(
            response, {**changes, "sent_at": None}, is_release=True, delay_s=delay_s, charge=charged
        )
    else:
        failed = {"status": ResponseStatus.FAILED, "processing_duration": _since(response, services)}
        closed = services.store.complete_response(response, {**changes, **failed}, charge=charged)
    nanos = charged.nanos if charged else 0
    if closed is None:
        return _fail_late(thread, response, changes, charged, services)
    is_estimate = charged is not None and charged.source is CostSource.ESTIMATED
    budget.settle(response, nanos, services, is_estimate=is_estimate)
    _report(thread, response, error, again, delay_s, services)
    state = CallState.WAITING if again else CallState.FAILED
    return Called(state, thread, closed, delay_s=delay_s, why=str(error))


def _fail_late(
    thread: Thread, response: Response, changes: dict[str, object], charged: AttemptCost | None, services: Services
) -> Called:
    """A failure that nobody waits for: under its lease while that stands, else in place of the estimated charge."""
    cost = charged or AttemptCost(nanos=0, source=CostSource.COMPUTED)
    unsent = {**changes, "sent_at": None}
    if services.store.update_response(response, unsent, is_release=True, charge=charged) is not None:
        services.settle_totals(thread.id)
        budget.settle(response, cost.nanos, services, is_estimate=cost.source is CostSource.ESTIMATED)
    elif cost.source is not CostSource.ESTIMATED:
        _settle_late(thread, response, cost, services)
    return _left(thread)


def _left(thread: Thread) -> Called:
    return Called(CallState.LEFT, thread, why="left during the call: it is not wanted any more, or others have it")


def _report(
    thread: Thread, response: Response, error: ProviderError, again: bool, delay_s: float, services: Services
) -> None:
    services.journal.write(
        Component.EVALUATOR if response.role is Role.EVALUATOR else Component.ORCHESTRATOR,
        "call_retried" if again else "error_occurred",
        f"{error}" + (f"; sent again in {delay_s:.1f} s" if again else "; given up"),
        thread=thread,
        level=LogLevel.WARNING if again else LogLevel.ERROR,
        model=response.model_name,
        error=None if again else error,
        error_class=type(error).__name__,
        attempt=response.attempt,
        response_id=str(response.id),
    )


def _has_time(thread: Thread, delay_s: float, services: Services) -> bool:
    """Whether the thread's deadline leaves room for another try after the wait."""
    if thread.deadline_at is None:
        return delay_s < services.settings.thread_deadline_s
    return (thread.deadline_at - services.clock()).total_seconds() > delay_s


def _delay(error: ProviderError, errors: int, services: Services) -> float:
    """Exponential back-off with full jitter; the provider's own wish wins."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    ceiling = min(services.settings.backoff_max_s, services.settings.backoff_s * 2.0 ** (errors - 1))
    return services.jitter() * ceiling


def _schema(profile: Profile, response: Response) -> dict[str, Any] | None:
    return _schema_of(profile, response.role, response.purpose)


def _schema_of(profile: Profile, role: Role, purpose: Purpose) -> dict[str, Any] | None:
    """The form that a reply must have, where the dialect can enforce one."""
    return reply_schema(profile, role, purpose) if profile.supports_json_schema else None


def _max_tokens(profile: Profile, role: Role, purpose: Purpose, services: Services) -> int:
    is_long = role is not Role.EVALUATOR and purpose is not Purpose.ASSESSMENT
    wanted = services.settings.answer_max_tokens if is_long else services.settings.evaluation_max_tokens
    return min(wanted, profile.max_output_tokens)


def _since(response: Response, services: Services) -> float:
    """Milliseconds since the response was asked for."""
    return max(0.0, (services.clock() - response.timestamp).total_seconds() * 1000)
