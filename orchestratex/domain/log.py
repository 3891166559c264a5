from __future__ import annotations

from typing import Any

from pydantic import Field

from orchestratex.domain.base import Component, Count, Document, Id, LogLevel, Millis, ModelName, UtcDate


class LogEvent(Document):
    """One event in the life of the system, for people and for the audit."""

    session_id: Id | None = None  # None: about no session, as a probe of a model
    thread_id: Id | None = None  # None: about no thread
    log_level: LogLevel
    component: Component
    event_type: str = Field(min_length=1)  # an open set, in snake_case: model_selected, panel_opened, ...
    message: str  # for people
    details: dict[str, Any] = {}
    error_stack: str | None = None  # where an error was raised; of a failed thread: of the last on the way there
    iteration_number: Count | None = None
    model_involved: ModelName | None = None
    processing_time: Millis | None = None  # of what the event tells
    memory_usage: float = Field(ge=0)  # MB, of the process that speaks
    active_requests: Count  # calls that the process has in flight
    queue_length: Count | None = None  # messages waiting in all queues; None = unknown
    timestamp: UtcDate
