"""Every document of a thread, by collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from orchestratex.domain.base import Document, Period
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.evaluation import Evaluation
from orchestratex.domain.log import LogEvent
from orchestratex.domain.metrics import Metrics
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.rules.periods import end_period, start_period
from orchestratex.store.base import COLLECTIONS, Store


@dataclass(frozen=True)
class ThreadDocuments:
    """What is stored about one thread."""

    session: Session
    thread: Thread
    profiles: list[Profile]  # of the models that took part
    responses: list[Response]
    evaluations: list[Evaluation]
    selections: list[Selection]
    criticisms: list[CriticismResponse]
    logs: list[LogEvent]
    metrics: list[Metrics]  # the hours in which it ran

    def by_kind(self) -> dict[type[Document], Sequence[Document]]:
        """The documents by their class."""
        return {
            Session: [self.session],
            Thread: [self.thread],
            Profile: self.profiles,
            Response: self.responses,
            Evaluation: self.evaluations,
            Selection: self.selections,
            CriticismResponse: self.criticisms,
            LogEvent: self.logs,
            Metrics: self.metrics,
        }


def read_documents(thread_id: ObjectId, store: Store) -> ThreadDocuments:
    """Read everything about a thread. Raises NotFoundError."""
    thread = store.get_thread(thread_id)
    responses = store.responses_of(thread_id)
    involved = {response.model_name for response in responses}
    return ThreadDocuments(
        session=store.get_session(thread.session_id),
        thread=thread,
        profiles=[profile for profile in store.profiles() if profile.model_name in involved],
        responses=responses,
        evaluations=store.evaluations_of(thread_id),
        selections=store.selections_of(thread_id),
        criticisms=store.criticisms_of(thread_id),
        logs=store.logs_of(thread_id),
        metrics=_read_metrics(thread, responses, store),
    )


def dump_documents(documents: ThreadDocuments) -> dict[str, list[dict[str, Any]]]:
    """The documents as JSON, keyed by the names of the nine collections."""
    by_kind = documents.by_kind()
    return {
        name: [each.model_dump(mode="json", by_alias=True, fallback=str) for each in by_kind[kind]]
        for name, kind in COLLECTIONS.items()
    }


def _read_metrics(thread: Thread, responses: list[Response], store: Store) -> list[Metrics]:
    """The hourly windows from the thread's first call to its last event."""
    moments: list[datetime] = [thread.created_at, *(response.timestamp for response in responses)]
    if thread.completed_at is not None:
        moments.append(thread.completed_at)
    start = start_period(Period.HOURLY, min(moments))
    end = end_period(Period.HOURLY, start_period(Period.HOURLY, max(moments)))
    windows = store.scan_between(Metrics, "metric_date", start, end)
    hourly = [window for window in windows if window.time_period is Period.HOURLY]
    return sorted(hourly, key=lambda window: window.metric_date)
