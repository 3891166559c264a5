"""The three dialects, each on its own path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol

from orchestratex.sandbox.calls import Call, Completion
from orchestratex.sandbox.chat import Chat
from orchestratex.sandbox.generate import Generate
from orchestratex.sandbox.messages import Messages
from orchestratex.sandbox.models import Model


class Dialect(Protocol):
    """How a provider's wire format is read and written."""

    overloaded: int  # the status that says that the provider has trouble of its own

    def check_key(self, headers: Mapping[bytes, str]) -> None:
        """Ask for a key, any key. Raises CallError."""

    def read_call(self, body: bytes, catalogue: Mapping[str, Model], *, model: str, ordinal: int) -> Call:
        """Read a request; `model` is the path's, `ordinal` for a dialect without seeds. Raises CallError."""

    def dump_completion(self, call: Call, completion: Completion, *, number: int) -> bytes:
        """Write a completion as the provider publishes it."""

    def dump_error(
        self, status: int, code: str, message: str, *, retry_after_s: float | None = None, param: str | None = None
    ) -> bytes:
        """Write an error as the provider publishes it; `param` is the parameter at fault."""

    def headers(self, number: int) -> list[tuple[str, str]]:
        """Return what the provider sends with every answer."""

    def retry_headers(self, seconds: float) -> list[tuple[str, str]]:
        """Return what the provider sends with a 429."""


CHAT: Final[Dialect] = Chat()
MESSAGES: Final[Dialect] = Messages()
GENERATE: Final[Dialect] = Generate()

_PATHS: Final[tuple[tuple[re.Pattern[str], Dialect], ...]] = (
    (re.compile(r"/v1/chat/completions"), CHAT),
    (re.compile(r"/anthropic/v1/messages"), MESSAGES),
    (re.compile(r"/google/v1beta/models/(.+):generateContent"), GENERATE),
)


def find_dialect(path: str) -> tuple[Dialect, str] | None:
    """Return the dialect that is spoken at a path, and the model that the path names."""
    for pattern, dialect in _PATHS:
        found = pattern.fullmatch(path)
        if found:
            return dialect, next(iter(found.groups()), "")
    return None
