"""What processes log: a line a record, as text or JSON, with thread, model and cost beside the message."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from orchestratex.errors import ProviderError, StoreUnavailableError
from orchestratex.loglines import JsonFormatter, LogFormat, about, setup_logging
from orchestratex.settings import Settings
from tests.support import World
from workers.logs import setup_worker_logging

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put back what a test sets up for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in list(logging.Logger.manager.loggerDict)}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in list(logging.Logger.manager.loggerDict):
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    logging.captureWarnings(False)


def log_a_thread(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> list[str]:
    setup_logging("INFO", form)
    World().solve("Write a haiku about the sea.", max_iterations=1)
    return capsys.readouterr().err.splitlines()


def test_events_are_lines_with_thread_model_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    lines = log_a_thread("text", capsys)

    (answered,) = [line for line in lines if "event=response_generated" in line]
    (thread,) = {line.partition("thread=")[2].partition(" ")[0] for line in lines if "thread=" in line}
    assert f"thread={thread}" in answered
    assert "model=" in answered
    assert "cost_usd=0." in answered
    assert len([line for line in lines if "event=evaluation_completed" in line and "score=" in line]) > 1
    assert len(lines) == len(set(lines))


def test_events_as_json_hold_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    lines = log_a_thread("json", capsys)

    said = [json.loads(line) for line in lines]
    (answered,) = [each for each in said if each.get("event") == "response_generated"]
    assert {"time", "level", "logger", "message", "process", "pid", "thread", "session"} <= set(answered)
    assert answered["level"] == "info"
    assert datetime.fromisoformat(answered["time"]).tzinfo is not None
    assert isinstance(answered["model"], str)
    assert answered["cost_usd"] > 0
    assert answered["iteration"] == 1


def test_an_event_that_is_not_recorded_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()

    def refuse(_events: object) -> None:
        raise StoreUnavailableError("MongoDB at x does not answer")

    monkeypatch.setattr(world.store, "insert_logs", refuse)
    world.submit("Why is the sky blue?")

    told = [record for record in caplog.records if record.name == "orchestratex.events"]
    assert told
    assert all(each.levelno == logging.WARNING and "(not recorded: MongoDB" in each.getMessage() for each in told)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_message_of_several_lines_is_one_line(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("INFO", form)

    logging.getLogger("x").error(
        "cannot connect.\r\nTrying again in 2 s\n\n", extra=about(path="/a b\n\x1b[0m", gone=None)
    )

    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot connect. Trying again in 2 s" in line
    assert "\x1b" not in line
    assert "gone" not in line


@pytest.mark.parametrize(
    ("error", "has_traceback"),
    [
        (StoreUnavailableError("MongoDB does not answer"), False),
        (OperationalError("Error 111"), False),
        (ConnectionRefusedError(111, "refused"), False),
        (ProviderError("gpt4", "wrong"), True),
        (KeyError("x"), True),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_away_has_no_traceback_and_our_own_mistakes_have(
    error: Exception, has_traceback: bool, form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_worker_logging(Settings(log_format=form))

    try:
        raise error
    except type(error):
        logging.getLogger("celery.worker.consumer").exception("it failed: %s", error)

    said = capsys.readouterr().err
    assert ("Traceback" in said) is has_traceback
    assert "it failed" in said


@pytest.mark.parametrize(("level", "is_told"), [("INFO", False), ("DEBUG", True)])
def test_each_task_and_message_is_told_at_debug(level: str, is_told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    setup_worker_logging(Settings(log_level=level))

    logging.getLogger("celery.app.trace").info("Task orchestratex.reconcile[1] succeeded in 0.1s: {}")
    logging.getLogger("celery.worker.strategy").info("Task orchestratex.reconcile[1] received")

    assert ("reconcile" in capsys.readouterr().err) is is_told


def test_failures_of_tasks_are_told_at_any_level(capsys: pytest.CaptureFixture[str]) -> None:
    setup_worker_logging(Settings(log_level="WARNING"))

    logging.getLogger("celery.app.trace").error("Task orchestratex.measure[1] raised unexpected: KeyError('x')")

    assert "raised unexpected" in capsys.readouterr().err


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="log_format"):
        Settings.model_validate({"log_format": "xml"})


def test_numbers_stay_numbers_in_json_and_ids_become_text() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "m", (), None)
    record.__dict__.update(about(cost_usd=0.5, iteration=2, passed=True, where=Path("/x")))

    said = json.loads(JsonFormatter().format(record))

    assert (said["cost_usd"], said["iteration"], said["passed"], said["where"]) == (0.5, 2, True, "/x")


def test_a_warning_of_a_library_is_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import warnings; from orchestratex.loglines import setup_logging; setup_logging('INFO', 'json'); "
        "warnings.warn('several\\nlines')"
    )

    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    (line,) = ran.stderr.splitlines()
    assert "several lines" in json.loads(line)["message"]
