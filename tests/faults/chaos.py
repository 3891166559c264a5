"""The faults that a soak draws from. Each takes its time, and is over when it returns."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestratex.sandbox.faults import parse_fault
from tests.faults.history import Outage
from tests.faults.invariants import FLIGHT_S, Window
from tests.faults.rig import Member, Rig
from tests.faults.servers import frozen_for

GRACE_S = 60.0
STOPS_S = (5.0, 30.0)
SPELLS_S = (10.0, 25.0)
PROVIDER_FAULTS = (
    "server_error share=0.5",
    "rate_limit share=0.5 retry_after_s=1",
    "drop share=0.3",
    "truncated share=0.3",
    "hang share=0.3 hang_s=10",
)
MODELS = ("gpt4", "claude", "gemini")


class Chaos:
    """Breaks things in a rig, at random but by seed. Kept members are never killed: their memory is watched."""

    def __init__(self, rig: Rig, kept: list[Member], switch: Path, rng: random.Random) -> None:
        self.rig, self.kept, self.switch, self.rng = rig, kept, switch, rng
        self.windows: list[Window] = []
        self.outages: list[Outage] = []
        self.done: list[tuple[float, str]] = []

    def strike(self) -> str:
        """Do the next fault; returns its name."""
        fault, started = self.rng.choice(FAULTS), time.time()
        fault(self)
        self.done.append((started, fault.__name__))
        return fault.__name__

    def kill_a_worker(self) -> None:
        """kill -9 of one worker or control worker."""
        with self._window():
            self.rng.choice(self._mortal("worker", "control")).process.kill()

    def kill_all_workers(self) -> None:
        """kill -9 of all that are not kept."""
        with self._window():
            for member in self._mortal("worker", "control"):
                member.process.kill()

    def terminate_a_worker(self) -> None:
        """SIGTERM, and kill -9 of what has not ended in a minute."""
        member = self.rng.choice(self._mortal("worker", "control"))
        member.process.signal(signal.SIGTERM)
        if not member.process.child.wait(GRACE_S):
            with self._window():
                member.process.kill()

    def restart_redis(self) -> None:
        """kill -9 of Redis, and a start from its disk."""
        with self._window(is_outage=True):
            self.rig.redis.process.kill()
            self.rig.redis.process.restart()
            self.rig.redis.await_answer()

    def flush_redis(self) -> None:
        """FLUSHALL."""
        with self._window(loses_answers=False):
            self.rig.redis.flush()

    def stop_redis(self) -> None:
        """SIGSTOP for a while."""
        with self._window(is_outage=True):
            frozen_for([self.rig.redis.process], self.rng.uniform(*STOPS_S))

    def slow_redis(self) -> None:
        """200 ms a command for a while: no outage, but nothing is quick."""
        proxy = self.rig.proxy
        assert proxy is not None
        with self._window(is_outage=True):
            proxy.delay_s = 0.2
            time.sleep(self.rng.uniform(*SPELLS_S))
            proxy.delay_s = 0.0

    def kill_mongod(self) -> None:
        """kill -9 of the primary, and a start again."""
        with self._window(is_outage=True):
            member = self.rig.mongo.kill_primary()
            member.restart()
            self.rig.mongo.await_whole()

    def step_down(self) -> None:
        """The primary gives up for five seconds."""
        with self._window(is_outage=True):
            self.rig.mongo.step_down(5)
            self.rig.mongo.await_primary()

    def stop_mongod(self) -> None:
        """SIGSTOP of all members for a while."""
        with self._window(is_outage=True):
            frozen_for(self.rig.mongo.members, self.rng.uniform(*STOPS_S))
            self.rig.mongo.await_primary()

    def spoil_a_model(self) -> None:
        """A model's calls go wrong for a while."""
        fault = parse_fault(f"{self.rng.choice(PROVIDER_FAULTS)} models={self.rng.choice(MODELS)}")
        plan = self.rig.sandbox.state.plan
        plan.replace((fault,))
        time.sleep(self.rng.uniform(*SPELLS_S))
        plan.replace(())

    def double_messages(self) -> None:
        """Every message is delivered twice for a while."""
        self.switch.touch()
        time.sleep(self.rng.uniform(*SPELLS_S))
        self.switch.unlink()

    def _mortal(self, *kinds: str) -> list[Member]:
        return [member for member in self.rig.of(*kinds) if member not in self.kept]

    @contextmanager
    def _window(self, *, is_outage: bool = False, loses_answers: bool | None = None) -> Iterator[None]:
        """Only where processes die are answers lost; servers that are away lose none."""
        started = time.time()
        try:
            yield
        finally:
            ended = time.time()
            loses = not is_outage if loses_answers is None else loses_answers
            self.windows.append(Window(started, min(ended, started + FLIGHT_S), loses))
            if is_outage:
                self.outages.append(Outage(started, ended))


FAULTS: tuple[Callable[[Chaos], None], ...] = (
    Chaos.kill_a_worker,
    Chaos.kill_all_workers,
    Chaos.terminate_a_worker,
    Chaos.restart_redis,
    Chaos.flush_redis,
    Chaos.stop_redis,
    Chaos.slow_redis,
    Chaos.kill_mongod,
    Chaos.step_down,
    Chaos.stop_mongod,
    Chaos.spoil_a_model,
    Chaos.double_messages,
)
