"""A disk that is full under mongod, on a small tmpfs of our own.

Recovery is counted from the moment when space is free and mongod answers as primary, until every call that was open
then is closed and every running thread has moved. The time before it is an outage.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import wait_for
from tests.faults.invariants import FLIGHT_S
from tests.faults.rig import STANDARD, Rig, open_rig
from tests.faults.servers import MongoServer, RedisServer
from tests.faults.trial import Row, Trial

SIZE_MB = 700  # mongod's journal takes 300 MB of it before the first document
FULL_S = 60.0
AWAY_S = 5.0
PIECE = 1 << 20


@contextmanager
def open_disk_rig(home: Path, settings: Mapping[str, object]) -> Iterator[Rig]:
    """The usual processes over a mongod whose data lie on a small disk."""
    disk = home / "disk"
    disk.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(disk))
    try:
        mongo = MongoServer(home / "mongo", data=disk, extra=("--syncdelay", "2"))  # a full disk is noticed soon
        redis = RedisServer(home / "redis")
        try:
            with open_rig(STANDARD, home / "rig", mongo, redis, settings=settings) as rig:
                rig.start_all()
                yield rig
        finally:
            redis.process.stop()
            mongo.stop()
    finally:
        _run("umount", "--lazy", str(disk))


def fill(trial: Trial) -> None:
    """Fill the disk under load until mongod gives up; free it, and start mongod again."""
    trial.submit()
    trial.await_load()
    mongod = trial.rig.mongo.members[0]
    started = time.time()
    filler = _fill(trial.rig.mongo)
    wait_for(lambda: not mongod.is_alive, timeout_s=FULL_S, what="mongod's end on a full disk")
    filling_s = time.time() - started
    time.sleep(AWAY_S)  # work goes on without it for a while
    filler.unlink()
    mongod.restart()
    trial.rig.mongo.await_primary()
    filled_s = filling_s + FLIGHT_S  # calls begin until mongod gives up
    trial.note_fault(started, is_outage=True, seconds=filled_s, loses_answers=False)


def lacks_tmpfs() -> str | None:
    """Why there can be no small disk here."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "a small tmpfs needs root"
    if shutil.which("mount") is None:
        return "a small tmpfs needs the program mount"
    return None


def _fill(mongo: MongoServer) -> Path:
    filler = mongo.disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"\0" * PIECE)
            except OSError:
                return filler


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


ROWS = [
    Row("disk", "disk full for mongod", "until freed", fill, opens=open_disk_rig, is_small=True, why_not=lacks_tmpfs)
]
