"""A process that submits knows for whom there are keys, without having them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestratex.bootstrap import HttpProviders
from orchestratex.errors import ProviderAuthenticationError
from orchestratex.providers.http import HttpClient
from orchestratex.settings import Settings
from orchestratex.store.migrations import shipped_profiles
from tests.support import FakeClock

NO_KEYS = {name: None for name in Settings.model_fields if name.endswith("_api_key")}


@pytest.fixture
def http() -> Iterator[HttpClient]:
    client = HttpClient(pool_size=1, connect_timeout_s=1, read_timeout_s=1, max_bytes=1000)
    yield client
    client.close()


def served(settings: Settings, http: HttpClient) -> set[str]:
    profiles = shipped_profiles(FakeClock()())
    return {profile.provider for profile in profiles if HttpProviders(settings, http).can_serve(profile)}


def test_models_of_named_providers_can_be_served_as_if_the_key_were_here(http: HttpClient) -> None:
    with_keys = Settings.model_validate({**NO_KEYS, "openai_api_key": "k", "google_api_key": "k"})
    with_names = Settings.model_validate({**NO_KEYS, "keyed_providers": "google, openai,"})

    assert served(with_names, http) == served(with_keys, http) == {"openai", "google"}


def test_a_name_is_no_key(http: HttpClient) -> None:
    settings = Settings.model_validate({**NO_KEYS, "keyed_providers": "openai"})
    profile = next(each for each in shipped_profiles(FakeClock()()) if each.provider == "openai")

    with pytest.raises(ProviderAuthenticationError):
        HttpProviders(settings, http).of(profile)
    assert settings.provider_keys() == {}
