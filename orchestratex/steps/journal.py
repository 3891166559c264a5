"""What happened, written to orchestration_logs with the state of the process that speaks."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Concatenate, ParamSpec

import psutil
from bson import ObjectId

from orchestratex.domain.base import Component, LogLevel, to_usd
from orchestratex.domain.log import LogEvent
from orchestratex.domain.thread import Thread
from orchestratex.errors import StoreUnavailableError
from orchestratex.loglines import about
from orchestratex.store.base import Store

_log = logging.getLogger("orchestratex.events")
_log.addHandler(logging.NullHandler())  # a command that sets up no logging has views of its own
_SAMPLE_S = 1.0  # the process is looked at no more often
QUEUE_LENGTH = "queue_length"


_Fields = ParamSpec("_Fields")


def _recorded(
    note: Callable[Concatenate[Journal, _Fields], LogEvent],
) -> Callable[Concatenate[Journal, _Fields], None]:
    """`note` with the event written at once, under the same arguments."""

    def write(journal: Journal, /, *args: _Fields.args, **fields: _Fields.kwargs) -> None:
        journal.write_all([note(journal, *args, **fields)])

    return write


class Journal:
    """Writes log events. An event that cannot be written goes to the process's own log: no step fails for it."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime], active_requests: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._active_requests = active_requests
        self._process = psutil.Process()
        self._sampled_at = 0.0
        self._memory_mb = 0.0
        self._queue_length: int | None = None

    def note(
        self,
        /,
        component: Component,
        event_type: str,
        message: str,
        *,
        thread: Thread | None = None,
        session_id: ObjectId | None = None,
        level: LogLevel = LogLevel.INFO,
        model: str | None = None,
        iteration: int | None = None,
        processing_time: float | None = None,
        error: BaseException | None = None,
        stack: str | None = None,
        **details: Any,
    ) -> LogEvent:
        """An event that is not written yet.

        `details` are its structured data, `processing_time` is in milliseconds; `stack` is that of an error which was
        caught elsewhere.
        """
        self._sample()
        return LogEvent(
            session_id=thread.session_id if thread else session_id,
            thread_id=thread.id if thread else None,
            log_level=level,
            component=component,
            event_type=event_type,
            message=message,
            details=details,
            error_stack="".join(traceback.format_exception(error)) if error else stack,
            iteration_number=iteration if iteration is not None else (thread.current_iteration if thread else None),
            model_involved=model,
            processing_time=processing_time,
            memory_usage=self._memory_mb,
            active_requests=self._active_requests(),
            queue_length=self._queue_length,
            timestamp=self._clock(),
        )

    write = _recorded(note)

    def write_all(self, events: Sequence[LogEvent]) -> None:
        """Record events that were noted, in one write."""
        if not events:
            return
        unrecorded: StoreUnavailableError | None = None
        try:
            self._store.insert_logs(events)
        except StoreUnavailableError as error:
            unrecorded = error
        for event in events:
            _tell(event, unrecorded)

    def _sample(self) -> None:
        now = time.monotonic()
        if now - self._sampled_at < _SAMPLE_S:
            return
        self._sampled_at = now
        self._memory_mb = self._process.memory_info().rss / 1e6
        try:
            self._queue_length = self._store.get_sample(QUEUE_LENGTH)
        except StoreUnavailableError:
            self._queue_length = None


def _tell(event: LogEvent, unrecorded: StoreUnavailableError | None) -> None:
    """The event as a line of the process's own log; one that stands nowhere else is a warning at least."""
    level = logging.getLevelNamesMapping()[event.log_level.upper()]
    if unrecorded is not None:
        level = max(level, logging.WARNING)
    nanos = event.details.get("cost_nanos")
    fields = about(
        event=event.event_type,
        thread=event.thread_id,
        session=event.session_id,
        iteration=event.iteration_number,
        model=event.model_involved,
        cost_usd=to_usd(nanos) if nanos is not None else None,
        took_ms=round(event.processing_time) if event.processing_time is not None else None,
        score=event.details.get("score"),
    )
    suffix = f" (not recorded: {unrecorded})" if unrecorded is not None else ""
    _log.log(level, "%s%s", event.message, suffix, extra=fields)
