"""One paid call, from claim to saved completion: the ledger's side of every step that asks a model.

The order is what keeps money and answers safe: claim, reserve, look at the thread again, set `sent_at`, send, save the
raw completion, settle. Each write is conditional on the lease; a late answer only settles its money.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from orchestratex.domain.base import (
    Component,
    CostSource,
    Effort,
    FinishReason,
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
    DocumentTooLargeError,
    ProviderError,
    ProviderNotFoundError,
    ProviderTimeoutError,
    StoreUnavailableError,
)
from orchestratex.faultpoints import FaultPoint
from orchestratex.providers.base import STILL_WANTED
from orchestratex.rules.attempts import count_sent
from orchestratex.rules.pricing import completion_cost, prompt_tokens, served_profile, worst_case
from orchestratex.rules.prompts import Messages
from orchestratex.steps import budget, gates
from orchestratex.steps.called import Called, CallState, left
from orchestratex.steps.failing import fail, failed_fields, settle_late, since
from orchestratex.steps.flight import LeftError, Outcome, fly
from orchestratex.steps.heart import Lease
from orchestratex.steps.holding import Held, hold_worst_case
from orchestratex.steps.parameters import effort_of, note_served
from orchestratex.steps.patience import has_alternative, may_await_server
from orchestratex.steps.poison import taking_back
from orchestratex.steps.provision import Provision, is_answer, provide, release_late
from orchestratex.steps.request import first_limit, make_request, output_limit, role_schema, schema_of
from orchestratex.steps.saving import save_patiently, write_late
from orchestratex.steps.seats import end_seat_wait, give_back
from orchestratex.steps.services import Services
from orchestratex.steps.span import sending_span
from orchestratex.steps.superseded import note_superseded

_log = logging.getLogger(__name__)

BuildPrompt = Callable[[Thread, Response], Messages]

_STEP_BY_ROLE = {Role.PRIMARY: Step.RESPOND, Role.EVALUATOR: Step.EVALUATE, Role.REFINER: Step.REFINE}
_AGAIN_S = 10.0  # a call of a thread that stands in line is looked at no more often
_STALE_LOOK_S = 0.5  # a look at the thread that is older than this says nothing any more
_CALL_MARGIN_S = 1.0  # the client's own time limits come first, they know more
_NEVER_SENT: dict[str, object] = {"prompt_sent": None, "output_limit": None, "processing_duration": None}


def run_call(response_id: ObjectId, build: BuildPrompt, services: Services, *, is_judged: bool = False) -> Called:
    """Claim a pending response and get its completion, from the ledger if it is there, else from the model.

    With `is_judged` a panel is to evaluate it: no money is spent that leaves nothing for the smallest one.
    """
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
        started = time.perf_counter()
        messages = build(thread, response)
        response = response.model_copy(update={"prompt_time": (time.perf_counter() - started) * 1000})
        provision = provide(thread, response.model_name, services) if is_judged else None
        return _call(thread, response, messages, lease, services, provision)


def call_worst_case(
    profile: Profile,
    role: Role,
    messages: Messages,
    services: Services,
    *,
    purpose: Purpose = Purpose.ANSWER,
    effort: Effort | None = None,
) -> int:
    """The most that a call can cost, in nano-dollars, when its thread asks for an effort."""
    max_tokens = first_limit(profile, role, purpose, effort_of(profile, purpose, effort), services)
    given = prompt_tokens(messages.text, json_schema=role_schema(profile, role, purpose))
    return worst_case(profile, input_tokens=given, max_tokens=max_tokens, span=sending_span(services))


def close_failed(response: Response, problem: str, services: Services) -> Response | None:
    """Close a response as failed, keeping what was paid for and what came back."""
    return services.store.complete_response(response, failed_fields(response, problem, services))


def completed_fields(response: Response, text: str, services: Services) -> dict[str, object]:
    """What every completed response records."""
    return {
        "status": ResponseStatus.COMPLETED,
        "response_text": text,
        "processing_duration": since(response, services),
    }


def complete_read(response: Response, services: Services, **fields: object) -> Response | None:
    """Complete a call whose reply was read into a place of its own; its text is left out where there is no room."""
    text = response.completion.text if response.completion else ""
    done = {**completed_fields(response, text, services), **fields}
    try:
        return services.store.complete_response(response, done)
    except DocumentTooLargeError:  # it stands in the completion
        return services.store.complete_response(response, {**done, "response_text": None})


def _wants(thread: Thread, response: Response) -> bool:
    """Whether the thread still stands where this call is wanted; an assessment is until the thread's end."""
    if response.purpose is Purpose.ASSESSMENT:
        return not thread.is_ended and thread.due_step is not Step.FINISH
    is_due = thread.due_step is _STEP_BY_ROLE[response.role]
    return not thread.is_ended and is_due and thread.current_iteration == response.iteration_number


def _is_still_wanted(thread: Thread, response: Response, services: Services) -> bool:
    """Whether nothing has happened to the thread since it was read that makes this call useless."""
    if response.purpose is Purpose.ASSESSMENT:
        return _wants(services.store.get_thread(thread.id), response)
    return services.store.is_current(thread)


def _leave(thread: Thread, response: Response, services: Services) -> Called:
    unsent: dict[str, object] = {"sent_at": None, "reserved_nanos": 0, "attempts_sent": response.attempts_sent}
    has_left = count_sent(response) > 0
    if not has_left:  # it was marked as sent, and then nothing left
        response = response.model_copy(update=_NEVER_SENT)
        unsent |= _NEVER_SENT
    now = services.store.get_thread(thread.id)
    if _wants(now, response):  # it was ended and taken up again meanwhile, or stands in line
        services.store.update_response(response, unsent, is_release=True, delay_s=_AGAIN_S if now.is_queued else None)
        budget.settle(response, 0, services)
        return Called(CallState.LEFT, thread, why="its thread was taken up anew")
    lasted = {"processing_duration": since(response, services)} if has_left else {}
    over = {**unsent, **lasted, "status": ResponseStatus.SUPERSEDED}
    if services.store.complete_response(response, over) is None:
        services.store.update_response(response, unsent, is_release=True)  # it was superseded by who moved the thread
    else:
        services.journal.write_all([note_superseded(thread, response, services)])
    gates.forget_booking(response, services)
    budget.settle(response, 0, services)
    if is_answer(response):
        release_late(now, services)
    return Called(CallState.LEFT, thread, why="the thread went on without it")


def _call(
    thread: Thread,
    response: Response,
    messages: Messages,
    lease: Lease,
    services: Services,
    provision: Provision | None,
) -> Called:
    profile = services.profile(response.model_name)
    if profile is None:
        return fail(thread, response, ProviderNotFoundError(response.model_name, "its profile is gone"), services)
    effort = effort_of(profile, response.purpose, thread.options.effort, response.left_out)
    response = response.model_copy(update={"effort": effort})
    max_tokens = output_limit(profile, response, services)
    given = prompt_tokens(messages.text, json_schema=schema_of(profile, response))
    if given > 2 * profile.max_context_length:  # the estimate is from above; closer calls are the provider's to judge
        problem = f"about {given} tokens in a context of {profile.max_context_length}"
        return fail(thread, response, ContextTooLongError(response.model_name, problem), services)
    try:
        hold = hold_worst_case(thread, response, profile, given, max_tokens, services, provision)
    except BudgetError as error:
        return _unaffordable(thread, response, error, services)
    services.faults.reach(FaultPoint.CALL_RESERVED)
    response = response.model_copy(update={"days": list(hold.days), "reserved_nanos": hold.amount})
    estimated = _estimate(response, messages, hold.max_tokens, services)
    passage = gates.pass_gates(response, profile, estimated, services)
    if passage.is_broken and not _sits_out(thread, response, passage, services):
        return fail(thread, response, BreakerOpenError(response.model_name, passage.why), services)
    if passage.wait_s > 0:
        return give_back(thread, response, passage, services)
    looked_at = time.monotonic()
    if not _is_still_wanted(thread, response, services):  # the last look before money is spent
        gates.give_up(response, passage, services)
        return _leave(thread, response, services)
    try:
        sent = _mark_sent(response, messages, hold, services)
    except DocumentTooLargeError:
        gates.give_up(response, passage, services)
        problem = "the prompt is larger than what is kept of a call may be"
        return fail(thread, response, ContextTooLongError(response.model_name, problem), services)
    if sent is None:
        gates.give_up(response, passage, services)
        return _leave(thread, response, services)
    known = services.cache.all()
    sending = _Sending(thread, sent, profile, known, messages, passage, hold, given, estimated, looked_at)
    services.faults.reach(FaultPoint.CALL_SENT)
    return _send(sending, lease, services)


def _estimate(response: Response, messages: Messages, max_tokens: int, services: Services) -> int:
    """Tokens that a call is likely to use."""
    model, kind = response.model_name, _kind(response)
    return services.expectations.expect(model, kind, characters=len(messages.text), max_tokens=max_tokens)


def _sits_out(thread: Thread, response: Response, passage: gates.Passage, services: Services) -> bool:
    """Whether a call waits for a breaker to close: when nobody stands in for it, or a refused connection opened it."""
    if response.refused_since is not None and may_await_server(thread, response, passage.wait_s, services):
        return True
    return not has_alternative(thread, response, services)


@dataclass(frozen=True)
class _Sending:
    """A call that leaves, and what its end will be judged by."""

    thread: Thread
    response: Response
    profile: Profile
    known: Sequence[Profile]  # all models: another version than the one that was asked may answer
    messages: Messages
    passage: gates.Passage
    hold: Held
    given: int  # input tokens, from above
    estimated: int  # tokens that the limiter was told
    looked_at: float  # when its thread was last seen to want it, on the monotonic clock

    @property
    def schema(self) -> dict[str, Any] | None:
        """The form that its reply must have."""
        return schema_of(self.profile, self.response)

    def worst_cost(self) -> AttemptCost:
        """What is charged as long as nobody knows better."""
        tokens = self.hold.max_tokens
        usage = Usage(input_tokens=self.given, output_tokens=tokens, total_tokens=self.given + tokens)
        return AttemptCost(nanos=self.hold.amount, source=CostSource.ESTIMATED, usage=usage)

    def cost(self, completion: Completion) -> AttemptCost:
        """What a completion costs. Of one that used up its limit, perhaps by thinking, the text tells too little."""
        is_silent = completion.usage is None and not completion.cost_usd
        if is_silent and completion.finish_reason is FinishReason.LENGTH:
            return self.worst_cost()
        served = served_profile(self.profile, completion.served_version, self.known)
        sent_at = self.response.sent_at or self.response.timestamp
        nanos, source, usage = completion_cost(
            served, completion, prompt=self.messages.text, at=sent_at, json_schema=self.schema
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
    request = make_request(sending.profile, sent, sending.messages, sending.hold.max_tokens)

    def is_wanted() -> bool:
        return _is_still_wanted(thread, sent, services)

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
            return left(thread)
        error: ProviderError = ProviderTimeoutError(model, f"no complete answer within {limit_s:g} s")
        return _conclude_failure(sending, error, services)
    except CallUnwantedError:
        return _leave_unsent(sending, services)
    except ProviderError as failure:
        return _conclude_failure(sending, failure, services)
    except Exception:
        gates.release(sent, services)
        raise
    services.faults.reach(FaultPoint.CALL_ANSWERED)
    try:
        return _save(sending, completion, lease, services)  # first of all: it is paid for
    finally:
        _report_success(sending, completion, services)


def _leave_unsent(sending: _Sending, services: Services) -> Called:
    """Take back that a request left: nothing did, and it says nothing about its model."""
    gates.give_up(sending.response, sending.passage, services)
    unsent = sending.response.model_copy(update={"attempts_sent": count_sent(sending.response) - 1})
    return _leave(sending.thread, unsent, services)


def _call_limit_s(services: Services) -> float:
    """The most that a call may take, from its first byte to the answer's last."""
    return services.settings.connect_timeout_s + services.settings.call_timeout_s + _CALL_MARGIN_S


def _kind(response: Response) -> str:
    """What its length is learnt by: an assessment is shorter than the answer of the same role."""
    return response.purpose if response.purpose is Purpose.ASSESSMENT else response.role


def _report_success(sending: _Sending, completion: Completion, services: Services) -> None:
    model, role, characters = sending.response.model_name, _kind(sending.response), len(sending.messages.text)
    actual = completion.usage.total_tokens if completion.usage else sending.estimated
    if completion.usage is not None:
        services.expectations.learn(model, role, characters=characters, usage=completion.usage)
    gates.report_success(sending.response, sending.passage, sending.estimated, actual, services)
    note_served(sending.response, completion, services, sending.thread)


def _conclude_failure(sending: _Sending, error: ProviderError, services: Services) -> Called:
    gates.report_failure(sending.response, sending.passage, error, sending.estimated, services)
    return fail(sending.thread, sending.response, error, services, sending.charge_of(error))


def _conclude_late(sending: _Sending, outcome: Outcome, services: Services) -> None:
    """An answer that nobody waits for any more: keep what was paid for, and settle its money."""
    try:
        if isinstance(outcome, Completion):
            _report_success(sending, outcome, services)
            _keep_late(sending, sending.cost(outcome), services, completion=outcome)
        elif isinstance(outcome, CallUnwantedError):
            _leave_unsent(sending, services)
        elif isinstance(outcome, ProviderError):
            gates.report_failure(sending.response, sending.passage, outcome, sending.estimated, services)
            nothing = AttemptCost(nanos=0, source=CostSource.COMPUTED)
            _keep_late(sending, sending.charge_of(outcome) or nothing, services)
        else:
            gates.release(sending.response, services)
            _log.error("a call to %s failed by our own error", sending.response.model_name, exc_info=outcome)
    except StoreUnavailableError as error:  # reconcile charges the worst case
        _log.warning("a late answer of %s is not recorded: %s", sending.response.model_name, error)


def _keep_late(
    sending: _Sending, cost: AttemptCost, services: Services, *, completion: Completion | None = None
) -> None:
    """Charge an attempt that nobody waits for: under its lease while that stands, else in place of its estimate."""
    thread, response = sending.thread, sending.response
    if write_late(response, completion, cost, services) is not None:
        services.settle_totals(thread.id)  # before its reservation goes, which tells reconcile that this is to be done
        budget.settle(response, cost.nanos, services, is_estimate=cost.source is CostSource.ESTIMATED)
    elif cost.source is not CostSource.ESTIMATED:
        settle_late(thread, response, cost, services)
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


def _mark_sent(response: Response, messages: Messages, hold: Held, services: Services) -> Response | None:
    """Note that the request leaves now: from here on money may be owed."""
    return services.store.update_response(
        response,
        {
            "sent_at": services.clock(),
            "attempts_sent": count_sent(response) + 1,
            "prompt_sent": messages.text,
            "prompt_time": response.prompt_time,
            "output_limit": hold.max_tokens,
            "effort": response.effort,
            "reserved_nanos": hold.amount,
            "days": response.days,
            "worst_case": max(to_usd(hold.amount), response.worst_case or 0.0),
            "waits_for": None,
            **end_seat_wait(response, services),
        },
        is_pending=True,
    )


def _unaffordable(thread: Thread, response: Response, error: BudgetError, services: Services) -> Called:
    close_failed(response, str(error), services)
    services.journal.write(
        Component.ORCHESTRATOR,
        "budget_refused",
        f"{response.model_name} is not called: {error}",
        thread=thread,
        level=LogLevel.WARNING,
        model=response.model_name,
        error=error,
    )
    return Called(CallState.UNAFFORDABLE, thread, response, why=str(error))


def _save(sending: _Sending, completion: Completion, lease: Lease, services: Services) -> Called:
    thread, response, cost = sending.thread, sending.response, sending.cost(completion)
    saved = save_patiently(response, completion, cost, lease, services)
    if saved is None:
        _keep_late(sending, cost, services, completion=completion)
        return left(thread)
    services.faults.reach(FaultPoint.CALL_SAVED)
    budget.settle(response, cost.nanos, services, is_estimate=cost.source is CostSource.ESTIMATED)
    services.faults.reach(FaultPoint.CALL_SETTLED)
    return Called(CallState.SAVED, thread, saved)
