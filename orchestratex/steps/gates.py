"""The gates between reservation and request: the model's breaker, then its shared limits. Without Redis: closed."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

from bson import ObjectId

from orchestratex.domain.base import Component, LogLevel
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.errors import (
    LimiterUnavailableError,
    MalformedCompletionError,
    ProviderConnectionError,
    ProviderDisconnectedError,
    ProviderError,
    ProviderOverloadedError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    StoreUnavailableError,
)
from orchestratex.limits.base import CallIds, Wait
from orchestratex.limits.breaker import BreakerState
from orchestratex.steps.announce import announce_call
from orchestratex.steps.services import Services

_log = logging.getLogger(__name__)
_BREAKING = (  # the provider's own trouble; a 429 is the limiter's matter, a refusal shows that the model answers
    ProviderOverloadedError,
    ProviderTimeoutError,
    ProviderConnectionError,
    ProviderDisconnectedError,
    MalformedCompletionError,
)
_AWAY_PAUSE_S = 2.0  # without Redis: how soon to ask again
SHORT_WAIT_S = 0.4  # what the way through the queue takes: calls come back so much early, and sit out the rest
_SHORT_WAITS = 4  # in a row, for slots move when others are corrected
_RATE_LIMITED_PAUSE_S = 5.0  # after a 429 that does not say how long
_MOST_WORDS = 300  # characters of why a model is left alone
_SEAT_MARGIN_S = 5.0  # a granted call has to be looked at once more and marked before it leaves


@dataclass(frozen=True)
class Passage:
    """What the gates say to one call."""

    wait_s: float = 0.0  # 0: go now
    is_broken: bool = False  # the breaker stops it: another model may do
    is_trial: bool = False  # the one call that decides whether the breaker closes
    is_for_seat: bool = False  # it waits because as many calls as the model takes at once are under way
    why: str = ""


def pass_gates(response: Response, profile: Profile, tokens: int, services: Services) -> Passage:
    """Ask the breaker, then book a slot for a call of about so many tokens."""
    model = profile.model_name
    is_trial = False
    try:
        verdict = services.breaker.allow(model)
        is_trial = verdict.is_trial
        if not verdict.is_allowed:
            return Passage(verdict.wait_s, is_broken=True, why=_explain_breaker(profile))
        wait = _book(response, profile, tokens, services)
        if wait > 0 and is_trial:
            services.breaker.give_back(model)
    except LimiterUnavailableError as error:  # fail closed: nobody knows what is allowed
        if is_trial:
            with contextlib.suppress(LimiterUnavailableError):
                services.breaker.give_back(model)
        return Passage(_AWAY_PAUSE_S, why=str(error))
    if not wait:
        return Passage(is_trial=is_trial)
    return Passage(wait, is_for_seat=wait.is_for_seat, why=_explain(wait, profile))


def _explain_breaker(profile: Profile) -> str:
    """The cause, not the breaker alone: it is what somebody has to mend."""
    cause = (profile.out_of_reach or "").removeprefix(f"{profile.model_name}: ")
    return "it is left alone for a while, as its calls keep failing" + (f": {cause}" if cause else "")


def _explain(wait: Wait, profile: Profile) -> str:
    if not wait.is_for_seat:
        return f"{profile.model_name}'s rate limit"
    return f"{profile.model_name} takes no more than {profile.rate_limits.max_concurrent_calls} at once"


def _book(response: Response, profile: Profile, tokens: int, services: Services) -> Wait:
    """Book a slot, and sit out a wait that is shorter than sending the call through the queue once more.

    A wait for a seat is never sat out: it is as long as others' calls take, and who frees one calls the next.
    """
    for _ in range(_SHORT_WAITS):
        wait = book(profile, str(response.id), tokens, services)
        if wait.is_for_seat or not 0 < wait <= SHORT_WAIT_S:
            break
        services.sleep(wait)
    return wait


def book(profile: Profile, call_id: str, tokens: int, services: Services) -> Wait:
    """Ask the model's limits once. Raises LimiterUnavailableError."""
    limits, settings = profile.rate_limits, services.settings
    return services.limiter.book(
        profile.model_name,
        call_id=call_id,
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        tokens=tokens,
        seats=limits.max_concurrent_calls,
        seat_s=settings.connect_timeout_s + settings.call_timeout_s + _SEAT_MARGIN_S,
    )


def call_next(call_ids: CallIds, services: Services) -> None:
    """Let calls go on whose turn it is. Where that fails nothing is lost: they come back by themselves."""
    try:
        for call_id in call_ids:
            response = services.store.end_wait(ObjectId(call_id)) if ObjectId.is_valid(call_id) else None
            if response is not None:
                announce_call(response, services)
    except StoreUnavailableError as error:
        _log.warning("waiting calls are not told that it is their turn: %s", error)


def report_success(response: Response, passage: Passage, estimated: int, actual: int, services: Services) -> None:
    """Tell both gates how a call that was answered went."""
    try:
        woken = services.limiter.correct(
            response.model_name, call_id=str(response.id), estimated=estimated, actual=actual
        )
        call_next(woken, services)
        record_outcome(response.model_name, services, is_trial=passage.is_trial)
    except LimiterUnavailableError:
        return  # an uncorrected estimate only paces more slowly, a breaker hears of the next call


def report_failure(
    response: Response, passage: Passage, error: ProviderError, estimated: int, services: Services
) -> None:
    """Tell both gates how a call failed: a 429 slows everybody, the provider's trouble may open the breaker."""
    model = response.model_name
    try:
        if isinstance(error, ProviderRateLimitedError):
            services.limiter.pause(model, seconds=error.retry_after_s or _RATE_LIMITED_PAUSE_S)
        call_id = str(response.id)
        if error.may_be_charged:
            woken = services.limiter.release(model, call_id=call_id)
        else:
            woken = services.limiter.correct(model, call_id=call_id, estimated=estimated, actual=0)
        call_next(woken, services)
        if isinstance(error, _BREAKING):
            record_outcome(model, services, problem=str(error), is_trial=passage.is_trial)
        elif not isinstance(error, ProviderRateLimitedError):
            record_outcome(model, services, is_trial=passage.is_trial)
        elif passage.is_trial:
            services.breaker.give_back(model)
    except LimiterUnavailableError:
        return


def give_up(response: Response, passage: Passage, services: Services) -> None:
    """A call that passed and is not sent after all: its slot was paid with nothing."""
    try:
        call_next(
            services.limiter.correct(response.model_name, call_id=str(response.id), estimated=0, actual=0), services
        )
        if passage.is_trial:
            services.breaker.give_back(response.model_name)
    except LimiterUnavailableError:
        return


def release(response: Response, services: Services) -> None:
    """A call that failed by our own error is over, too."""
    try:
        call_next(services.limiter.release(response.model_name, call_id=str(response.id)), services)
    except LimiterUnavailableError:
        return  # its seat is free again after the call's time limit


def forget_booking(response: Response, services: Services) -> bool:
    """Give up a slot that nobody will come back for; False when the limits cannot be reached."""
    try:
        call_next(services.limiter.forget(response.model_name, call_id=str(response.id)), services)
    except LimiterUnavailableError:
        return False
    return True


def record_outcome(model: str, services: Services, *, is_trial: bool, problem: str | None = None) -> None:
    """Tell the breaker that a call went well, or what its problem was.

    Where that opens or closes it, the next selection sees it. Raises LimiterUnavailableError.
    """
    changed = services.breaker.record(model, ok=problem is None, trial=is_trial)
    if changed is None:
        return
    is_open = changed is not BreakerState.CLOSED
    try:
        reason = (problem or f"{model}: its calls keep failing")[:_MOST_WORDS] if is_open else None
        services.store.update_profile(model, {"is_available": not is_open, "out_of_reach": reason})
    except StoreUnavailableError as error:  # the next probe says it; what the call brought has still to be saved
        _log.warning("that %s is %s cannot be noted: %s", model, changed.value, error)
    services.cache.forget()
    services.journal.write(
        Component.ORCHESTRATOR,
        "breaker_opened" if is_open else "breaker_closed",
        f"{model} is {'left alone: its calls keep failing' if is_open else 'asked again'}",
        level=LogLevel.WARNING if is_open else LogLevel.INFO,
        model=model,
    )
