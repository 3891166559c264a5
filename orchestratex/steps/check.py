"""A look at a model that costs nothing and records nothing: can it be called, and is what we know about it complete?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from orchestratex.domain.profile import Profile, priced_today
from orchestratex.errors import (
    InputError,
    LimiterUnavailableError,
    ProviderAuthenticationError,
    ProviderError,
    ProviderNotFoundError,
    ProviderRateLimitedError,
)
from orchestratex.limits.breaker import BreakerState
from orchestratex.providers.addresses import check_base_url
from orchestratex.providers.dialects import DIALECTS
from orchestratex.steps.services import Services

_RECENT_H: Final = 24
_OLD_DAYS: Final = 365  # prices change about once a year


class Grade(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    NOTE = "note"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What was found about one thing."""

    about: str  # address, key, endpoint, listed, breaker, limits, prices
    grade: Grade
    text: str


def check_model(
    profile: Profile, services: Services, *, needs_key: bool, in_sandbox: bool | None = None
) -> list[Finding]:
    """Everything about one model. Without a key it fails where `needs_key`, else the endpoint is left out.

    `in_sandbox` says, where the sandbox stands for all models, whether it plays this one; None: it does not.
    """
    if in_sandbox is not None:
        played = _describe_sandbox(profile, services, is_played=in_sandbox)
        return [*played, _check_breaker(profile, services), _check_limits(profile), _check_prices(profile, services)]
    address, key = _check_address(profile, services), _check_key(profile, services, needs_key=needs_key)
    if Grade.FAILED in (address.grade, key.grade) or key.grade is Grade.SKIPPED:
        reached = [address, key, *(Finding(about, Grade.SKIPPED, "not asked") for about in ("endpoint", "listed"))]
    else:
        reached = [address, *_ask(profile, services, key)]
    return [*reached, _check_breaker(profile, services), _check_limits(profile), _check_prices(profile, services)]


def _describe_sandbox(profile: Profile, services: Services, *, is_played: bool) -> list[Finding]:
    """Nothing is found out about the model itself where the sandbox stands for it."""
    address = f"sandbox: {services.settings.models_base_url} is asked, and {profile.api_endpoint} is not"
    if is_played:
        return [Finding("address", Grade.NOTE, address), *_leave_out("key", "endpoint", "listed")]
    unknown = Finding("listed", Grade.FAILED, "the sandbox plays no such model, until a stack is started anew")
    return [Finding("address", Grade.NOTE, address), *_leave_out("key", "endpoint"), unknown]


def _leave_out(*abouts: str) -> list[Finding]:
    return [Finding(about, Grade.SKIPPED, "sandbox: not asked") for about in abouts]


def _check_address(profile: Profile, services: Services) -> Finding:
    gateway = services.settings.models_base_url
    address = profile.api_endpoint if gateway is None else gateway
    try:
        check_base_url(address)
    except InputError as error:
        return Finding("address", Grade.FAILED, error.problem)
    if gateway is None and profile.dialect not in DIALECTS:
        return Finding("address", Grade.FAILED, f"no dialect {profile.dialect!r}: we speak {', '.join(DIALECTS)}")
    return Finding("address", Grade.OK, address)


def _check_key(profile: Profile, services: Services, *, needs_key: bool) -> Finding:
    settings = services.settings
    if settings.models_base_url is not None:
        return Finding("key", Grade.OK, "set" if settings.models_api_key else "none is set for the gateway")
    withheld = services.providers.why_withheld(profile)
    if withheld and profile.api_key_required:
        return Finding("key", Grade.FAILED, withheld)
    if withheld:
        return Finding("key", Grade.NOTE, f"none is sent: {withheld}")
    if profile.provider in settings.provider_keys():
        return Finding("key", Grade.OK, "set")
    if profile.provider in settings.providers_with_key():
        return Finding("key", Grade.SKIPPED, "set where calls are made, and not known here")
    if services.providers.can_serve(profile):
        return Finding("key", Grade.OK, "none is needed")
    return Finding("key", Grade.FAILED if needs_key else Grade.SKIPPED, f"no key for {profile.provider} is set")


def _ask(profile: Profile, services: Services, key: Finding) -> list[Finding]:
    """Key, endpoint and list, from one free request."""
    answers = Finding("endpoint", Grade.OK, "answers")
    try:
        is_listed = services.providers.of(profile).probe(profile)
    except ProviderAuthenticationError as error:
        return [Finding("key", Grade.FAILED, f"refused: {error}"), answers, _unlisted(Grade.SKIPPED, "not asked")]
    except ProviderRateLimitedError as error:
        return [key, answers, _unlisted(Grade.NOTE, f"cannot be told now: {error}")]
    except ProviderNotFoundError as error:
        if "HTTP 404" in str(error):
            return [key, answers, _unlisted(Grade.NOTE, "the endpoint has no list of models")]
        return [key, Finding("endpoint", Grade.FAILED, str(error)), _unlisted(Grade.SKIPPED, "not asked")]
    except ProviderError as error:
        return [key, Finding("endpoint", Grade.FAILED, str(error)), _unlisted(Grade.SKIPPED, "not asked")]
    if is_listed:
        return [key, answers, Finding("listed", Grade.OK, profile.model_version)]
    return [key, answers, _check_traffic(profile, services)]


def _check_traffic(profile: Profile, services: Services) -> Finding:
    """A model that is not listed may be there all the same: lists leave out aliases. That it answered settles it."""
    since = services.clock() - timedelta(hours=_RECENT_H)
    if services.store.has_completed_since(profile.model_name, since):
        text = f"not by {profile.model_version}, but it has answered in the last {_RECENT_H} hours"
        return Finding("listed", Grade.OK, text)
    text = f"its provider does not list {profile.model_version}"
    if not profile.is_available:
        return _unlisted(Grade.FAILED, f"{text}, and the last probe got no answer from it")
    return _unlisted(Grade.NOTE, f"{text}, which may be an alias: only a call tells")


def _unlisted(grade: Grade, text: str) -> Finding:
    return Finding("listed", grade, text)


def _check_breaker(profile: Profile, services: Services) -> Finding:
    try:
        state = services.breaker.snapshot([profile.model_name])[profile.model_name]
    except LimiterUnavailableError as error:
        return Finding("breaker", Grade.FAILED, str(error))
    grades = {BreakerState.CLOSED: Grade.OK, BreakerState.HALF_OPEN: Grade.NOTE, BreakerState.OPEN: Grade.FAILED}
    return Finding("breaker", grades[state], state.value)


def _check_limits(profile: Profile) -> Finding:
    limits = profile.rate_limits
    text = f"{limits.requests_per_minute} requests and {limits.tokens_per_minute} tokens a minute"
    if limits.tokens_per_minute < profile.max_output_tokens:
        return Finding("limits", Grade.NOTE, f"{text}, less than one call's output of {profile.max_output_tokens}")
    return Finding("limits", Grade.OK, text)


def _check_prices(profile: Profile, services: Services) -> Finding:
    profile = priced_today(profile, services.clock())
    given, generated = profile.cost_per_input_token * 1e6, profile.cost_per_output_token * 1e6
    text = f"${given:g} in and ${generated:g} out per million tokens"
    if not given and not generated and not profile.prices:
        return Finding("prices", Grade.OK, "it costs nothing")
    if profile.prices_as_of is None:
        return Finding("prices", Grade.NOTE, f"{text}, of an unknown date")
    text = f"{text}, of {profile.prices_as_of}"
    try:
        days = (services.clock().date() - date.fromisoformat(profile.prices_as_of)).days
    except ValueError:
        return Finding("prices", Grade.NOTE, f"{text}, which is no date")
    if days > _OLD_DAYS:
        return Finding("prices", Grade.NOTE, f"{text}: look them up again, as `orchestratex models refresh` does")
    return Finding("prices", Grade.OK, text)
