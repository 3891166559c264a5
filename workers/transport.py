"""Three corrections to kombu's Redis transport (5.7), each with its reason. Applied once, when the app is imported.

RabbitMQ's transport needs none: it has frames instead of JSON, and py-amqp's connections.
"""

from __future__ import annotations

from typing import Any

import kombu.transport.redis as transport
from kombu.transport.redis import Channel, Transport

from workers.dead import bury
from workers.refusal import find_envelope_problem

_load = transport.loads  # type: ignore[attr-defined]
_deliver = Transport._deliver
_read_parameters = Channel._connparams
_make_client = Channel._create_client


def correct_transport() -> None:
    """Put all corrections in force."""
    transport.loads = _load_anything  # type: ignore[attr-defined,assignment]
    Transport._deliver = _deliver_or_bury  # type: ignore[method-assign]
    Channel._connparams = _read_parameters_of_living  # type: ignore[method-assign]
    Channel._create_client = _reuse_client  # type: ignore[method-assign]


def _read_parameters_of_living(channel: Any, asynchronous: bool = False) -> Any:
    """Raise ConnectionError, from which kombu recovers, where it would read an attribute of a connection that is gone.

    Without this a worker dies of the AttributeError when Redis dies under a running task.
    """
    if channel.connection.client is None:
        raise ConnectionError("the connection to the broker is closed")
    return _read_parameters(channel, asynchronous=asynchronous)


def _reuse_client(channel: Any, asynchronous: bool = False) -> Any:
    """Keep one client per channel and pool: kombu makes one for every message, acknowledgement and event.

    Making one took 13 % of a busy worker's time; a client only borrows connections from the pool and is thread-safe.
    """
    if asynchronous:
        return _make_client(channel, asynchronous=True)
    kept = getattr(channel, "_orchestratex_client", None)
    if kept is None or kept.connection_pool is not channel.pool:
        kept = channel._orchestratex_client = _make_client(channel)
    return kept


def _load_anything(text: str) -> Any:
    """Return what is not JSON as it is, for `_deliver_or_bury` to find: raising here would end the worker."""
    try:
        return _load(text)
    except (ValueError, RecursionError):
        return text


def _deliver_or_bury(self: Any, message: Any, queue: str) -> None:
    """Keep elements away from consumers that kombu cannot make a message of."""
    problem = find_envelope_problem(message)
    if problem is None:
        _deliver(self, message, queue)
    else:
        bury(next(iter(self.channels), None), str(message), queue=queue, why=problem)
