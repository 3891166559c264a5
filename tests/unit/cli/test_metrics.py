"""`orchestratex metrics`."""

from __future__ import annotations

import csv
import io
import json

import pytest

from orchestratex.domain.base import Period
from orchestratex.steps.measure import measure
from tests.support import World
from tests.unit.cli.conftest import Run


@pytest.fixture
def _worked(world: World) -> None:
    """Two days on which a prompt was answered."""
    for _ in range(2):
        world.solve("What is a monad?", max_iterations=1)
        world.clock.pass_time(86400)


@pytest.mark.usefixtures("_worked")
def test_roll_says_what_it_did_and_a_second_time_that_there_is_nothing_to_do(run: Run) -> None:
    first, second = run("metrics", "roll"), run("metrics", "roll")

    assert (first.code, second.code) == (0, 0)
    assert first.out == "hours rolled up: 3; windows written: 3 hourly, 3 daily, 1 weekly, 1 monthly\n"
    assert second.out.endswith("windows written: none, nothing has changed\n")


@pytest.mark.usefixtures("_worked")
def test_roll_names_the_windows_that_it_wrote(run: Run, world: World) -> None:
    body = json.loads(run("metrics", "roll", "--json").out)

    days = [window.metric_date.isoformat() for window in reversed(world.store.metrics("daily", limit=9))]
    assert body["written"]["daily"] == days
    assert len(body["hours"]) == len(body["written"]["hourly"]) == 3
    assert json.loads(run("metrics", "roll", "--json").out)["written"] == {period.value: [] for period in Period}


@pytest.mark.usefixtures("_worked")
def test_roll_rolls_a_range_up_again(run: Run) -> None:
    run("metrics", "roll")

    body = json.loads(run("metrics", "roll", "--from", "2026-01-01", "--to", "2026-01-02", "--json").out)

    assert body["hours"][0].startswith("2026-01-01T00:00")
    assert body["written"]["hourly"] == []


@pytest.mark.usefixtures("_worked")
@pytest.mark.parametrize("period", Period)
def test_show_lists_windows_and_models(run: Run, period: str) -> None:
    run("metrics", "roll")

    ran = run("metrics", "show", "--period", period)

    assert ran.code == 0
    assert "models, in the window that begins 202" in ran.out
    assert "claude" in ran.out


@pytest.mark.usefixtures("_worked")
def test_show_as_json_is_what_the_api_gives(run: Run, world: World) -> None:
    run("metrics", "roll")

    body = json.loads(run("metrics", "show", "--period", "daily", "--from", "2026-01-02", "--json").out)

    assert body["period"] == "daily"
    assert [window["total_threads"] for window in body["windows"]] == [0, 1]
    assert {"sums", "rolls", "open_sessions"}.isdisjoint(body["windows"][0])


@pytest.mark.usefixtures("_worked")
def test_show_as_csv_has_a_row_a_window_and_a_column_a_figure(run: Run) -> None:
    run("metrics", "roll")

    rows = list(csv.DictReader(io.StringIO(run("metrics", "show", "--period", "daily", "--csv").out)))

    assert [row["total_threads"] for row in rows] == ["1", "1", "0"]
    assert rows[0]["model_usage_stats.claude.attempts"] == "1"
    assert rows[2]["quality_metrics.average_final_score"] == ""
    assert rows[0]["metric_date"] == "2026-01-01T00:00:00Z"


def test_show_says_what_to_do_where_there_is_nothing(run: Run) -> None:
    ran = run("metrics", "show")

    assert ran.code == 0
    assert "orchestratex metrics roll" in ran.out
    assert run("metrics", "show", "--csv").out.strip() == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "--period", "yearly"], "--period: must be one of hourly, daily, weekly, monthly"),
        (["show", "--from", "yesterday"], "--from: must be a day or a moment in UTC"),
        (["show", "--to", "2026-13-01"], "--to: must be a day or a moment in UTC"),
        (["show", "--from", "2026-01-02", "--to", "2026-01-02"], "--to: must be after --from"),
        (["roll", "--from", "2026-01-02", "--to", "2026-01-01"], "--to: must be after --from"),
        (["show", "--json", "--csv"], "--csv: does not go with --json"),
        (["show", "--limit", "0"], "--limit: must be from 1 to 1000"),
    ],
)
def test_bad_input_is_told_with_its_limit(run: Run, arguments: list[str], told: str) -> None:
    ran = run("metrics", *arguments)

    assert ran.code == 2
    assert told in ran.err
    assert ran.out == ""


def test_moments_may_have_a_zone(run: Run, world: World) -> None:
    measure(world.services)

    shown = json.loads(run("metrics", "show", "--from", "2026-01-01T02:00:00+02:00", "--json").out)
    later = json.loads(run("metrics", "show", "--from", "2026-01-01T00:00:01", "--json").out)

    assert [len(body["windows"]) for body in (shown, later)] == [1, 0]
