"""The heartbeat: one thread a process prolongs all the leases that the process holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from orchestratex.errors import StoreUnavailableError
from orchestratex.store.base import Store

_log = logging.getLogger(__name__)


class Heart:
    """Holds leases of `lease_s` seconds by renewing them every `beat_s`. Make one a process, after a fork."""

    def __init__(self, store: Store, *, lease_s: float, beat_s: float) -> None:
        self._store = store
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._lost: set[str] = set()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @contextmanager
    def hold(self, token: str) -> Iterator[None]:
        """Renew this lease while the block runs."""
        with self._lock:
            self._held.add(token)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(token)
                self._lost.discard(token)

    def has_lost(self, token: str) -> bool:
        """Whether the lease was found taken away."""
        return token in self._lost

    @property
    def active(self) -> int:
        """How many leases are held: the calls and steps in flight in this process."""
        return len(self._held)

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    def beat(self) -> None:
        """Renew all leases once. Raises StoreUnavailableError."""
        with self._lock:
            held = list(self._held)
        if held:
            alive = self._store.renew_leases(held, lease_s=self._lease_s)
            with self._lock:
                self._lost |= (set(held) & self._held) - alive

    def _run(self) -> None:
        while not self._stop.wait(self._beat_s):
            try:
                self.beat()
            except StoreUnavailableError as error:
                _log.warning("heartbeat missed: %s", error)
