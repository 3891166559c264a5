"""What a process logs: one harmless line a record, as text or as JSON, with what it is about behind the message."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal

from orchestratex.errors import UnavailableError
from orchestratex.terminal import dump_json, escape

LogFormat = Literal["text", "json"]

TEXT: Final = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"
ABOUT: Final = "about"  # the attribute of a record that holds its fields, by name


def about(**fields: object) -> dict[str, dict[str, object]]:
    """What a record is about, for logging's `extra`: thread, model, cost_usd and so on; None is left out."""
    return {ABOUT: {name: value for name, value in fields.items() if value is not None}}


def setup_logging(level: str, form: LogFormat = "text", *, untraced: tuple[type[BaseException], ...] = ()) -> None:
    """Log to stderr from here on, whatever was set up before; warnings of libraries are records, too.

    Errors of the classes `untraced`, and services that do not answer, are told without a traceback: they come from
    outside, again and again, and their message says all that is known.
    """
    handler = _Stderr()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(TEXT))
    handler.addFilter(_Untraced((UnavailableError, *untraced)))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


class TextFormatter(logging.Formatter):
    """The message on one line, then its fields as name=value; a traceback follows on lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """See logging.Formatter."""
        record.message = _join(record.message)
        fields = "".join(f" {name}={_show(value)}" for name, value in _read_about(record).items())
        return f"{super().formatMessage(record)}{fields}"

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter; what a record repeats of other people's text can do nothing."""
        return escape(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time (UTC), level, logger, message, process, pid, its fields, perhaps a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _join(record.getMessage()),
            "process": record.processName,
            "pid": record.process,
            **_read_about(record),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return dump_json({name: _make_plain(value) for name, value in said.items()})


class _Untraced(logging.Filter):
    """Takes tracebacks away that say nothing beyond their message."""

    def __init__(self, classes: tuple[type[BaseException], ...]) -> None:
        super().__init__()
        self._classes = classes

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(getattr(error, "exc", error), self._classes):  # Celery wraps a task's error
            record.exc_info = record.exc_text = None
        return True


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what is stderr now."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.StreamHandler."""
        self.stream = sys.stderr
        super().emit(record)


def _read_about(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, ABOUT, None)
    return fields if isinstance(fields, dict) else {}


def _join(message: str) -> str:
    """Several lines as one."""
    return " ".join(line.strip() for line in message.splitlines() if line.strip())


def _show(value: object) -> str:
    text = f"{value:.6f}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(map(str.isspace, text)) or '"' in text else text


def _make_plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
