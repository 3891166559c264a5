"""The fault suite: `python -m tests.faults` breaks things at chosen moments, and checks what must hold afterwards.

    python -m tests.faults                          the whole table
    python -m tests.faults --rows 'redis.*fan-in'   some of it
    python -m tests.faults --small                  a few rows, with short leases
    python -m tests.faults --json out.json          keep every run's result as it comes
    python -m tests.faults --table out.json more.json   the results as a Markdown table

The exit code is 1 when an invariant is broken.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

from tests.faults.rig import DEFAULT, QUICK, Rigs
from tests.faults.table import make_table, read_results
from tests.faults.trial import Result, Row, run_row

THREADS = 12


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; returns the exit code."""
    options = _parse(arguments)
    if options.table:
        results = read_results(options.table)
        print(make_table(results))
        return int(any(result.broken for result in results))
    rows = choose(options.rows, is_small=options.small)
    if options.list:
        print("\n".join(row.name + (f"  (not here: {why})" if (why := row.why_not()) else "") for row in rows))
        return 0
    results = run(rows, options)
    print("\n" + make_table(results))
    return int(any(result.broken for result in results))


def choose(pattern: str, *, is_small: bool) -> list[Row]:
    """The rows whose names match."""
    from tests.faults.rows import ROWS

    return [row for row in ROWS if re.search(pattern, row.name) and (row.is_small or not is_small)]


def run(rows: list[Row], options: argparse.Namespace) -> list[Result]:
    """Run rows, each so often, and report each as it ends."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="orchestratex-faults-") as home:
        rigs = Rigs(Path(options.home or home), QUICK if options.small else DEFAULT)
        try:
            for row in rows:
                for _ in range(options.repeat):
                    results.append(run_row(row, rigs, threads=options.threads))
                    report(results[-1], options.json)
        finally:
            rigs.close()
    return results


def report(result: Result, path: Path | None) -> None:
    """Say how a run went, and keep it."""
    name = f"{result.family}: {result.fault}, {result.moment}"
    if result.skipped:
        print(f"skip   {name}: {result.skipped}", flush=True)
    else:
        recovery = "-" if result.recovery_s is None else f"{result.recovery_s:.1f} s"
        verdict = "BROKEN" if result.broken else "ok    "
        print(
            f"{verdict} {name}: {result.threads} threads, repeated {result.repeated} of {result.in_flight},"
            f" recovery {recovery}, longest stand {result.longest_stand_s:.1f} s, took {result.seconds:.0f} s",
            flush=True,
        )
    for invariant, problems in result.broken.items():
        print(f"       {invariant}:", *problems[:20], sep="\n         - ", flush=True)
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result.dump()) + "\n")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.faults", description="Break things, and check what must hold.")
    parser.add_argument("--rows", default="", metavar="PATTERN", help="a regular expression over the rows' names")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each row")
    parser.add_argument("--threads", type=int, default=THREADS, help="threads in each run")
    parser.add_argument("--small", action="store_true", help="the quick rows, with short leases")
    parser.add_argument("--list", action="store_true", help="name the rows, and run none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append each run's result as a line")
    parser.add_argument("--home", type=Path, help="keep data and logs here")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="print results of earlier runs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
