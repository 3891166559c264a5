from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from orchestratex.bootstrap import HttpProviders
from orchestratex.domain.profile import Profile
from orchestratex.errors import (
    LimiterUnavailableError,
    ProviderAuthenticationError,
    ProviderConnectionError,
    ProviderNotFoundError,
    ProviderRateLimitedError,
)
from orchestratex.limits.breaker import BreakerState
from orchestratex.providers.http import HttpClient
from orchestratex.settings import Settings
from orchestratex.steps.check import Finding, check_model
from tests.make import make_profile
from tests.support import World

KEYS = Settings(openai_api_key=SecretStr("sk-very-secret"))


def check(world: World, *, needs_key: bool = True, **fields: Any) -> dict[str, Finding]:
    found = check_model(make_profile(**fields), world.services, needs_key=needs_key)
    return {each.about: each for each in found}


def grades(found: dict[str, Finding]) -> dict[str, str]:
    return {about: each.grade.value for about, each in found.items() if each.grade.value != "ok"}


@pytest.fixture
def world() -> World:
    return World(settings=KEYS)


def test_a_model_that_can_be_called_has_no_remarks(world: World) -> None:
    found = check(world, prices_as_of="2025-12-01", max_output_tokens=500)

    assert grades(found) == {}
    assert list(found) == ["address", "key", "endpoint", "listed", "breaker", "limits", "prices"]
    assert found["prices"].text == "$1 in and $2 out per million tokens, of 2025-12-01"


def test_no_key_is_ever_shown(world: World) -> None:
    assert "sk-very-secret" not in str(check(world))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ProviderConnectionError("gpt4", "refused"), {"endpoint": "failed", "listed": "skipped"}),
        (ProviderAuthenticationError("gpt4", "HTTP 401"), {"key": "failed", "listed": "skipped"}),
        (ProviderRateLimitedError("gpt4", "HTTP 429"), {"listed": "note"}),
        (ProviderNotFoundError("gpt4", "HTTP 404: no"), {"listed": "note"}),
        (ProviderNotFoundError("gpt4", "a link-local address"), {"endpoint": "failed", "listed": "skipped"}),
    ],
)
def test_what_the_endpoint_says(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: dict[str, str]
) -> None:
    def fail(_profile: Profile) -> bool:
        raise error

    monkeypatch.setattr(world.provider, "probe", fail)

    assert grades(check(world, prices_as_of="2025-12-01", max_output_tokens=500)) == expected


@pytest.mark.parametrize(("is_available", "grade"), [(True, "note"), (False, "failed")])
def test_a_version_that_is_not_listed_is_missing_only_if_no_call_got_an_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, is_available: bool, grade: str
) -> None:
    monkeypatch.setattr(world.provider, "probe", lambda _profile: False)

    found = check(world, is_available=is_available)["listed"]

    assert found.grade == grade
    assert found.text.startswith("its provider does not list gpt4-1")


def test_a_model_that_answers_is_not_called_missing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.provider, "probe", lambda _profile: False)
    thread = world.solve("Write a poem about autumn", max_iterations=1)

    found = check(world, model_name=world.store.responses_of(thread.id)[0].model_name)["listed"]

    assert found.grade == "ok"
    assert "has answered" in found.text


@pytest.mark.parametrize(("is_required", "grade"), [(True, "failed"), (False, "note")])
def test_a_key_that_does_not_belong_to_the_address_is_said_so(is_required: bool, grade: str) -> None:
    http = HttpClient(pool_size=1, connect_timeout_s=1, read_timeout_s=1, max_bytes=1000)
    world = World(settings=KEYS)
    world.services = replace(world.services, providers=HttpProviders(KEYS, http))

    endpoint = "http://127.0.0.1:9/v1"
    found = check(world, api_endpoint=endpoint, api_key_required=is_required, prices_as_of="2025-12-01")

    assert found["key"].grade == grade
    assert "http://127.0.0.1:9: it belongs to https://api.openai.com:443" in found["key"].text
    assert "ORCHESTRATEX_KEY_ORIGINS" in found["key"].text


def test_a_forbidden_address_is_not_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.provider, "probe", lambda _profile: pytest.fail("asked"))

    found = check(world, api_endpoint="http://169.254.169.254/v1")

    assert (found["address"].grade, found["endpoint"].grade) == ("failed", "skipped")


@pytest.mark.parametrize(("needs_key", "grade"), [(True, "failed"), (False, "skipped")])
def test_a_model_without_a_key(needs_key: bool, grade: str) -> None:
    settings = Settings()
    http = HttpClient(pool_size=1, connect_timeout_s=1, read_timeout_s=1, max_bytes=1000)
    world = World(settings=settings)
    world.services = replace(world.services, providers=HttpProviders(settings, http))

    found = check(world, needs_key=needs_key)

    assert (found["key"].grade, found["key"].text) == (grade, "no key for openai is set")
    assert found["endpoint"].grade == "skipped"


def test_an_open_breaker_fails(world: World) -> None:
    while world.services.breaker.record("gpt4", ok=False) is not BreakerState.OPEN:
        pass

    assert (check(world)["breaker"].grade, check(world)["breaker"].text) == ("failed", "open")


def test_shared_limits_that_are_away_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_models: object) -> dict[str, BreakerState]:
        raise LimiterUnavailableError("Redis does not answer")

    monkeypatch.setattr(world.services.breaker, "snapshot", fail)

    assert check(world)["breaker"].grade == "failed"


@pytest.mark.parametrize(
    ("day", "grade"), [(None, "note"), ("2024-12-01", "note"), ("2025-12-31", "ok"), ("once", "note")]
)
def test_old_prices_are_remarked_on(world: World, day: str | None, grade: str) -> None:
    assert check(world, prices_as_of=day)["prices"].grade == grade


def test_limits_below_one_call_are_remarked_on(world: World) -> None:
    assert check(world, max_output_tokens=4096)["limits"].grade == "note"


def test_a_check_records_nothing(world: World) -> None:
    before = world.store.profiles()

    check(world)

    assert world.store.profiles() == before


def test_what_the_sandbox_plays_is_not_passed_as_the_providers_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.provider, "probe", lambda _profile: pytest.fail("asked"))

    played = check_model(make_profile(), world.services, needs_key=True, in_sandbox=True)
    unknown = check_model(make_profile("mine"), world.services, needs_key=True, in_sandbox=False)

    found = {each.about: each for each in played}
    assert found["address"].text.startswith("sandbox: ")
    assert [found[about].grade for about in ("key", "endpoint", "listed")] == ["skipped"] * 3
    assert {each.about: each for each in unknown}["listed"].grade == "failed"
    assert list(found) == ["address", "key", "endpoint", "listed", "breaker", "limits", "prices"]


def test_a_key_that_only_the_workers_have_is_not_called_missing() -> None:
    settings = Settings.model_validate({"openai_api_key": None, "keyed_providers": "openai"})
    http = HttpClient(pool_size=1, connect_timeout_s=1, read_timeout_s=1, max_bytes=1000)
    world = World(settings=settings)
    world.services = replace(world.services, providers=HttpProviders(settings, http))

    found = check(world, api_endpoint="https://api.openai.com/v1")

    assert (found["key"].grade, found["endpoint"].grade) == ("skipped", "skipped")
    assert "where calls are made" in found["key"].text
