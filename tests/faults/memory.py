"""Whether long-lived processes grow: their resident memory over time, judged after warm-up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

WARM_UP_SHARE = 0.25  # of the run: caches fill, pools open
MOST_GROWTH = 0.10  # of the first third's mean, from the first to the last third
MOST_GROWTH_MB = 10.0  # and this much more, which an allocator may keep
_MB = 1 << 20


@dataclass
class Track:
    """One process's memory: seconds since the start, and megabytes of it and its children."""

    name: str
    samples: list[tuple[float, float]] = field(default_factory=list)

    def sample(self, at: float, pid: int | None) -> None:
        """Look once; a process that has ended is not looked at."""
        try:
            process = psutil.Process(pid or -1)
            family = [process, *process.children(recursive=True)]
            self.samples.append((at, sum(each.memory_info().rss for each in family) / _MB))
        except (psutil.Error, ValueError):
            return


@dataclass(frozen=True)
class Growth:
    """What became of a process's memory after warm-up."""

    name: str
    first_mb: float  # mean of the first third
    last_mb: float  # mean of the last third
    slope_mb_per_hour: float
    samples: int

    @property
    def is_flat(self) -> bool:
        """Whether the last third is no more than a little above the first."""
        return self.last_mb <= self.first_mb * (1 + MOST_GROWTH) + MOST_GROWTH_MB


def find_growth(track: Track) -> Growth | None:
    """Judge a track; None where there is too little of it."""
    end = track.samples[-1][0] if track.samples else 0.0
    warm = [(at, mb) for at, mb in track.samples if at >= end * WARM_UP_SHARE]
    third = len(warm) // 3
    if third < 2:
        return None
    return Growth(
        name=track.name,
        first_mb=statistics.fmean(mb for _, mb in warm[:third]),
        last_mb=statistics.fmean(mb for _, mb in warm[-third:]),
        slope_mb_per_hour=3600 * statistics.linear_regression(*_columns(warm)).slope,
        samples=len(warm),
    )


def describe(growths: Sequence[Growth]) -> str:
    """The table of all processes, with the bound that they are held to."""
    lines = [
        f"memory after {WARM_UP_SHARE:.0%} warm-up; flat means: mean of the last third"
        f" <= {1 + MOST_GROWTH:.2f} x mean of the first third + {MOST_GROWTH_MB:g} MB",
        "",
        "| process | first third | last third | slope | samples | flat |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for each in growths:
        slope = f"{each.slope_mb_per_hour:+.1f} MB/h"
        cells = [each.name, f"{each.first_mb:.1f} MB", f"{each.last_mb:.1f} MB", slope, str(each.samples)]
        lines.append("| " + " | ".join([*cells, "yes" if each.is_flat else "NO"]) + " |")
    return "\n".join(lines)


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]
