"""What takes memory while it is in use, and is let go when nobody has used it for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Idling:
    """Calls `let_go` once nobody has used something for `keep_s` seconds; whoever uses it says so."""

    def __init__(self, let_go: Callable[[], None], *, keep_s: float) -> None:
        self._let_go = let_go
        self._keep_s = keep_s
        self._lock = threading.Condition()
        self._is_watched = False
        self._used_at = 0.0

    def note_use(self) -> None:
        """It was used now."""
        with self._lock:
            self._used_at = time.monotonic()
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._watch, name="idling", daemon=True).start()

    def _watch(self) -> None:
        with self._lock:
            while (left_s := self._used_at + self._keep_s - time.monotonic()) > 0:
                self._lock.wait(left_s)
            self._is_watched = False
            self._let_go()
