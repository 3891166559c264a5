"""What tests share: a whole engine in this process, and the drivers that stand for workers."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId

from orchestratex.advance import advance, advance_answer, advance_evaluation, fan_out
from orchestratex.bootstrap import assemble
from orchestratex.domain.base import Step
from orchestratex.domain.capabilities import Capabilities
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion
from orchestratex.domain.thread import Thread
from orchestratex.faultpoints import FaultPoints
from orchestratex.providers.base import CompletionRequest, Providers
from orchestratex.providers.fake import FakeProvider, FakeProviders
from orchestratex.queue import FAN_OUT, TASKS, MemoryQueue
from orchestratex.sandbox.brain import reply
from orchestratex.settings import Settings
from orchestratex.steps.services import Services
from orchestratex.steps.submit import SessionRequest, ThreadRequest, open_session, parse_request, submit
from orchestratex.store.memory import MemoryStore
from orchestratex.store.migrations import shipped_profiles

ADMIN_KEY = "sandbox-admin-key"  # of the sandboxes whose faults and ledger tests reach over HTTP
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
ALL_OTHERS = 7  # of the shipped eight
Reply = Callable[[CompletionRequest], str | Completion]


def steady(**fields: Any) -> Settings:
    """Settings under which the best known model answers and all others evaluate: more calls that can go wrong."""
    return Settings(**{"panel_size": ALL_OTHERS, "exploration": 0.0, **fields})


class FakeClock:
    """A clock that tests move; each reading is a millisecond later than the one before."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            self._now += timedelta(milliseconds=1)
            return self._now

    def pass_time(self, seconds: float) -> None:
        """Move on."""
        with self._lock:
            self._now += timedelta(seconds=seconds)


class World:
    """The engine over the shipped fakes, answered by the sandbox's brain unless told otherwise."""

    def __init__(
        self,
        reply_to: Reply | None = None,
        settings: Settings | None = None,
        *,
        faults: FaultPoints | None = None,
        providers: Providers | None = None,
        profiles: Sequence[Profile] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.queue = MemoryQueue()
        self.provider = FakeProvider(reply_to or answer_by_rule)
        numbers = itertools.count(1)
        self.services: Services = assemble(
            settings or steady(),
            store=self.store,
            queue=self.queue,
            providers=providers or FakeProviders(self.provider),
            clock=self.clock,
            nonce=lambda: f"{next(numbers):016x}",
            jitter=lambda: 0.5,
            sleep=self.clock.pass_time,
            faults=faults,
        )
        self.store.insert_profiles(plain_profiles(self.clock()) if profiles is None else profiles)

    def submit(self, prompt: str, **options: object) -> Thread:
        """One thread in a session of its own."""
        session_fields = {"cost_limit", "user_id"}
        session = open_session(
            SessionRequest.model_validate({k: v for k, v in options.items() if k in session_fields}), self.services
        )
        rest = {k: v for k, v in options.items() if k not in session_fields}
        return submit(session.id, [parse_request(ThreadRequest, {"prompt": prompt, **rest})], self.services)[0]

    def solve(self, prompt: str, **options: object) -> Thread:
        """Submit a prompt and work until nothing is left to do."""
        thread = self.submit(prompt, **options)
        self.run()
        return self.store.get_thread(thread.id)

    def run(self, *, rng: random.Random | None = None) -> None:
        """Be the workers: take messages, in order or at random, until there are none."""
        while self.queue.messages:
            at = rng.randrange(len(self.queue.messages)) if rng else 0
            self.work(self.queue.messages.pop(at))

    def work(self, message: tuple[str, tuple[ObjectId, ...]]) -> None:
        """Run one message as its task would."""
        name, ids = message
        if name == TASKS[Step.EVALUATE]:
            advance_evaluation(ids[0], ids[1], self.services)
        elif name == FAN_OUT:
            fan_out(ids[0], self.services)
        elif name in {TASKS[Step.RESPOND], TASKS[Step.REFINE]}:
            step = Step.RESPOND if name == TASKS[Step.RESPOND] else Step.REFINE
            is_open, _ = advance_answer(step, ids[0], self.services)
            if is_open:  # what the chain does
                self.queue.messages.append((FAN_OUT, (ids[0],)))
        else:
            advance(ids[0], self.services)


def plain_profiles(now: datetime) -> list[Profile]:
    """The shipped profiles as if nothing were known of what their models take: then limits are those of the roles."""
    return [each.model_copy(update={"capabilities": Capabilities()}) for each in shipped_profiles(now)]


def answer_by_rule(request: CompletionRequest) -> str:
    """The sandbox's models, without HTTP."""
    return reply(request.model_name, request.system, request.user, ordinal=request.seed)
