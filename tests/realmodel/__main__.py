"""Ask the small real models that are served and print the table: python -m tests.realmodel [--prompts 66]"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.realmodel.measure import Tally, measure
from tests.realmodel.models import MODELS, SmallModel
from tests.realmodel.prompts import interleave

COLUMNS = (
    "model",
    "schema",
    "answers",
    "usable at first asking",
    "finals",
    "clean",
    "evaluations",
    "read at first asking",
    "lost after the second",
)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.realmodel")
    parser.add_argument("--prompts", type=int, default=66, help="threads a model and setting")
    parser.add_argument("--models", nargs="*", default=[model.name for model in MODELS])
    parser.add_argument("--schema", choices=("on", "off", "both"), default="both")
    parser.add_argument("--iterations", type=int, default=1, help="above 1: the answers are refined, too")
    parser.add_argument("--at-once", type=int, default=2, help="threads a model, at most its server's slots")
    parser.add_argument(
        "--log", type=Path, help="a file to which every reply is added; its threads are not asked again"
    )
    wanted = parser.parse_args()
    models = [model for model in MODELS if model.name in wanted.models]
    mute = [model.name for model in models if not model.is_served]
    if mute or len(models) < 2:
        print(f"not served: {', '.join(mute) or 'at least two models'}; start them by serve.sh", file=sys.stderr)
        return 2
    started = time.monotonic()
    rows: list[tuple[SmallModel, bool, Tally]] = []
    for with_schema in {"on": [True], "off": [False], "both": [True, False]}[wanted.schema]:
        tallies = measure(
            models,
            interleave(wanted.prompts),
            with_schema=with_schema,
            max_iterations=wanted.iterations,
            at_once=wanted.at_once,
            log=wanted.log,
        )
        rows += [(model, with_schema, tallies[model.name]) for model in models]
        show(rows, time.monotonic() - started)
    return 0


def show(rows: list[tuple[SmallModel, bool, Tally]], took_s: float) -> None:
    """Print the table, and what went wrong below it."""
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, {took_s:.0f} s\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for model, with_schema, tally in rows:
        cells = (
            model.label,
            "on" if with_schema else "off",
            tally.answers,
            share(tally.answers_usable, tally.answers),
            tally.finals,
            share(tally.finals - len(tally.unclean), tally.finals),
            tally.evaluations,
            share(tally.evaluations_read, tally.evaluations),
            tally.evaluations_lost,
        )
        print("| " + " | ".join(map(str, cells)) + " |")
    for model, with_schema, tally in rows:
        for problem, times in tally.problems.most_common(8):
            print(f"  {model.name} schema={with_schema}: {times} x {problem}", file=sys.stderr)
        for each in tally.unclean:
            print(f"  {model.name} schema={with_schema}: NOT CLEAN {each}", file=sys.stderr)


def share(part: int, whole: int) -> str:
    """A count and its percentage."""
    return f"{part} ({100 * part / whole:.0f} %)" if whole else "-"


if __name__ == "__main__":
    sys.exit(main())
