"""`orchestratex metrics`: how things went, by hour, day, week and month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestratex.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from orchestratex.domain.base import Period
    from orchestratex.steps.rolling import Rolled
    from orchestratex.steps.services import Services

COLUMNS = ("begins", "sessions", "threads", "iterations", "score", "accepted", "cost $", "errors", "latency ms", "up")
MODEL_COLUMNS = ("model", "selected", "attempts", "errors", "score", "cost $", "latency ms", "tokens")
SPARE = ("up", "accepted", "iterations", "latency ms")  # where a terminal is narrow
_MOST_RUNS = 100_000  # a run does more than nothing

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

From = Annotated[str | None, typer.Option("--from", help="A day or a moment, in UTC.")]
To = Annotated[str | None, typer.Option("--to", help="The day or moment before which the windows begin.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.callback()
def metrics() -> None:
    """Show how things went, by hour, day, week and month (in UTC), or bring these figures up to date."""


@app.command()
def show(
    period: Annotated[str, typer.Option(help="How long a window is: hourly, daily, weekly or monthly.")] = "hourly",
    since: From = None,
    until: To = None,
    limit: Annotated[int, typer.Option(help="Windows to show, the latest, 1-1000.")] = 24,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print every figure as CSV.")] = False,
) -> None:
    """Show the latest windows, and how the models did in the last of them."""
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import print_json
    from orchestratex.steps.windows import MAX_WINDOWS, view_windows

    if json and csv:
        raise InputError("--csv", "does not go with --json; choose one of them")
    if not 1 <= limit <= MAX_WINDOWS:
        raise InputError("--limit", f"must be from 1 to {MAX_WINDOWS}")
    wanted, (first, last) = _parse_period(period), _parse_range(since, until)
    with reach.reach_store(read_settings()) as reached:
        body = view_windows(wanted, reached.services.store, since=first, until=last, limit=limit)
    if json:
        print_json(body)
    elif csv:
        _print_csv(body["windows"])
    else:
        _print_tables(body["windows"], is_hourly=period == "hourly")


@app.command()
def roll(since: From = None, until: To = None, json: Json = False) -> None:
    """Roll up what is due now; with --from or --to every hour in between once more, whether or not it is due."""
    from orchestratex.cli import reach
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import print_json, print_line
    from orchestratex.domain.base import Period

    first, last = _parse_range(since, until)
    with reach.reach_store(read_settings()) as reached:
        done = _roll_all(first, last, reached.services)
    written = {period.value: [start.isoformat() for start in done.changed.get(period, [])] for period in Period}
    if json:
        print_json({"hours": [hour.isoformat() for hour in done.hours], "written": written})
        return
    counts = ", ".join(f"{len(starts)} {period}" for period, starts in written.items() if starts)
    print_line(f"hours rolled up: {len(done.hours)}; windows written: {counts or 'none, nothing has changed'}")


def _parse_period(text: str) -> Period:
    from orchestratex.domain.base import Period

    if text not in list(Period):
        raise InputError("--period", f"must be one of {', '.join(Period)}")
    return Period(text)


def _parse_range(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    first, last = _parse_moment("--from", since), _parse_moment("--to", until)
    if first is not None and last is not None and last <= first:
        raise InputError("--to", f"must be after --from, which is {first.isoformat()}")
    return first, last


def _parse_moment(name: str, text: str | None) -> datetime | None:
    from orchestratex.domain.inputs import parse_moment

    try:
        return None if text is None else parse_moment(text)
    except ValueError as error:
        raise InputError(name, str(error)) from error


def _roll_all(since: datetime | None, until: datetime | None, services: Services) -> Rolled:
    """Roll up until nothing is due, a bounded run after the other; returns what all of them did."""
    from orchestratex.steps.measure import measure
    from orchestratex.steps.rolling import BEGINNING, Rolled, roll_range

    done = Rolled()
    if since is not None or until is not None:
        done = roll_range(since or BEGINNING, until or services.clock(), services)
    for _ in range(_MOST_RUNS):
        done = done.and_then(measure(services))
        if done.is_caught_up:
            break
    return done


def _print_csv(windows: Sequence[Mapping[str, Any]]) -> None:
    """A row a window, the earliest first; a column a figure, named by its path."""
    import csv
    import io

    from orchestratex.cli.output import print_line

    rows = [_flatten(window) for window in reversed(windows)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    written = io.StringIO()
    writer = csv.DictWriter(written, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    print_line(written.getvalue().removesuffix("\n"))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = " ".join(value) if isinstance(value, list) else value
    return flat


def _print_tables(windows: Sequence[Mapping[str, Any]], *, is_hourly: bool) -> None:
    from orchestratex.cli.output import print_line, print_table

    if not windows:
        print_line("no window there; `orchestratex metrics roll` rolls up what is due")
        return
    print_table(COLUMNS, [_make_row(window, is_hourly=is_hourly) for window in reversed(windows)], spare=SPARE)
    print_line("")
    print_line(f"models, in the window that begins {windows[0]['metric_date']}:")
    print_table(MODEL_COLUMNS, [_make_model_row(*each) for each in windows[0]["model_usage_stats"].items()])


def _make_row(window: Mapping[str, Any], *, is_hourly: bool) -> list[str]:
    quality, health = window["quality_metrics"], window["system_health"]
    begins = window["metric_date"][: len("2026-12-31T18:00") if is_hourly else len("2026-12-31")]
    return [
        begins.replace("T", " "),
        str(window["total_sessions"]),
        str(window["total_threads"]),
        _number(window["average_iterations_per_thread"]),
        _number(quality["average_final_score"]),
        _percent(quality["user_satisfaction_rate"]),
        f"{window['cost_efficiency']['total_cost']:.6f}",
        _percent(health["error_rate"]),
        _number(health["average_response_time"], digits=0),
        "-" if health["uptime_percentage"] is None else f"{health['uptime_percentage']:.1f}%",
    ]


def _make_model_row(name: str, model: Mapping[str, Any]) -> list[str]:
    return [
        name,
        str(model["times_selected"]),
        str(model["attempts"]),
        _percent(model["error_rate"]),
        _number(model["average_score"]),
        f"{model['total_cost']:.6f}",
        _number(model["average_response_time"], digits=0),
        str(model["total_tokens"]),
    ]


def _number(value: float | None, *, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"
