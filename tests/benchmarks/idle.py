"""What a stack on which nothing runs costs: each process's memory (proportional set size), and CPU time over a minute.

`python -m tests.benchmarks.idle [--seconds 60] [--settle 60] [--home DIRECTORY]`; Linux only. Without `--home` it
starts `orchestratex up` with its defaults in a new directory, without keys, and waits until it has settled; with it the
stack that runs there is measured.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestratex.local.ports import free_port
from orchestratex.local.state import read_state
from orchestratex.variables import FIELDS

SETTLE_S = 60.0  # what a start leaves to be done
START_S = 120.0


@dataclass(frozen=True)
class Use:
    """What some processes hold, and have taken so far."""

    processes: int
    pss_mb: float
    cpu_s: float


def main() -> None:
    """Measure a stack and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--settle", type=float, default=SETTLE_S)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    if given.home:
        print_table(given.home, given.seconds)
        return
    with tempfile.TemporaryDirectory(prefix="idle") as home, stack(Path(home)):
        time.sleep(given.settle)
        print_table(Path(home), given.seconds)


@contextmanager
def stack(home: Path) -> Iterator[None]:
    """Run `orchestratex up` as somebody without keys does, on ports of its own."""
    environ = {name: value for name, value in os.environ.items() if name.upper() not in FIELDS}
    environ |= {"ORCHESTRATEX_HOME": str(home)}
    environ |= {f"ORCHESTRATEX_{name}_PORT": str(free_port()) for name in ("API", "FLOWER")}
    line = [sys.executable, "-m", "orchestratex", "up"]
    with subprocess.Popen(line, env=environ, cwd=home, stdout=subprocess.DEVNULL) as owner:
        try:
            deadline = time.monotonic() + START_S
            while not is_complete(home):
                if owner.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the stack did not start")
                time.sleep(0.5)
            yield
        finally:
            owner.send_signal(signal.SIGTERM)
            owner.wait(60)


def is_complete(home: Path) -> bool:
    """Whether the processes have been started: the state names Flower among them."""
    state = read_state(home)
    return state is not None and any(child.name == "flower" for child in state.children)


def print_table(home: Path, seconds: float) -> None:
    """Look twice, and print what was between: of each process type, and of all."""
    groups = find_processes(home)
    before = {name: look(processes) for name, processes in groups.items()}
    begun = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    after = {name: look(processes) for name, processes in groups.items()}
    print("| process | processes | PSS, MB | CPU, % of a core |\n|---|---|---|---|")
    for name, use in after.items():
        print(f"| {name} | {use.processes} | {use.pss_mb:.0f} | {100 * (use.cpu_s - before[name].cpu_s) / took:.2f} |")
    total, earlier = add(after), add(before)
    share = 100 * (total.cpu_s - earlier.cpu_s) / took
    print(f"| all | {total.processes} | {total.pss_mb:.0f} | {share:.2f} |")


def find_processes(home: Path) -> dict[str, list[psutil.Process]]:
    """The owner, the guards, and what runs under each guard."""
    state = read_state(home)
    if state is None:
        raise SystemExit(f"no stack runs in {home}")
    guards = {child.name: psutil.Process(child.pid) for child in state.children}
    groups = {"up": [psutil.Process(state.owner.pid)], "guards": list(guards.values())}
    return groups | {name: guard.children(recursive=True) for name, guard in guards.items()}


def look(processes: list[psutil.Process]) -> Use:
    """Read what these processes hold and have taken; who has ended by now counts as nothing."""
    uses = [use for process in processes if (use := read_use(process))]
    return Use(len(uses), sum(use.pss_mb for use in uses), sum(use.cpu_s for use in uses))


def read_use(process: psutil.Process) -> Use | None:
    """Return what one process holds, and the CPU time it has taken; None when it has ended."""
    try:
        times = process.cpu_times()
        return Use(1, process.memory_full_info().pss / 1e6, times.user + times.system)
    except psutil.NoSuchProcess:
        return None


def add(uses: Mapping[str, Use]) -> Use:
    """Sum all up."""
    every = uses.values()
    return Use(sum(u.processes for u in every), sum(u.pss_mb for u in every), sum(u.cpu_s for u in every))


if __name__ == "__main__":
    main()
