"""One paid call, from claim to saved completion: the ledger's side of every step that asks a model.

The order is what keeps money and answers safe: claim, reserve, look at the thread again, set `sent_at`, send, save the
raw completion, settle. Each write is conditional on the lease; a late answer only settles its money.
"""

from __future__ import annotations

import threading
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
    ContextTooLongError,
    ProviderError,
    ProviderNotFoundError,
    StoreUnavailableError,
)
from orchestratex.faultpoints import FaultPoint
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules.pricing import affordable_output, completion_cost, prompt_tokens, worst_case
from orchestratex.rules.prompts import Messages
from orchestratex.rules.replies import evaluation_schema
from orchestratex.steps import budget, gates
from orchestratex.steps.services import Services

BuildPrompt = Callable[[Thread, Response], Messages]

_STEP_BY_ROLE = {Role.PRIMARY: Step.RESPOND, Role.EVALUATOR: Step.EVALUATE, Role.REFINER: Step.REFINE}
_SEEDS_PER_ITERATION = 1000
_SAVE_PATIENCE = 240  # tries, half a second apart: an answer that was paid for outlives an outage of two minutes
_SAVE_PAUSE_S = 0.5


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
    with services.heart.hold(response.lease_token):
        services.faults.reach(FaultPoint.CALL_CLAIMED)
        thread = services.store.get_thread(response.thread_id)
        if response.completion is not None:
            return Called(CallState.SAVED, thread, response, why="the ledger has its completion")
        if not _wants(thread, response):
            return _leave(thread, response, services)
        return _call(thread, response, build(thread, response), services)


def call_worst_case(profile: Profile, role: Role, messages: Messages, services: Services) -> int:
    """The most that a call can cost, in nano-dollars."""
    max_tokens = _max_tokens(profile, role, Purpose.ANSWER, services)
    given = prompt_tokens(messages.text, json_schema=_schema_of(profile, role))
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
    services.store.complete_response(response, {"status": ResponseStatus.SUPERSEDED})
    gates.forget_booking(response, services)
    budget.settle(response, 0, services)
    return Called(CallState.LEFT, thread, why="the thread went on without it")


def _call(thread: Thread, response: Response, messages: Messages, services: Services) -> Called:
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
    worst_tokens = given + hold.max_tokens
    expectations, characters = services.expectations, len(messages.text)
    estimated = expectations.expect(
        response.model_name, response.role, characters=characters, max_tokens=hold.max_tokens
    )
    passage = gates.pass_gates(response, profile, estimated, services)
    if passage.is_broken and _has_alternative(thread, response, services):
        return _fail(thread, response, BreakerOpenError(response.model_name, passage.why), services)
    if passage.wait_s > 0:
        return _give_back(thread, response, passage, services)
    if not services.store.is_current(thread):  # the last look before money is spent
        gates.give_up(response, passage, services)
        return _leave(thread, response, services)
    sent = _mark_sent(response, messages, hold.amount, services)
    if sent is None:
        gates.give_up(response, passage, services)
        budget.settle(response, 0, services)
        return Called(CallState.LEFT, thread, why="the lease was lost before sending")
    request = _request(profile, sent, messages, hold.max_tokens)
    services.faults.reach(FaultPoint.CALL_SENT)
    try:
        completion = services.providers.of(profile).complete(request)
    except ProviderError as error:
        gates.report_failure(sent, passage, error, estimated, services)
        worst_usage = Usage(input_tokens=given, output_tokens=hold.max_tokens, total_tokens=worst_tokens)
        charged = AttemptCost(nanos=hold.amount, source=CostSource.ESTIMATED, usage=worst_usage)
        if isinstance(error.completion, Completion):  # a refusal that was billed: its price is known
            nanos, source, usage = completion_cost(
                profile, error.completion, prompt=messages.text, json_schema=_schema(profile, response)
            )
            charged = AttemptCost(nanos=nanos, source=source, usage=usage)
        return _fail(thread, sent, error, services, charged if error.may_be_charged else None)
    services.faults.reach(FaultPoint.CALL_ANSWERED)
    actual = completion.usage.total_tokens if completion.usage else estimated
    if completion.usage is not None:
        expectations.learn(response.model_name, response.role, characters=characters, usage=completion.usage)
    gates.report_success(sent, passage, estimated, actual, services)
    return _save(thread, sent, completion, profile, messages, services)


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


def _save(
    thread: Thread,
    response: Response,
    completion: Completion,
    profile: Profile,
    messages: Messages,
    services: Services,
) -> Called:
    nanos, source, usage = completion_cost(
        profile, completion, prompt=messages.text, json_schema=_schema(profile, response)
    )
    cost = AttemptCost(nanos=nanos, source=source, usage=usage)
    changes = {
        "completion": completion,
        "response_time": completion.latency_ms,
        "reserved_nanos": 0,
        **_charge(response, cost),
    }
    saved = _write_patiently(response, changes, services)
    if saved is None:
        _settle_late(thread, response, cost, services)
        return Called(CallState.LEFT, thread, why="the lease was lost during the call")
    services.faults.reach(FaultPoint.CALL_SAVED)
    budget.settle(response, nanos, services, is_estimate=cost.source is CostSource.ESTIMATED)
    services.faults.reach(FaultPoint.CALL_SETTLED)
    return Called(CallState.SAVED, thread, saved)


def _write_patiently(response: Response, changes: dict[str, object], services: Services) -> Response | None:
    """Write under the lease, through an outage of the store: what was paid for must not be lost to a blink."""
    for _ in range(_SAVE_PATIENCE):
        try:
            return services.store.update_response(response, changes)
        except StoreUnavailableError:
            if services.heart.has_lost(response.lease_token or ""):
                return None
            threading.Event().wait(_SAVE_PAUSE_S)
    return services.store.update_response(response, changes)


def _settle_late(thread: Thread, response: Response, cost: AttemptCost, services: Services) -> None:
    """The lease was freed meanwhile and the call charged at its worst case: now the truth is known.

    While another attempt is under way the estimate stays, in the response and in the accounts: both must say the same.
    """
    if not services.store.amend_attempt(response.id, response.attempt, cost):
        return
    budget.settle_late(response, cost.nanos, services)
    services.store.set_thread(thread.id, services.recount(thread.id))


def _fail(
    thread: Thread, response: Response, error: ProviderError, services: Services, charged: AttemptCost | None = None
) -> Called:
    """Settle a failed attempt, then wait for another or give the call up."""
    errors = response.errors + 1
    delay_s = _delay(error, errors, services)
    again = error.is_retryable and errors < services.settings.call_attempts and _has_time(thread, delay_s, services)
    changes: dict[str, object] = {"errors": errors, "error_message": str(error)[:2000], "reserved_nanos": 0}
    if charged is not None:
        changes |= _charge(response, charged)
    if again:
        closed = services.store.update_response(
            response, {**changes, "sent_at": None}, is_release=True, delay_s=delay_s
        )
    else:
        failed = {"status": ResponseStatus.FAILED, "processing_duration": _since(response, services)}
        closed = services.store.complete_response(response, {**changes, **failed})
    nanos = charged.nanos if charged else 0
    if closed is None and charged is not None:
        return Called(CallState.LEFT, thread, why="the lease was lost during the call")  # reconcile has settled it
    is_estimate = charged is not None and charged.source is CostSource.ESTIMATED
    budget.settle(response, nanos, services, is_estimate=is_estimate)
    _report(thread, response, error, again, delay_s, services)
    state = CallState.WAITING if again else CallState.FAILED
    return Called(state, thread, closed, delay_s=delay_s, why=str(error))


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


def _charge(response: Response, cost: AttemptCost) -> dict[str, object]:
    """The response's money with one more attempt in it."""
    costs = {**response.attempt_costs, str(response.attempt): cost}
    nanos = sum(each.nanos for each in costs.values())
    certainty = [CostSource.PROVIDER, CostSource.COMPUTED, CostSource.ESTIMATED]
    return {
        "attempt_costs": costs,
        "cost_nanos": nanos,
        "cost": to_usd(nanos),
        "cost_source": max((each.source for each in costs.values()), key=certainty.index),
        "tokens_used": _add_usage([each.usage for each in costs.values()]),
    }


def _add_usage(usages: list[Usage]) -> Usage:
    return Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in Usage.model_fields})


def _has_time(thread: Thread, delay_s: float, services: Services) -> bool:
    """Whether the thread's deadline leaves room for another try after the wait."""
    age_s = (services.clock() - thread.created_at).total_seconds()
    return age_s + delay_s < services.settings.thread_deadline_s


def _delay(error: ProviderError, errors: int, services: Services) -> float:
    """Exponential back-off with full jitter; the provider's own wish wins."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    ceiling = min(services.settings.backoff_max_s, services.settings.backoff_s * 2.0 ** (errors - 1))
    return services.jitter() * ceiling


def _schema(profile: Profile, response: Response) -> dict[str, Any] | None:
    return _schema_of(profile, response.role)


def _schema_of(profile: Profile, role: Role) -> dict[str, Any] | None:
    """The form that a reply must have, where the dialect can enforce one: only evaluations are pure JSON."""
    return evaluation_schema() if role is Role.EVALUATOR and profile.supports_json_schema else None


def _max_tokens(profile: Profile, role: Role, purpose: Purpose, services: Services) -> int:
    is_long = role is not Role.EVALUATOR and purpose is not Purpose.ASSESSMENT
    wanted = services.settings.answer_max_tokens if is_long else services.settings.evaluation_max_tokens
    return min(wanted, profile.max_output_tokens)


def _since(response: Response, services: Services) -> float:
    """Milliseconds since the response was asked for."""
    return max(0.0, (services.clock() - response.timestamp).total_seconds() * 1000)
