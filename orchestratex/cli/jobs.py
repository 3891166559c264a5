"""Threads that a command asked for, and the session that it opened for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bson import ObjectId

from orchestratex.advance import end_session
from orchestratex.cli.inputs import require_models
from orchestratex.domain.base import SessionStatus
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.errors import InputError
from orchestratex.steps.retry import has_ended_well, retry
from orchestratex.steps.services import Services
from orchestratex.steps.submit import (
    SessionRequest,
    ThreadRequest,
    check_thread,
    plan_session,
    submit,
    submit_new,
)


class Work(Protocol):
    """What a command has to have done by workers."""

    is_left_alone: bool  # nobody works on it when this command ends

    def submit(self, services: Services) -> None:
        """Hand it in, once, however often it is called."""

    def end(self, services: Services) -> None:
        """Leave nothing open."""


class Job:
    """Submits once, however often it is asked to; the lines are for errors about one of many requests."""

    def __init__(
        self,
        session: SessionRequest | ObjectId,
        requests: Sequence[ThreadRequest],
        *,
        lines: Sequence[int] | None = None,
    ) -> None:
        self._session = session
        self._requests = requests
        self._lines = lines
        self.threads: list[Thread] = []  # as they were submitted
        self.is_left_alone = True  # until it is known who works on it

    def submit(self, services: Services) -> None:
        """Check everything, then open the session where none is named, and submit. Raises InputError, CapacityError."""
        if self.threads:
            return
        require_models(services)
        session = self._find_session(services)
        for at, request in enumerate(self._requests):
            self._check(at, request, session, services)
        if isinstance(self._session, SessionRequest):
            self.threads = submit_new(self._session, self._requests, services)
        else:
            self.threads = submit(session.id, self._requests, services)

    def end(self, services: Services) -> None:
        """End the session if it was opened here."""
        if self.threads and isinstance(self._session, SessionRequest):
            end_session(self.threads[0].session_id, services)

    def _find_session(self, services: Services) -> Session:
        """The named session, or one like that which will be opened: nothing may be written before all is checked."""
        if isinstance(self._session, ObjectId):
            return services.store.get_session(self._session)
        return plan_session(self._session, services)

    def _check(self, at: int, request: ThreadRequest, session: Session, services: Services) -> None:
        try:
            check_thread(request, session, services)
        except InputError as error:
            if self._lines is None:
                raise
            raise InputError(f"line {self._lines[at]}", str(error)) from error


class Resumption:
    """Takes an ended thread up again, once, however often it is asked to.

    One that still runs is waited for; one that ended well, as it may while its command is interrupted, is shown.
    """

    def __init__(self, thread_id: ObjectId) -> None:
        self._thread_id = thread_id
        self._is_session_ended = False
        self.threads: list[Thread] = []
        self.is_left_alone = True  # until it is known who works on it

    def submit(self, services: Services) -> None:
        """Resume the thread. Raises NotFoundError."""
        if self.threads:
            return
        thread = services.store.get_thread(self._thread_id)
        if not thread.is_ended or has_ended_well(thread):
            self.threads = [thread]
            return
        self._is_session_ended = services.store.get_session(thread.session_id).status is not SessionStatus.ACTIVE
        self.threads = [retry(self._thread_id, services)]

    def end(self, services: Services) -> None:
        """End the session if it had been ended before."""
        if self._is_session_ended:
            end_session(self.threads[0].session_id, services)
