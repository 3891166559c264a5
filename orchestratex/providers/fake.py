"""A provider that answers from a function: for tests, and for trying the engine without any server."""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage
from orchestratex.providers.base import CompletionRequest, Entry


class FakeProvider:
    """Calls `reply` for each request and keeps the requests; `reply` may raise a ProviderError.

    A text is a completion that ended well, its usage counted from the texts; no more output is billed than was allowed.
    A completion is given as it is.
    """

    def __init__(self, reply: Callable[[CompletionRequest], str | Completion]) -> None:
        self._reply = reply
        self._lock = threading.Lock()
        self.requests: list[CompletionRequest] = []

    def complete(self, request: CompletionRequest) -> Completion:
        """See Provider."""
        with self._lock:
            self.requests.append(request)
        text = self._reply(request)
        if isinstance(text, Completion):
            return text
        given = (len(request.system) + len(request.user)) // 4
        generated = min(len(text) // 4, request.max_tokens)
        usage = Usage(input_tokens=given, output_tokens=generated, total_tokens=given + generated)
        return Completion(text=text, usage=usage, latency_ms=1.0)

    def probe(self, profile: Profile) -> bool:  # noqa: ARG002
        """Always there."""
        return True

    def look_up(self, profile: Profile) -> Entry:  # noqa: ARG002
        """There, and nothing is said of it."""
        return Entry()


class FakeProviders:
    """One provider for every model."""

    def __init__(self, provider: FakeProvider) -> None:
        self._provider = provider

    def can_serve(self, profile: Profile) -> bool:  # noqa: ARG002
        """Every model can be served."""
        return True

    def why_withheld(self, profile: Profile) -> str | None:  # noqa: ARG002
        """There is no key."""
        return None

    def close(self) -> None:
        """Nothing to let go of."""

    def of(self, profile: Profile) -> FakeProvider:  # noqa: ARG002
        """The one provider."""
        return self._provider
