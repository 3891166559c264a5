"""Where a provider's key may go: keys belong to origins (scheme, host and port), not to the names in a profile.

A profile lies in a database, and who can write there could name any address. The table below is code, and what a
deployment adds is a setting: neither is a document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from orchestratex.errors import InputError
from orchestratex.providers.addresses import check_base_url

KEY_ORIGINS_VARIABLE: Final = "ORCHESTRATEX_KEY_ORIGINS"
_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|[0-9a-f:.]+")  # other spellings are no origin of a key
_OWN: Final = {
    "openai": ("https://api.openai.com", "https://eu.api.openai.com", "https://us.api.openai.com"),
    "anthropic": ("https://api.anthropic.com",),
    "google": ("https://generativelanguage.googleapis.com",),
    "xai": ("https://api.x.ai",),
    "alibaba": (
        "https://dashscope.aliyuncs.com",
        "https://dashscope-intl.aliyuncs.com",
        "https://dashscope-us.aliyuncs.com",
    ),
    "meta": ("https://api.meta.ai",),
    "mistral": ("https://api.mistral.ai",),
    "openrouter": ("https://openrouter.ai",),
}


def read_origin(url: str) -> str:
    """An address's scheme, host and port, spelt in one way: `https://api.openai.com:443`.

    Case, a last dot and a port that goes without saying make no difference. Raises InputError for what is no web
    address, or names its host in a way that two programs may read differently.
    """
    check_base_url(url)
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    if not _HOST.fullmatch(host):
        raise InputError("api_endpoint", "its host is no plain name or IP address")
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class KeyOrigins:
    """The origins that each provider's key may go to: its own, and those that a setting adds.

    `further` holds addresses by provider, plain http ones too. Raises InputError where one is none.
    """

    def __init__(self, further: Mapping[str, tuple[str, ...]]) -> None:
        providers = {*_OWN, *further}
        self._origins = {
            provider: frozenset(map(read_origin, (*_OWN.get(provider, ()), *further.get(provider, ()))))
            for provider in providers
        }

    def all(self) -> frozenset[str]:
        """Every origin of every provider."""
        return frozenset().union(*self._origins.values())

    def why_withheld(self, provider: str, url: str) -> str | None:
        """Why the provider's key does not go to an address, None where it may."""
        allowed = self._origins.get(provider, frozenset())
        try:
            origin = read_origin(url)
        except InputError as error:
            return f"the key of {provider} is not sent there: {error}"
        if origin in allowed:
            return None
        owners = ", ".join(sorted(allowed)) or "no origin"
        return (
            f"the key of {provider} is not sent to {origin}: it belongs to {owners}; "
            f"whoever means this one sets {KEY_ORIGINS_VARIABLE} to {provider}={origin}"
        )
