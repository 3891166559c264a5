"""What we ask of a provider, whatever dialect it speaks."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, Protocol

from pydantic import Field

from orchestratex.domain.base import Effort, Record
from orchestratex.domain.capabilities import Capabilities
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion

# Seconds that a request may take from here; None: as many as its client has.
TIME_LIMIT_S: Final[ContextVar[float | None]] = ContextVar("time_limit_s", default=None)
# Asked by a client that had to wait for its connection, just before the request leaves: False when nobody wants it now.
STILL_WANTED: Final[ContextVar[Callable[[], bool] | None]] = ContextVar("still_wanted", default=None)


class CompletionRequest(Record):
    """One call, as the engine means it."""

    model_name: str
    model_version: str
    system: str
    user: str
    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=0.7, ge=0, le=2)
    seed: int = 0  # tells k answers apart, and repeats one where the provider can
    json_schema: dict[str, Any] | None = None  # of the reply; needs a profile with supports_json_schema
    effort: Effort | None = None  # one that `capabilities` has a word for; None: nothing is said
    capabilities: Capabilities = Capabilities()  # what the model takes of all this: the rest is not sent
    idempotency_key: str


class Entry(Record):
    """What an endpoint's own list says of a model that it serves."""

    capabilities: Capabilities = Capabilities()


class Provider(Protocol):
    """An endpoint that serves models."""

    def complete(self, request: CompletionRequest) -> Completion:
        """Send one call. Raises ProviderError, which says whether sending again can help.

        ParameterRefusedError names what in the request the model does not take: without it the call may go through.
        """

    def probe(self, profile: Profile) -> bool:
        """Ask the endpoint, at no cost, whether it serves the model."""

    def look_up(self, profile: Profile) -> Entry | None:
        """Ask the endpoint, at no cost, what its list says of the model; None where it does not name it."""


class Providers(Protocol):
    """All endpoints that this installation can reach."""

    def can_serve(self, profile: Profile) -> bool:
        """Whether there is an address and a key for the model."""

    def why_withheld(self, profile: Profile) -> str | None:
        """Why the key that the model's provider has is not sent to the model's address, None where it is or none is."""

    def close(self) -> None:
        """Let go of connections."""

    def of(self, profile: Profile) -> Provider:
        """The endpoint that serves the model.

        Raises ProviderAuthenticationError where its key is missing, or does not belong to its address.
        """
