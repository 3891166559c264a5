from __future__ import annotations

from typing import Any

from pydantic import Field

from orchestratex.domain.base import Component, Count, Document, Id, LogLevel, Millis, ModelName, UtcDate


class LogEvent(Document):
    """One event in the life of the system, for people and for the audit."""

    session_id: Id | None = None
    thread_id: Id | None = None
    log_level: LogLevel
    component: Component
    event_type: str = Field(min_length=1)
    message: str
    details: dict[str, Any] = {}
    error_stack: str | None = None
    iteration_number: Count | None = None
    model_involved: ModelName | None = None
    processing_time: Millis | None = None
    memory_usage: float = Field(ge=0)  # MB, of the process that speaks
    active_requests: Count  # calls that the process has in flight
    queue_length: Count | None = None  # messages waiting in all queues; None = unknown
    timestamp: UtcDate
