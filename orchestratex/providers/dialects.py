"""The wire formats that we speak: a new one is a new file and one line here."""

from __future__ import annotations

from typing import Final, Protocol

from pydantic import SecretStr

from orchestratex.providers.anthropic import AnthropicProvider
from orchestratex.providers.base import Provider
from orchestratex.providers.google import GoogleProvider
from orchestratex.providers.http import HttpClient
from orchestratex.providers.openai import OpenAIProvider


class MakeProvider(Protocol):
    """Makes the provider at an address."""

    def __call__(self, http: HttpClient, *, base_url: str, api_key: SecretStr) -> Provider:
        """Make it; no request is sent."""


GATEWAY_DIALECT: Final = "openai"  # of the one address that settings may name for all models
DIALECTS: Final[dict[str, MakeProvider]] = {
    "openai": OpenAIProvider,
    "anthropic": AnthropicProvider,
    "google": GoogleProvider,
}
