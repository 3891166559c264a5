"""The limiter over Redis: one schedule for every worker on every machine. `limiter.lua` is its twin there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from orchestratex.brokers import check_certificates, is_sentinel, parse_sentinels, sentinel_options
from orchestratex.errors import LimiterUnavailableError
from orchestratex.limits.base import SEAT_S, CallIds, Pacing, Wait

Client = redis.Redis  # one a process, safe among threads

_TIMEOUT_S = 2.0  # a limiter that answers later than this is as good as away
_HEALTH_CHECK_S = 15
_PING_S = 10  # what a ping leaves is gone after this
_KEYS = ("lane", "slots", "booked", "log", "charged", "line", "expected", "seated")


def connect(
    url: str, *, timeout_s: float = _TIMEOUT_S, master: str = "mymaster", sentinel_password: SecretStr | None = None
) -> Client:
    """Make a client; it connects when it is first used, and again once by itself where a connection has died.

    Behind Sentinels it asks them for the master whenever it connects, so it follows a failover.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "health_check_interval": _HEALTH_CHECK_S,
        "retry": Retry(NoBackoff(), 1),
    }
    if not is_sentinel(url):
        return redis.Redis.from_url(check_certificates(url), **options)
    known = parse_sentinels(url)
    asking = sentinel_options(sentinel_password, timeout_s=timeout_s) | {"retry": options["retry"]}
    sentinel = Sentinel(known.nodes, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    options |= {"username": known.username, "password": known.password, "db": known.database}
    client: Client = sentinel.master_for(master, **options)  # type: ignore[no-untyped-call]
    return client


class Script:
    """A Lua script whose keys share one model's hash tag. Raises LimiterUnavailableError when Redis is away."""

    def __init__(self, client: Client, path: Path, *, prefix: str, keys: tuple[str, ...], constants: object) -> None:
        lines = [f"local {name.upper()} = {value!r}\n" for name, value in vars(constants).items()]
        self._script = client.register_script("".join(lines) + path.read_text(encoding="utf-8"))
        self._client = client
        self._prefix = prefix
        self._keys = keys

    def run(self, model: str, *arguments: str | float) -> str:
        """Run it for one model."""
        keys = [f"{self._prefix}{{{model}}}:{key}" for key in self._keys]
        with self._translating():
            return str(self._script(keys=keys, args=list(arguments)))

    def ping(self) -> None:
        """Ask Redis whether it is there and takes what is written: a full one, or a replica, only answers."""
        with self._translating():
            self._client.set(f"{self._prefix}ping", 1, ex=_PING_S)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:  # whatever the reason, nobody knows what is allowed
            raise LimiterUnavailableError(f"the limits in Redis at {self._address} cannot be asked: {error}") from error

    @property
    def _address(self) -> str:
        pool = self._client.connection_pool
        if isinstance(pool, SentinelConnectionPool):
            return f"the Sentinels' master {pool.service_name}"
        where = pool.connection_kwargs
        return str(where.get("path") or f"{where.get('host')}:{where.get('port')}")


class RedisLimiter:
    """The limits that all workers share, judged by Redis' clock."""

    def __init__(self, client: Client, *, prefix: str, pacing: Pacing | None = None) -> None:
        path = Path(__file__).with_name("limiter.lua")
        constants = pacing or Pacing()
        self._script = Script(client, path, prefix=f"{prefix}limit:", keys=_KEYS, constants=constants)

    def book(
        self,
        model: str,
        *,
        call_id: str,
        requests_per_minute: int,
        tokens_per_minute: int,
        tokens: int,
        seats: int | None = None,
        seat_s: float = SEAT_S,
    ) -> Wait:
        """See Limiter."""
        rates = (requests_per_minute, tokens_per_minute, tokens)
        wait_s, is_for_seat = self._script.run(model, "book", call_id, *rates, seats or 0, seat_s).split()
        return Wait(float(wait_s), is_for_seat=is_for_seat == "1")

    def correct(self, model: str, *, call_id: str, estimated: int, actual: int) -> CallIds:
        """See Limiter."""
        return self._woken(self._script.run(model, "correct", call_id, estimated, actual))

    def release(self, model: str, *, call_id: str) -> CallIds:
        """See Limiter."""
        return self._woken(self._script.run(model, "release", call_id))

    def forget(self, model: str, *, call_id: str) -> CallIds:
        """See Limiter."""
        return self._woken(self._script.run(model, "forget", call_id))

    def ping(self) -> None:
        """See Limiter."""
        self._script.ping()

    def pause(self, model: str, *, seconds: float) -> None:
        """See Limiter."""
        self._script.run(model, "pause", "", seconds)

    @staticmethod
    def _woken(answer: str) -> CallIds:
        return tuple(answer.split()[2:])
