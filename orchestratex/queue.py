"""The broker's side: the one Celery app, its queues and task names, and the shape of an iteration.

A message carries ids only and may be lost, doubled, late or out of order without harm: what is due stands in the store.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from bson import ObjectId
from celery import Celery, chain, group
from celery.canvas import Signature
from kombu.entity import Queue as BrokerQueue
from kombu.exceptions import OperationalError

from orchestratex.brokers import CONFIRM_S, broker_settings
from orchestratex.domain.base import Step
from orchestratex.errors import BrokerUnavailableError
from orchestratex.settings import Settings

_log = logging.getLogger(__name__)
CONTROL: Final = "ox.control"
RESPOND: Final = "ox.respond"
EVALUATE: Final = "ox.evaluate"
REFINE: Final = "ox.refine"
CALL_QUEUES: Final = (RESPOND, EVALUATE, REFINE)  # whose workers call models
_PING: Final = "ping"
_PING_S: Final = 10  # what a ping leaves in Redis is gone after this
DEFAULT: Final = "ox.default"  # nothing is sent here: a message in it was routed wrongly
QUEUES: Final = (CONTROL, RESPOND, EVALUATE, REFINE, DEFAULT)

FAN_OUT: Final = "orchestratex.fan_out"
RECONCILE: Final = "orchestratex.reconcile"
MEASURE: Final = "orchestratex.measure"
PROBE: Final = "orchestratex.probe"
TASKS: Final[dict[Step, str]] = {step: f"orchestratex.{step.value}" for step in Step}

_QUEUE_BY_TASK: Final = {
    TASKS[Step.RESPOND]: RESPOND,
    TASKS[Step.EVALUATE]: EVALUATE,
    TASKS[Step.REFINE]: REFINE,
    FAN_OUT: RESPOND,
}


class Queue(Protocol):
    """How work is announced. Every verb raises BrokerUnavailableError; the work is then left to reconcile."""

    def send_step(self, step: Step, thread_id: ObjectId) -> None:
        """Announce a step that needs no call."""

    def send_iteration(self, step: Step, thread_id: ObjectId) -> None:
        """Announce `respond` or `refine` with the fan-out that follows it."""

    def send_panel(self, thread_id: ObjectId, response_ids: Sequence[ObjectId]) -> None:
        """Announce the evaluations of a panel."""

    def send_later(self, step: Step, thread_id: ObjectId, response_id: ObjectId | None, *, delay_s: float) -> None:
        """Announce a waiting call again when its time has come, from this process's memory."""

    def length(self) -> int:
        """Messages waiting in all queues."""

    def ping(self) -> None:
        """Raises BrokerUnavailableError naming the address when the broker does not answer, or takes nothing."""

    def close(self) -> None:
        """Let go of connections."""


def make_app(settings: Settings) -> Celery:
    """The Celery app with everything that publishers and workers must agree on (see workers/app.py for the rest)."""
    app = Celery("orchestratex", set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        event_serializer="json",
        result_backend=None,
        task_ignore_result=True,  # nothing in Redis to lose; operators see tasks by their events
        task_queues=[BrokerQueue(name, routing_key=name) for name in QUEUES],
        task_default_queue=DEFAULT,
        task_create_missing_queues=False,  # a typo in a queue's name fails at the sender
        task_routes=lambda name, *_args, **_options: {"queue": _QUEUE_BY_TASK.get(name, CONTROL)},
        task_send_sent_event=True,
        task_publish_retry=True,
        task_publish_retry_policy={"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a long outage must not make a worker give up
        broker_channel_error_retry=True,  # READONLY during a failover is a channel error
        broker_pool_limit=32,
        enable_utc=True,
        **broker_settings(settings),
    )
    return app


class CeleryQueue:
    """The queue over Celery. An iteration is one chain, its panel one group: operators see one tree per thread."""

    def __init__(self, app: Celery, *, in_background: bool = False) -> None:
        """`in_background`: sending returns at once, for callers who cannot wait while a broker hangs."""
        self._app = app
        self._later = _Later()
        self._in_background = in_background
        self._counter: Any = None  # a connection, to count with
        self._counting = threading.Lock()

    def send_step(self, step: Step, thread_id: ObjectId) -> None:
        """See Queue."""
        self._publish(self._signature(TASKS[step], thread_id))

    def send_iteration(self, step: Step, thread_id: ObjectId) -> None:
        """See Queue."""
        self._publish(
            chain(self._signature(TASKS[step], thread_id), self._signature(FAN_OUT, thread_id), app=self._app)
        )

    def send_panel(self, thread_id: ObjectId, response_ids: Sequence[ObjectId]) -> None:
        """See Queue."""
        evaluate = TASKS[Step.EVALUATE]
        members = [self._signature(evaluate, thread_id, response_id) for response_id in response_ids]
        self._publish(group(members, app=self._app))

    def send_later(self, step: Step, thread_id: ObjectId, response_id: ObjectId | None, *, delay_s: float) -> None:
        """See Queue."""
        if response_id is None:
            self._later.call(delay_s, lambda: self.send_iteration(step, thread_id))
        else:
            self._later.call(delay_s, lambda: self.send_panel(thread_id, [response_id]))

    def length(self) -> int:
        """See Queue."""
        try:
            with self._counting:
                return self._count_again() if self._counter is None else self._count_or_again()
        except self._errors as error:
            raise BrokerUnavailableError(f"the broker at {self.address} does not answer: {error}") from error

    def close(self) -> None:
        """See Queue."""
        with self._counting:
            self._drop_counter()
        self._app.close()

    def ping(self) -> None:
        """See Queue."""
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
                self._require_writable(connection)
        except self._errors as error:
            raise BrokerUnavailableError(f"the broker at {self.address} does not answer: {error}") from error

    def _count_or_again(self) -> int:
        """Count over the connection that is kept; it may have died since."""
        try:
            return self._count(self._counter)
        except self._errors:
            return self._count_again()

    def _count_again(self) -> int:
        """Count over a new connection. Of Redis it is kept: connecting is more work than counting, and reconcile counts
        in each pass. One to RabbitMQ would need its heartbeats.
        """
        self._drop_counter()
        connection = self._app.connection_for_read()
        try:
            length = self._count(connection)
        except BaseException:
            connection.release()
            raise
        if connection.transport.driver_type == "redis":
            self._counter = connection
        else:
            connection.release()
        return length

    def _count(self, connection: Any) -> int:
        # declared as the workers do, not passively: kombu looks for the queue without the prefix of its key, so
        # it finds none in Redis, and RabbitMQ closes the channel that asks for a missing one
        queues = (self._app.amqp.queues[name](connection.default_channel) for name in QUEUES)
        return sum(int(queue.queue_declare().message_count) for queue in queues)

    def _drop_counter(self) -> None:
        if self._counter is not None:
            self._counter.release()
            self._counter = None

    @property
    def address(self) -> str:
        """Where the broker is, without credentials."""
        return str(self._app.connection_for_read().as_uri())

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        """What this broker raises; kombu translates only what it could recover from, a refused login for example not.

        Redis' list has KeyError, for a case inside kombu: here it would hide our own mistakes.
        """
        connection = self._app.connection_for_read()
        raised = (*connection.connection_errors, *connection.channel_errors)
        return (OperationalError, OSError, *(each for each in raised if not issubclass(each, LookupError)))

    def _require_writable(self, connection: Any) -> None:
        try:
            _try_writing(connection)
        except self._errors as error:
            raise BrokerUnavailableError(f"the broker at {self.address} takes no message: {error}") from error

    def _signature(self, name: str, *ids: ObjectId) -> Signature:
        options = {"queue": _QUEUE_BY_TASK.get(name, CONTROL), "confirm_timeout": CONFIRM_S}
        return self._app.signature(name, args=[str(each) for each in ids], immutable=True, options=options)

    def _publish(self, canvas: Signature) -> None:
        if self._in_background:
            self._later.call(0.0, lambda: self._publish_now(canvas))
        else:
            self._publish_now(canvas)

    def _publish_now(self, canvas: Signature) -> None:
        try:
            canvas.apply_async()
        except self._errors as error:
            raise BrokerUnavailableError(f"{self.address} took no message: {error}") from error


def _try_writing(connection: Any) -> None:
    """Write what harms nobody: a full broker, or a replica, answers all the same and takes nothing."""
    channel = connection.default_channel
    if connection.transport.driver_type == "redis":
        channel.client.set(_PING, 1, ex=_PING_S)
    else:  # to a queue that is not there: dropped by a server that is well, kept waiting by one that takes nothing
        channel.basic_publish(channel.prepare_message(b""), exchange="", routing_key=_PING, confirm_timeout=CONFIRM_S)


class MemoryQueue:
    """The queue's twin in memory: messages in a list, taken by `pop`; waiting ones are ready at once."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, tuple[ObjectId, ...]]] = []

    def send_step(self, step: Step, thread_id: ObjectId) -> None:
        """See Queue."""
        self.messages.append((TASKS[step], (thread_id,)))

    def send_iteration(self, step: Step, thread_id: ObjectId) -> None:
        """See Queue. The driver of this queue sends the fan-out after the step, as a chain does."""
        self.messages.append((TASKS[step], (thread_id,)))

    def send_panel(self, thread_id: ObjectId, response_ids: Sequence[ObjectId]) -> None:
        """See Queue."""
        self.messages.extend((TASKS[Step.EVALUATE], (thread_id, response_id)) for response_id in response_ids)

    def send_later(self, step: Step, thread_id: ObjectId, response_id: ObjectId | None, *, delay_s: float) -> None:  # noqa: ARG002
        """See Queue."""
        ids = (thread_id,) if response_id is None else (thread_id, response_id)
        self.messages.append((TASKS[step], ids))

    def length(self) -> int:
        """See Queue."""
        return len(self.messages)

    def ping(self) -> None:
        """Always there."""

    def close(self) -> None:
        """Nothing to let go of."""


_MOST_LATER: Final = 10_000  # messages in a process's memory


class _Later:
    """Runs publications when their time has come, on one daemon thread; lost with the process, as is allowed."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def call(self, delay_s: float, publish: Callable[[], None]) -> None:
        with self._wake:
            if len(self._heap) >= _MOST_LATER:
                return  # the broker hangs, and reconcile sends what is due when it is back
            heapq.heappush(self._heap, (time.monotonic() + delay_s, next(self._numbers), publish))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="send-later", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            publish = self._next()
            try:
                publish()
            except BrokerUnavailableError as error:
                _log.warning("a message waits for reconcile: %s", error)
            except Exception:  # noqa: BLE001 - an outer loop: what one of them meets must not keep the later ones
                _log.exception("a waiting call could not be announced: reconcile will")

    def _next(self) -> Callable[[], None]:
        with self._wake:
            while True:
                now = time.monotonic()
                if self._heap and self._heap[0][0] <= now:
                    return heapq.heappop(self._heap)[2]
                self._wake.wait(self._heap[0][0] - now if self._heap else None)
