"""The models' health: free where that proves something, else the cheapest real call, under a daily cap of its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from bson import ObjectId

from orchestratex.domain.base import Component, LogLevel, Purpose, to_nanos
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion
from orchestratex.errors import (
    LimiterUnavailableError,
    MalformedCompletionError,
    ParameterRefusedError,
    ProviderAuthenticationError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderRateLimitedError,
    ProviderRejectedError,
)
from orchestratex.limits.breaker import BreakerState
from orchestratex.providers.base import TIME_LIMIT_S, CompletionRequest, Entry
from orchestratex.rules.pricing import completion_cost, prompt_tokens, worst_case
from orchestratex.steps.budget import day_account
from orchestratex.steps.gates import book, call_next, record_outcome
from orchestratex.steps.parameters import effort_of, is_stated, note_refusal, note_stated, taken
from orchestratex.steps.services import Services
from orchestratex.steps.span import sending_span
from orchestratex.steps.withheld import tell_withheld

PROBES = "probes"  # the day account that real calls draw on
_SYSTEM = "You are asked whether you are reachable."
_USER = "Reply with the word: yes"
_AT_ONCE = 8  # models
_MOST_WORDS = 300  # characters of what is wrong with one
# What an endpoint without a list that can be read answers; a wrong key fails the call, too, and costs nothing there.
_NO_LIST = (
    MalformedCompletionError,
    ProviderAuthenticationError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderRejectedError,
)
_MAX_TOKENS = 512  # reasoning models spend a few hundred tokens before their first word


@dataclass(frozen=True)
class _Finding:
    """What a probe found, and by what."""

    problem: str | None  # None: the model is healthy
    by: str  # traffic, list, call, cap, busy
    cost_nanos: int = 0


def probe(services: Services) -> dict[str, bool]:
    """Find out about each active model; the next selection sees it.

    Real traffic in the last interval proves health, and makes a model available again; else the free list of models is
    asked. It proves presence alone: a model that it does not name, one whose endpoint has no list that can be read, and
    one whose breaker is not closed get a real call: its outcome decides about the breaker. Once a day the list is asked
    what the model takes, too.
    """
    tell_withheld(services)
    profiles = services.usable_profiles()
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # one that hangs keeps no other waiting
        return dict(pool.map(lambda profile: (profile.model_name, _probe(profile, services)), profiles))


def _probe(profile: Profile, services: Services) -> bool:
    TIME_LIMIT_S.set(services.settings.probe_timeout_s)  # of this thread of the pool
    started = time.perf_counter()
    finding = _examine(profile, services)
    passed = finding.problem is None
    services.store.update_profile(
        profile.model_name,
        {
            "is_available": passed,
            "out_of_reach": (finding.problem or "")[:_MOST_WORDS] or None,
            "last_health_check": services.clock(),
            "probes": profile.probes + 1,
            "probes_passed": profile.probes_passed + passed,
        },
    )
    services.journal.write(
        Component.ORCHESTRATOR,
        "model_probed",
        finding.problem or f"{profile.model_name} answers",
        level=LogLevel.DEBUG if passed else LogLevel.WARNING,
        model=profile.model_name,
        processing_time=(time.perf_counter() - started) * 1000,
        passed=passed,
        by=finding.by,
        cost_nanos=finding.cost_nanos,
    )
    if passed and not is_stated(profile, services):
        _look_up(profile, services)
    return passed


def _look_up(profile: Profile, services: Services) -> None:
    """Read what the model's list says that it takes. A list that says nothing is no trouble, and not asked again."""
    try:
        entry = services.providers.of(profile).look_up(profile)
    except _NO_LIST:
        entry = None
    except ProviderError:
        return
    note_stated(profile, entry or Entry(), services)


def _examine(profile: Profile, services: Services) -> _Finding:
    state = _breaker_state(profile, services)
    since = services.clock() - timedelta(seconds=services.settings.probe_s)
    is_closed = state is BreakerState.CLOSED
    if is_closed and services.store.has_completed_since(profile.model_name, since):
        return _Finding(None, "traffic")
    try:
        is_listed = services.providers.of(profile).probe(profile)
    except ProviderRateLimitedError as error:  # too many questions about the list say nothing about the model
        return _Finding(None if profile.is_available else str(error), "list")
    except _NO_LIST:
        is_listed = False
    except ProviderError as error:
        return _Finding(str(error), "list")
    if is_listed:
        return _Finding(None, "list") if is_closed else _try_again(profile, state, services)
    finding = _call(profile, services)
    is_unknown = finding.by == "cap" and is_closed and profile.is_available
    return _Finding(None, "cap") if is_unknown else finding  # that it is not listed says nothing against it


def _try_again(profile: Profile, state: BreakerState, services: Services) -> _Finding:
    """Let a real call decide about the breaker; with the day's money spent, the next thread's call is the trial."""
    finding = _call(profile, services)
    is_next_thread_the_trial = finding.by == "cap" and state is BreakerState.HALF_OPEN
    return _Finding(None, "cap") if is_next_thread_the_trial else finding


def _breaker_state(profile: Profile, services: Services) -> BreakerState:
    try:
        return services.breaker.snapshot([profile.model_name])[profile.model_name]
    except LimiterUnavailableError:
        return BreakerState.CLOSED  # nobody calls the model now; the free look does no harm


def _call(profile: Profile, services: Services) -> _Finding:
    """Make a real call; of a model that takes only so many at once, when it takes one more."""
    key = str(ObjectId())
    if profile.rate_limits.max_concurrent_calls is None:
        return _call_now(profile, key, services)
    call_id = f"probe.{key}"
    try:
        if book(profile, call_id, _MAX_TOKENS, services):
            call_next(services.limiter.forget(profile.model_name, call_id=call_id), services)
            return _busy(profile, "it has as many calls as it takes")
        try:
            return _call_now(profile, key, services)
        finally:
            call_next(services.limiter.release(profile.model_name, call_id=call_id), services)
    except LimiterUnavailableError as error:
        return _busy(profile, str(error))


def _busy(profile: Profile, why: str) -> _Finding:
    """Nothing is learned: the model counts as what it counted as."""
    return _Finding(None if profile.is_available else f"{profile.model_name} is not asked: {why}", "busy")


def _call_now(profile: Profile, key: str, services: Services) -> _Finding:
    """Make the cheapest real call, inside the daily cap, and let it decide about the breaker."""
    text = f"{_SYSTEM}\n\n{_USER}"
    max_tokens = min(_MAX_TOKENS, profile.max_output_tokens)
    span = sending_span(services)
    amount = worst_case(profile, input_tokens=prompt_tokens(text), max_tokens=max_tokens, span=span)
    account = day_account(PROBES, services)
    limit = to_nanos(services.settings.probe_daily_limit)
    if not services.store.reserve(account, {key: amount}, limit=limit):
        return _Finding(f"{profile.model_name}: the day's money for probes is spent", "cap")
    try:
        completion = _complete(profile, key, max_tokens, services)
    except ProviderError as error:
        nanos = _charge_of(profile, error, amount, prompt=text, at=span.start)
        services.store.settle(account, key, nanos)
        if isinstance(error, ProviderRateLimitedError):  # it is there, and busy with others' calls
            return _Finding(None if profile.is_available else str(error), "call", nanos)
        _decide(profile, services, problem=str(error))
        return _Finding(str(error), "call", nanos)
    nanos, _, _ = completion_cost(profile, completion, prompt=text, at=span.start)
    services.store.settle(account, key, nanos)
    _decide(profile, services)
    return _Finding(None, "call", nanos)


def _complete(profile: Profile, key: str, max_tokens: int, services: Services) -> Completion:
    """Ask with as little thought as may be, and again without each parameter that is refused. Raises ProviderError."""
    left_out: list[str] = []
    while True:
        request = CompletionRequest(
            model_name=profile.model_name,
            model_version=profile.model_version,
            system=_SYSTEM,
            user=_USER,
            max_tokens=max_tokens,
            effort=effort_of(profile, Purpose.ASSESSMENT, None, left_out),
            capabilities=taken(profile, left_out),
            idempotency_key=f"probe.{key}.{len(left_out)}",
        )
        try:
            return services.providers.of(profile).complete(request)
        except ParameterRefusedError as error:
            if error.parameter in left_out:
                raise
            left_out.append(error.parameter)
            note_refusal(profile.model_name, error.parameter, str(error), services)


def _charge_of(profile: Profile, error: ProviderError, amount: int, *, prompt: str, at: datetime) -> int:
    """What a failed call costs, in nano-dollars: what came tells, else the worst case where it may have been billed."""
    if isinstance(error.completion, Completion):
        return completion_cost(profile, error.completion, prompt=prompt, at=at)[0]
    return amount if error.may_be_charged else 0


def _decide(profile: Profile, services: Services, *, problem: str | None = None) -> None:
    try:
        record_outcome(profile.model_name, services, problem=problem, is_trial=True)
    except LimiterUnavailableError:
        return  # the next probe decides
