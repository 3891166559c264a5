"""The gates between reservation and request: the model's breaker, then its shared limits. Without Redis: closed."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

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
from orchestratex.limits.breaker import BreakerState
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


@dataclass(frozen=True)
class Passage:
    """What the gates say to one call."""

    wait_s: float = 0.0  # 0: go now
    is_broken: bool = False  # the breaker stops it: another model may do
    is_trial: bool = False  # the one call that decides whether the breaker closes
    why: str = ""


def pass_gates(response: Response, profile: Profile, tokens: int, services: Services) -> Passage:
    """Ask the breaker, then book a slot for a call of about so many tokens."""
    model = profile.model_name
    is_trial = False
    try:
        verdict = services.breaker.allow(model)
        is_trial = verdict.is_trial
        if not verdict.is_allowed:
            return Passage(verdict.wait_s, is_broken=True, why=f"{model}'s breaker is {verdict.state.value}")
        wait_s = _book(response, profile, tokens, services)
        if wait_s > 0 and is_trial:
            services.breaker.give_back(model)
    except LimiterUnavailableError as error:  # fail closed: nobody knows what is allowed
        if is_trial:
            with contextlib.suppress(LimiterUnavailableError):
                services.breaker.give_back(model)
        return Passage(_AWAY_PAUSE_S, why=str(error))
    return Passage(wait_s, is_trial=is_trial, why=f"{model}'s rate limit" if wait_s else "")


def _book(response: Response, profile: Profile, tokens: int, services: Services) -> float:
    """Book a slot, and sit out a wait that is shorter than sending the call through the queue once more."""
    for _ in range(_SHORT_WAITS):
        wait_s = services.limiter.book(
            profile.model_name,
            call_id=str(response.id),
            requests_per_minute=profile.rate_limits.requests_per_minute,
            tokens_per_minute=profile.rate_limits.tokens_per_minute,
            tokens=tokens,
        )
        if not 0 < wait_s <= SHORT_WAIT_S:
            break
        services.sleep(wait_s)
    return wait_s


def report_success(response: Response, passage: Passage, estimated: int, actual: int, services: Services) -> None:
    """Tell both gates how a call that was answered went."""
    try:
        services.limiter.correct(response.model_name, call_id=str(response.id), estimated=estimated, actual=actual)
        record_outcome(response.model_name, services, ok=True, is_trial=passage.is_trial)
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
        if not error.may_be_charged:
            services.limiter.correct(model, call_id=str(response.id), estimated=estimated, actual=0)
        if isinstance(error, _BREAKING):
            record_outcome(model, services, ok=False, is_trial=passage.is_trial)
        elif not isinstance(error, ProviderRateLimitedError):
            record_outcome(model, services, ok=True, is_trial=passage.is_trial)
        elif passage.is_trial:
            services.breaker.give_back(model)
    except LimiterUnavailableError:
        return


def give_up(response: Response, passage: Passage, services: Services) -> None:
    """A call that passed and is not sent after all: its slot was paid with nothing."""
    try:
        services.limiter.correct(response.model_name, call_id=str(response.id), estimated=0, actual=0)
        if passage.is_trial:
            services.breaker.give_back(response.model_name)
    except LimiterUnavailableError:
        return


def forget_booking(response: Response, services: Services) -> bool:
    """Give up a slot that nobody will come back for; False when the limits cannot be reached."""
    try:
        services.limiter.forget(response.model_name, call_id=str(response.id))
    except LimiterUnavailableError:
        return False
    return True


def record_outcome(model: str, services: Services, *, ok: bool, is_trial: bool) -> None:
    """Tell the breaker; where it opens or closes, the next selection sees it. Raises LimiterUnavailableError."""
    changed = services.breaker.record(model, ok=ok, trial=is_trial)
    if changed is None:
        return
    is_open = changed is not BreakerState.CLOSED
    try:
        services.store.update_profile(model, {"is_available": not is_open})
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
