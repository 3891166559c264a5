"""Lists of models prove presence alone: calls and traffic decide about what they do not name."""

from __future__ import annotations

import pytest

from orchestratex.domain.profile import Profile
from orchestratex.errors import (
    MalformedCompletionError,
    ProviderAuthenticationError,
    ProviderConnectionError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
)
from orchestratex.providers.base import CompletionRequest
from orchestratex.settings import Settings
from orchestratex.steps.probe import probe
from tests.support import World, answer_by_rule

NAME = "gpt4"
ANSWERS_NO_LIST = [
    MalformedCompletionError(NAME, "the list of models has no rows"),
    ProviderAuthenticationError(NAME, "HTTP 403: no lists for this key"),
    ProviderNotFoundError(NAME, "HTTP 404"),
    ProviderOverloadedError(NAME, "HTTP 501"),
    ProviderRejectedError(NAME, "HTTP 400"),
]


def reply(request: CompletionRequest) -> str:
    return answer_by_rule(request) if request.system.startswith("TASK") else "yes"


def list_nothing(world: World, monkeypatch: pytest.MonkeyPatch, error: ProviderError | None = None) -> None:
    def ask(profile: Profile) -> bool:
        if profile.model_name == NAME and error is not None:
            raise error
        return profile.model_name != NAME

    monkeypatch.setattr(world.provider, "probe", ask)


def find_profile(world: World) -> Profile:
    return next(each for each in world.store.profiles() if each.model_name == NAME)


@pytest.mark.parametrize("error", [None, *ANSWERS_NO_LIST])
def test_a_model_that_is_not_listed_is_asked(monkeypatch: pytest.MonkeyPatch, error: ProviderError | None) -> None:
    world = World(reply)
    list_nothing(world, monkeypatch, error)

    outcome = probe(world.services)

    assert outcome[NAME]
    assert [request.model_name for request in world.provider.requests] == [NAME]
    assert find_profile(world).is_available


@pytest.mark.parametrize("error", [None, *ANSWERS_NO_LIST])
def test_a_model_that_is_not_listed_and_does_not_answer_is_missing(
    monkeypatch: pytest.MonkeyPatch, error: ProviderError | None
) -> None:
    def fail(request: CompletionRequest) -> str:
        raise ProviderNotFoundError(request.model_name, "HTTP 404: no such model")

    world = World(fail)
    list_nothing(world, monkeypatch, error)

    assert not probe(world.services)[NAME]
    assert not find_profile(world).is_available


@pytest.mark.parametrize("error", [ProviderConnectionError(NAME, "refused"), ProviderTimeoutError(NAME, "silence")])
def test_an_endpoint_that_is_away_costs_no_call(monkeypatch: pytest.MonkeyPatch, error: ProviderError) -> None:
    world = World(reply)
    list_nothing(world, monkeypatch, error)

    assert not probe(world.services)[NAME]
    assert world.provider.requests == []


@pytest.mark.parametrize("is_available", [True, False])
def test_a_list_that_is_asked_too_often_changes_nothing(monkeypatch: pytest.MonkeyPatch, is_available: bool) -> None:
    world = World(reply)
    world.store.update_profile(NAME, {"is_available": is_available})
    list_nothing(world, monkeypatch, ProviderRateLimitedError(NAME, "HTTP 429"))

    assert probe(world.services)[NAME] is is_available


@pytest.mark.parametrize("is_available", [True, False])
def test_without_money_for_a_call_what_is_known_stands(monkeypatch: pytest.MonkeyPatch, is_available: bool) -> None:
    world = World(reply, Settings(probe_daily_limit=0.0))
    world.store.update_profile(NAME, {"is_available": is_available})
    list_nothing(world, monkeypatch)

    assert probe(world.services)[NAME] is is_available


def test_real_traffic_makes_a_model_available_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(reply)
    thread = world.solve("Write a python function that parses invoices", max_iterations=1)
    name = world.store.responses_of(thread.id)[0].model_name
    world.store.update_profile(name, {"is_available": False})
    asked: list[str] = []

    def ask(profile: Profile) -> bool:
        asked.append(profile.model_name)
        return False

    monkeypatch.setattr(world.provider, "probe", ask)

    assert probe(world.services)[name]
    assert name not in asked
    assert next(each for each in world.store.profiles() if each.model_name == name).is_available


def test_a_busy_model_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: CompletionRequest) -> str:
        raise ProviderRateLimitedError(request.model_name, "HTTP 429")

    world = World(refuse)
    list_nothing(world, monkeypatch)

    assert probe(world.services)[NAME]
