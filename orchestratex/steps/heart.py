"""The heartbeat: one thread a process prolongs all the leases that the process holds."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestratex.errors import StoreUnavailableError
from orchestratex.store.base import Store

_log = logging.getLogger(__name__)


class Lease:
    """A lease that this process holds and prolongs, until it is lost: taken away, unwanted, or held for too long."""

    def __init__(self, token: str, *, until: float | None = None) -> None:
        self.token = token
        self.until = until  # on the monotonic clock; None: no limit
        self._holder = threading.get_ident()
        self._is_lost = False
        self._wake: Callable[[], None] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the heart found it gone: nothing that is done under it counts any more."""
        return self._is_lost

    def on_loss(self, wake: Callable[[], None]) -> None:
        """Call `wake` when it is lost, at once where it is."""
        self._wake = wake
        if self._is_lost:
            wake()

    def lose(self) -> None:
        """Note that it is gone, and wake who waits under it."""
        self._is_lost = True
        if self._wake is not None:
            self._wake()

    def where(self) -> str:
        """Where its holder is now: a stack, for people."""
        frame = sys._current_frames().get(self._holder)
        return "".join(traceback.format_stack(frame)) if frame else ""


class Heart:
    """Holds leases of `lease_s` seconds by renewing them every `beat_s`. Make one a process, after a fork."""

    def __init__(self, store: Store, *, lease_s: float, beat_s: float) -> None:
        self._store = store
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._lock = threading.Lock()
        self._held: dict[str, Lease] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @contextmanager
    def hold(self, token: str, *, limit_s: float | None = None) -> Iterator[Lease]:
        """Renew this lease while the block runs, `limit_s` at most: a block that hangs must not hold it for ever."""
        lease = Lease(token, until=None if limit_s is None else time.monotonic() + limit_s)
        with self._lock:
            self._held[token] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                self._thread.start()
        try:
            yield lease
        finally:
            with self._lock:
                self._held.pop(token, None)

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
            held = [lease for lease in self._held.values() if not lease.is_lost]
        for lease in held:
            if lease.until is not None and time.monotonic() > lease.until:
                _log.error("a lease is given up: held for longer than is allowed, here:\n%s", lease.where())
                lease.lose()
        kept = [lease for lease in held if not lease.is_lost]
        if not kept:
            return
        alive = self._store.renew_leases([lease.token for lease in kept], lease_s=self._lease_s)
        for lease in kept:
            if lease.token not in alive:
                lease.lose()

    def _run(self) -> None:
        while not self._stop.wait(self._beat_s):
            try:
                self.beat()
            except StoreUnavailableError as error:
                _log.warning("heartbeat missed: %s", error)
            except Exception:  # noqa: BLE001 - an outer loop: without it every later lease of this process would run out
                _log.exception("heartbeat missed")
