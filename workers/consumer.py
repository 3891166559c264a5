"""Celery's consumer, except that no message can end it: what cannot be a call of our tasks is refused at the door."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer

from workers.dead import bury
from workers.refusal import find_message_problem

_log = logging.getLogger(__name__)


class RefusingConsumer(Consumer):  # type: ignore[misc] # Celery carries no types
    """Refuses messages of other versions and of strangers: one line, acknowledged, nothing lost.

    What is due stands in the store, so that reconcile sends a refused step again in this version's words.
    """

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:
        """Celery's handler behind the check."""
        handle = super().create_task_handler(*arguments, **options)

        def on_message(message: Any) -> None:
            problem = find_message_problem(message, self.app.tasks)
            if problem is not None:
                self._refuse(message, problem)
                return
            try:
                handle(message)
            except Exception as error:
                if message.acknowledged or self._is_broken(error):
                    raise
                _log.exception("a message could not be taken")  # an outer loop: it would end one worker after another
                self._refuse(message, "it could not be taken")

        return on_message

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """Celery found something that the check does not know."""
        self._refuse(message, str(exc)[:100])

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """As on_invalid_task."""
        self._refuse(message, type(exc).__name__)

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """Connect for events, without confirmations: these are read by the loop and by the thread that sends, and the
        loop then has what the thread waits for, while it waits for the thread's lock.
        """
        connection = self.app.connection_for_write(url, heartbeat=heartbeat)
        if "confirm_publish" in connection.transport_options:
            connection.transport_options = {**connection.transport_options, "confirm_publish": False}
        return self.ensure_connected(connection)

    def _is_broken(self, error: Exception) -> bool:
        """Tell whether it is the broker's fault, so that the message comes back; kombu counts KeyError among these."""
        return isinstance(error, (*self.connection_errors, *self.channel_errors)) and not isinstance(error, LookupError)

    def _refuse(self, message: Any, why: str) -> None:
        target = (message.delivery_info or {}).get("routing_key", "?")
        body = message.body if isinstance(message.body, str) else bytes(message.body or b"").decode(errors="replace")
        bury(message.channel, f"{message.headers} {body}", queue=target, why=why)
        message.reject_log_error(_log, self.connection_errors)
