"""How the whole installation is, seen from one process: each part that a thread needs, and what is wrong with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestratex.errors import NoModelError, StoreUnavailableError, UnavailableError
from orchestratex.steps.pulse import BEAT, CONTROL, WORKERS, describe_missing
from orchestratex.steps.served import MODELS, describe_unreachable, require_served
from orchestratex.steps.services import Services

STORE: Final = "store"
BROKER: Final = "broker"
LIMITS: Final = "limits"
PARTS: Final = (STORE, BROKER, LIMITS, MODELS, WORKERS, CONTROL, BEAT)
CALLING: Final = (BROKER, LIMITS, WORKERS, CONTROL)  # what a thread waits for whose call is due
COMPUTING: Final = (BROKER, CONTROL)  # and one whose next step asks no model
OK: Final = "ok"
_PATIENCE_S: Final = 3.0  # balancers wait about so long for an answer
_STARTING_S: Final = 30.0  # what starts together gives its first signs within so much
_SIGN: Final = "readyz"  # the sample that shows that something can be written


@dataclass(frozen=True)
class Health:
    """What is wrong with each part that is not well."""

    problems: Mapping[str, str]
    refuses: bool  # nothing can be stored, or no model can be asked: no thread can be taken in

    @property
    def status(self) -> str:
        """`ok`, `degraded` or `unavailable`."""
        return "unavailable" if self.refuses else "degraded" if self.problems else OK

    def view(self) -> dict[str, str]:
        """The status, then every part: ok, or what is wrong with it."""
        return {"status": self.status, **{name: self.problems.get(name, OK) for name in PARTS}}

    def first_of(self, *parts: str) -> str | None:
        """What is wrong with the first of these parts that is not well."""
        return next((self.problems[name] for name in parts if name in self.problems), None)

    def describe_stop(self) -> str | None:
        """What every thread waits for now; None where nothing keeps them all."""
        return self.first_of(*CALLING, MODELS)


class HealthWatch:
    """Looks at every part. The broker and the limits are asked on threads of their own: one that hangs holds up nobody.

    Where the others start with this process (`starts_with_us`), it allows for that while it is young.
    """

    def __init__(
        self, services: Services, *, clock: Callable[[], float] = time.monotonic, starts_with_us: bool = True
    ) -> None:
        self._services = services
        self._clock = clock
        self._started_at = clock() if starts_with_us else float("-inf")
        self._broker = _Look(lambda: services.queue.ping())
        self._limits = _Look(lambda: services.limiter.ping())
        self._recalling = threading.Lock()
        self._last: tuple[float, Health] | None = None

    def look(self, *, patience_s: float = _PATIENCE_S) -> Health:
        """How things are now. Whoever has not answered in this time is what it was last found to be."""
        health = self._look(patience_s)
        self._last = (self._clock(), health)
        return health

    def recall(self, *, max_age_s: float, patience_s: float) -> Health:
        """How things were at most so long ago, for who cannot wait."""
        last = self._last
        if last is not None and self._clock() - last[0] <= max_age_s:
            return last[1]
        if not self._recalling.acquire(blocking=last is None):
            return last[1] if last else self.look(patience_s=patience_s)  # somebody else is about to know
        try:
            return self.look(patience_s=patience_s)
        finally:
            self._recalling.release()

    def _look(self, patience_s: float) -> Health:
        self._broker.begin()
        self._limits.begin()
        found: dict[str, str | None] = {}
        refuses = True
        try:
            self._services.store.ping()
            self._services.store.put_sample(_SIGN, 1)  # one that can be read and not written is of no use
            found |= {name: self._explain_start(text) for name, text in describe_missing(self._services).items()}
            found[MODELS] = describe_unreachable(self._services)
            require_served(self._services)
            refuses = False
        except StoreUnavailableError as error:
            found[STORE] = str(error)
        except NoModelError as error:
            found[MODELS] = str(error)
        deadline = self._clock() + patience_s
        found[BROKER] = self._broker.finish(deadline - self._clock(), "the broker")
        limits = self._limits.finish(deadline - self._clock(), "the Redis of the limits")
        found[LIMITS] = f"{limits}; no model is called until they can" if limits else None
        return Health({name: found[name] or "" for name in PARTS if found.get(name)}, refuses)

    def _explain_start(self, problem: str) -> str:
        age_s = self._clock() - self._started_at
        if age_s > _STARTING_S:
            return problem
        return f"{problem} (unless it is still starting: this process began {age_s:.0f} s ago)"


class _Look:
    """One question, asked on a thread of its own: at most one at a time."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._asking: threading.Thread | None = None
        self._asked_at = 0.0
        self._problem: str | None = None

    def begin(self) -> None:
        """Ask, unless the last answer is still to come."""
        if self._asking is None or not self._asking.is_alive():
            self._asked_at = time.monotonic()
            self._asking = threading.Thread(target=self._run, name="health", daemon=True)
            self._asking.start()

    def finish(self, patience_s: float, name: str) -> str | None:
        """What is wrong: the answer if it comes in this time, else what was found last, or that none comes."""
        if self._asking is not None:
            self._asking.join(max(0.0, patience_s))
        asked_s = time.monotonic() - self._asked_at
        if self._asking is None or not self._asking.is_alive() or asked_s < _PATIENCE_S:
            return self._problem
        return f"{name} has not answered for {asked_s:.0f} s"

    def _run(self) -> None:
        try:
            self._ask()
        except UnavailableError as error:
            self._problem = str(error)
        else:
            self._problem = None
