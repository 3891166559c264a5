"""A key goes to the origins of its provider, and where a setting says, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from orchestratex.bootstrap import HttpProviders, assemble
from orchestratex.domain.log import LogEvent
from orchestratex.errors import InputError, ProviderAuthenticationError, ProviderError
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.http import HttpClient
from orchestratex.providers.origins import KeyOrigins, read_origin
from orchestratex.settings import Settings
from orchestratex.steps.probe import probe
from orchestratex.store.migrations import shipped_profiles
from tests.make import NOW, make_profile
from tests.support import World
from tests.unit.providers.conftest import Endpoint

KEY = "sk-planted-key-0123456789"
NAMES = ("openai", "anthropic", "google", "xai", "alibaba", "meta", "mistral", "openrouter")
KEYS = {f"{name}_api_key": KEY for name in NAMES}


def make_providers(http: HttpClient, **settings: Any) -> HttpProviders:
    return HttpProviders(Settings.model_validate({"models_base_url": None, **KEYS, **settings}), http)


@pytest.mark.parametrize("name", [profile.model_name for profile in shipped_profiles(NOW)])
def test_every_shipped_model_gets_its_key(http: HttpClient, name: str) -> None:
    profile = next(each for each in shipped_profiles(NOW) if each.model_name == name)
    providers = make_providers(http)

    assert providers.why_withheld(profile) is None
    assert providers.can_serve(profile)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://API.OpenAI.com:443/other/path",
        "https://api.openai.com./v1",
        "HTTPS://api.openai.com",
    ],
)
def test_an_origin_has_many_spellings(url: str) -> None:
    assert read_origin(url) == "https://api.openai.com:443"
    assert KeyOrigins({}).why_withheld("openai", url) is None


TRICKS = [
    "http://api.openai.com/v1",
    "https://api.openai.com:8443/v1",
    "https://evil.example/v1",
    "https://api.openai.com.evil.example/v1",
    "https://evil.example/api.openai.com",
    "https://evil.example/?https://api.openai.com",
    "https://evil.example/#https://api.openai.com",
    "https://api.openai.com@evil.example/v1",
    "https://api.openai.com:443@evil.example/v1",
    "https://evil.example\\@api.openai.com/v1",
    "https://api.openai.com\\.evil.example/v1",
    "https://evil.example%2f@api.openai.com/v1",
    "https://api.openai.com%2eevil.example/v1",
    "https://api.openai.com%00.evil.example/v1",
    "https://api.openai.com\t.evil.example/v1",
    "https://xapi.openai.com/v1",
    "https://openai.com/v1",
    "https://\u0430pi.openai.com/v1",
    "https://\uff41pi.openai.com/v1",
    "https://api\u3002openai\u3002com/v1",
    "https://api.openai.com../v1",
    "https://api.anthropic.com/v1",
    "https://127.0.0.1:8443/v1",
    "http://127.0.0.1:8080/v1",
    "http://localhost/v1",
    "//api.openai.com/v1",
    "https:api.openai.com/v1",
    "https:///api.openai.com/v1",
    "ftp://api.openai.com/v1",
    "https://[::ffff:1.2.3.4]/v1",
    "https://api.openai.com:0/v1",
    "https://api.openai.com:99999/v1",
    "",
]


@pytest.mark.parametrize("url", TRICKS)
def test_a_profile_that_names_another_origin_gets_no_key(http: HttpClient, url: str) -> None:
    providers = make_providers(http)
    profile = make_profile(api_endpoint=url)

    assert not providers.can_serve(profile)
    with pytest.raises(ProviderError) as caught:
        providers.of(profile).complete(REQUEST)
    assert KEY not in str(caught.value)


REQUEST = CompletionRequest(
    model_name="gpt4", model_version="m", system="s", user="u", max_tokens=9, idempotency_key="abc.1"
)


def test_its_calls_fail_with_the_reason_and_what_would_allow_it(http: HttpClient, endpoint: Endpoint) -> None:
    providers = make_providers(http)

    with pytest.raises(ProviderAuthenticationError) as caught:
        providers.of(make_profile(api_endpoint=endpoint.url))

    origin = read_origin(endpoint.url)
    assert f"ORCHESTRATEX_KEY_ORIGINS to openai={origin}" in str(caught.value)
    assert "https://api.openai.com:443" in str(caught.value)
    assert not caught.value.is_retryable
    assert endpoint.requests == []


def test_a_setting_names_further_origins(http: HttpClient, endpoint: Endpoint) -> None:
    origin = endpoint.url.removesuffix("/v1")
    providers = make_providers(
        http, key_origins=f"mistral=https://gw.example:8443 openai={origin}, openai=https://b.example/"
    )

    with pytest.raises(ProviderError):  # there is no completion in {}
        providers.of(make_profile(api_endpoint=endpoint.url)).complete(REQUEST)

    assert endpoint.requests[0][1]["Authorization"] == f"Bearer {KEY}"
    assert providers.can_serve(make_profile(api_endpoint="https://B.example/v1"))
    assert not providers.can_serve(make_profile(api_endpoint="https://gw.example:8443/v1"))
    assert not providers.can_serve(make_profile(api_endpoint="http://b.example/v1"))


def test_a_profile_that_needs_no_key_is_served_without_it(http: HttpClient, endpoint: Endpoint) -> None:
    providers = make_providers(http)
    profile = make_profile(api_endpoint=endpoint.url, api_key_required=False)

    with pytest.raises(ProviderError):
        providers.of(profile).complete(REQUEST)

    assert providers.can_serve(profile)
    assert KEY not in str(endpoint.requests)


def test_the_key_of_a_gateway_belongs_to_its_own_origin(http: HttpClient, endpoint: Endpoint) -> None:
    providers = make_providers(http, models_base_url=endpoint.url, models_api_key="sk-of-the-gateway")

    with pytest.raises(ProviderError):
        providers.of(make_profile(api_endpoint="https://evil.example/v1")).complete(REQUEST)

    assert endpoint.requests[0][1]["Authorization"] == "Bearer sk-of-the-gateway"
    assert KEY not in str(endpoint.requests)


@pytest.mark.parametrize(
    "text",
    [
        "openai",
        "openai=",
        "openai=gw.example",
        "openai=ftp://gw.example",
        "openai=https://gw.example/v1",
        "openai=https://user@gw.example",
        "openai=https://gw.example:99999",
        "openai=https://gw.example:0",
        "https://gw.example",
        "openai=https://gw.example?x",
        "openai=https://*.example",
    ],
)
def test_a_setting_that_cannot_be_read_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValidationError, match="PROVIDER=ORIGIN"):
        Settings(key_origins=text)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_no_further_origins_are_none(text: str | None) -> None:
    assert Settings(key_origins=text).further_origins() == {}


def test_forbidden_addresses_are_no_origins() -> None:
    with pytest.raises(InputError):
        KeyOrigins({"openai": ("http://169.254.169.254",)})


@pytest.fixture
def world(http: HttpClient) -> Iterator[World]:
    made = World(settings=Settings.model_validate({**KEYS, "models_base_url": None}))
    providers = Bound(made, make_providers(http))
    made.services = assemble(
        made.services.settings, store=made.store, queue=made.queue, providers=providers, clock=made.clock
    )
    yield made
    made.services.heart.stop()


class Bound(HttpProviders):
    """The real rules about keys over the fake's answers."""

    def __init__(self, world: World, real: HttpProviders) -> None:
        self._world = world
        self._real = real
        self.can_serve = real.can_serve  # type: ignore[method-assign]
        self.why_withheld = real.why_withheld  # type: ignore[method-assign]

    def of(self, profile: Any) -> Any:
        self._real.of(profile)
        return self._world.provider

    def close(self) -> None:
        self._real.close()


def find_events(world: World) -> list[LogEvent]:
    start, end = NOW - timedelta(days=3650), NOW + timedelta(days=3650)
    return list(world.store.scan_between(LogEvent, "timestamp", start, end, event_type="key_withheld"))


def test_an_event_tells_once_that_a_key_is_withheld(world: World) -> None:
    probe(world.services)
    assert find_events(world) == []
    world.store.update_profile("gpt4", {"api_endpoint": "https://evil.example/v1"})
    world.services.cache.forget()

    outcomes = [probe(world.services) for _ in range(3)]

    (event,) = find_events(world)
    assert event.model_involved == "gpt4"
    assert "https://evil.example:443" in event.message
    assert "gpt4" not in outcomes[0]
    assert not next(each for each in world.store.profiles() if each.model_name == "gpt4").is_available


def test_it_is_told_again_for_another_address_and_over_when_it_is_right(world: World) -> None:
    for url in ("https://evil.example/v1", "https://worse.example/v1", "https://api.openai.com/v1"):
        world.store.update_profile("gpt4", {"api_endpoint": url})
        world.services.cache.forget()
        outcome = probe(world.services)

    assert len(find_events(world)) == 2
    assert outcome["gpt4"]
    assert next(each for each in world.store.profiles() if each.model_name == "gpt4").is_available


def test_threads_go_on_with_other_models(world: World) -> None:
    world.store.update_profile("gpt4", {"api_endpoint": "https://evil.example/v1"})

    thread = world.solve("Write a python function that parses invoices", max_iterations=1)

    asked = {response.model_name for response in world.store.responses_of(thread.id)}
    assert thread.final_response
    assert "gpt4" not in asked
