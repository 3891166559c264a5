"""What is let go when nobody has used it for a while."""

from __future__ import annotations

import threading

from orchestratex.steps.idling import Idling


def test_what_nobody_uses_is_let_go_each_time() -> None:
    gone = threading.Semaphore(0)
    idling = Idling(gone.release, keep_s=0.05)

    for _ in range(2):
        idling.note_use()
        assert gone.acquire(timeout=20)

    assert not gone.acquire(blocking=False)


def test_what_is_used_stays() -> None:
    let_go = threading.Event()
    idling = Idling(let_go.set, keep_s=600)

    idling.note_use()
    idling.note_use()

    assert not let_go.is_set()
    assert sum(thread.name == "idling" for thread in threading.enumerate()) >= 1
