"""Results of several runs become one line each fault and moment."""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.table import make_table, read_results
from tests.faults.trial import Result


def make_result(**fields: object) -> Result:
    values = {"family": "redis", "fault": "FLUSHALL", "moment": "idle", "threads": 12, "recovery_s": 1.0}
    return Result(**{**values, **fields})  # type: ignore[arg-type]


def test_runs_of_one_moment_are_summed_up() -> None:
    runs = [
        make_result(repeated=1, in_flight=4, recovery_s=3.0),
        make_result(repeated=2, in_flight=5, lost=1),
        make_result(recovery_s=None),
    ]

    line = make_table(runs).splitlines()[2]

    assert line == "| FLUSHALL | idle | 3 | 36 | 1 | 0 | 0 | 0 | 3 of 9 | 2.0 s | 3.0 s |"


def test_what_was_not_run_or_was_broken_stands_below() -> None:
    table = make_table([make_result(skipped="needs root"), make_result(moment="load", broken={"sums agree": ["x"]})])

    assert "- not run: FLUSHALL, idle: needs root" in table
    assert "- broken: FLUSHALL, load: sums agree: x" in table
    assert "| FLUSHALL | idle |" not in table


def test_results_are_read_as_they_were_kept(tmp_path: Path) -> None:
    kept = make_result(broken={"sums agree": ["x"]})
    file = tmp_path / "results.json"
    file.write_text(json.dumps(kept.dump()) + "\n\n")

    assert read_results([file]) == [kept]
