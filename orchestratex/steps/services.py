"""The bundle of ports that steps receive, and what several steps ask of it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from bson import ObjectId

from orchestratex.domain.base import to_usd
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Usage
from orchestratex.faultpoints import FaultPoints, NoFaultPoints
from orchestratex.limits.base import Limiter
from orchestratex.limits.breaker import Breaker
from orchestratex.providers.base import Providers
from orchestratex.settings import Settings
from orchestratex.steps.heart import Heart
from orchestratex.steps.journal import Journal
from orchestratex.store.base import Store

if TYPE_CHECKING:  # it brings Celery, which most commands have no use for
    from orchestratex.queue import Queue

_TOKENS_PER_CHARACTER = 0.25  # of English prose, until something is known
_FIRST_OUTPUT_SHARE = 0.3  # of the output that a call allows, until something is known
_MARGIN = 1.05  # a little above the truth: more would leave allowance unused while calls are in flight
_LEARNING = 0.1  # weight of the newest call
_PROFILES_AGE_S = 1.0  # profiles change rarely and are read with every call


class ProfileCache:
    """The profiles, read from the store at most once a second; `read` is what is made of each."""

    def __init__(
        self, store: Store, *, max_age_s: float = _PROFILES_AGE_S, read: Callable[[Profile], Profile] = lambda it: it
    ) -> None:
        self._store = store
        self._read = read
        self._max_age_s = max_age_s
        self._read_at = float("-inf")
        self._profiles: list[Profile] = []

    def forget(self) -> None:
        """Read anew at the next question."""
        self._read_at = float("-inf")

    def all(self) -> list[Profile]:
        """All profiles, by name."""
        if time.monotonic() - self._read_at > self._max_age_s:
            self._profiles = list(map(self._read, self._store.profiles()))
            self._read_at = time.monotonic()
        return self._profiles


class Expectations:
    """How many tokens calls really use, learnt by model and role in this process.

    The limiter paces by it: worst cases are for money, and would leave most of a provider's allowance unused.
    """

    def __init__(self) -> None:
        self._input: dict[tuple[str, str], float] = {}  # tokens a character
        self._output: dict[tuple[str, str], float] = {}  # tokens

    def expect(self, model: str, role: str, *, characters: int, max_tokens: int) -> int:
        """Tokens that a call with a prompt of so many characters is likely to use."""
        key = (model, role)
        output = self._output.get(key, _FIRST_OUTPUT_SHARE * max_tokens)
        likely = characters * self._input.get(key, _TOKENS_PER_CHARACTER) + min(output, max_tokens)
        return max(1, math.ceil(likely * _MARGIN))

    def learn(self, model: str, role: str, *, characters: int, usage: Usage) -> None:
        """Take in what a call used."""
        key = (model, role)
        _blend(self._input, key, usage.input_tokens / max(1, characters))
        _blend(self._output, key, usage.output_tokens)


def _blend(known: dict[tuple[str, str], float], key: tuple[str, str], value: float) -> None:
    """An exponentially weighted mean; the first value stands as it is."""
    known[key] = known.get(key, value) + _LEARNING * (value - known.get(key, value))


@dataclass(frozen=True)
class Services:
    """Everything that a step may use, handed in by bootstrap."""

    store: Store
    queue: Queue
    providers: Providers
    limiter: Limiter
    breaker: Breaker
    settings: Settings
    clock: Callable[[], datetime]
    nonce: Callable[[], str]  # unguessable text for fences
    jitter: Callable[[], float]  # 0 to 1, even
    sleep: Callable[[float], None]  # seconds
    heart: Heart
    journal: Journal
    cache: ProfileCache = field(repr=False)
    # addresses whose keys are withheld, by model: told
    withheld: dict[str, str] = field(default_factory=dict, repr=False)
    expectations: Expectations = field(default_factory=Expectations, repr=False)
    ending: threading.Event = field(default_factory=threading.Event, repr=False)  # set: begin no second call
    faults: FaultPoints = field(default_factory=NoFaultPoints, repr=False)

    def close(self) -> None:
        """Let go of threads and connections."""
        self.heart.stop()
        self.queue.close()
        self.providers.close()
        self.store.close()

    def usable_profiles(self) -> list[Profile]:
        """Active models that this installation has an address and a key for."""
        return [profile for profile in self.cache.all() if profile.is_active and self.providers.can_serve(profile)]

    def profile(self, model_name: str) -> Profile | None:
        """A model's profile, None when it is gone."""
        return next((profile for profile in self.cache.all() if profile.model_name == model_name), None)

    def settle_totals(self, thread_id: ObjectId) -> None:
        """Write a thread's totals until they are what its responses say: whoever writes last has seen every charge."""
        totals: dict[str, int | float] = {}
        while totals != (found := self.recount(thread_id)):
            self.store.set_thread(thread_id, found)
            totals = found

    def recount(self, thread_id: ObjectId) -> dict[str, int | float]:
        """A thread's totals, counted from its responses."""
        totals = self.store.thread_totals(thread_id)
        return {
            "total_models_involved": totals.models,
            "total_tokens_used": totals.tokens,
            "total_cost_nanos": totals.cost_nanos,
            "total_cost": to_usd(totals.cost_nanos),
            "is_simulated": totals.is_simulated,
        }
