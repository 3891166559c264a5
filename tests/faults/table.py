"""The results of many runs as one Markdown table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.trial import Result, median

HEAD = (
    "| fault | moment | runs | threads | lost | stuck | overspent | completed calls repeated"
    " | calls repeated of in flight | recovery, median | recovery, longest |"
)
RULE = "| --- | --- |" + " ---: |" * 9


def read_results(paths: Iterable[Path]) -> list[Result]:
    """The results that runs have kept, one a line."""
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [Result(**json.loads(line)) for line in lines]


def make_table(results: Sequence[Result]) -> str:
    """A line for each fault and moment, then what was broken or could not be run."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.family, result.fault, result.moment), []).append(result)
    ran = {key: [r for r in group if not r.skipped] for key, group in groups.items()}
    lines = [HEAD, RULE, *(_make_line(group) for group in ran.values() if group)]
    notes = [f"- not run: {key[1]}, {key[2]}: {groups[key][0].skipped}" for key, group in ran.items() if not group]
    notes += [
        f"- broken: {result.fault}, {result.moment}: {invariant}: {'; '.join(problems[:3])}"
        for result in results
        for invariant, problems in result.broken.items()
    ]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _make_line(group: Sequence[Result]) -> str:
    recoveries = [result.recovery_s for result in group if result.recovery_s is not None]
    counts = [
        len(group),
        *(sum(getattr(result, name) for result in group) for name in ("threads", "lost", "stuck", "overspent")),
        sum(result.paid_after_save for result in group),
    ]
    repeated = f"{sum(r.repeated for r in group)} of {sum(r.in_flight for r in group)}"
    times = [_seconds(median(recoveries)), _seconds(max(recoveries, default=None))]
    cells = [group[0].fault, group[0].moment, *map(str, counts), repeated, *times]
    return "| " + " | ".join(cells) + " |"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
