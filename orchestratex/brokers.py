"""What a broker's address means: Redis, Redis over TLS, Redis behind Sentinels, or RabbitMQ."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr

from orchestratex.settings import Settings

LOCAL_REDIS: Final = "redis://127.0.0.1:6379/0"
CONFIRM_S: Final = 5  # RabbitMQ: a message that is not confirmed by then counts as not taken; Redis answers by itself

_CONNECT_S = 5
_MAX_CONNECTIONS = 512  # kombu's default of 10 starves acknowledgements: messages then come back an hour later
_HEARTBEAT_S = 20  # RabbitMQ: a half-open connection is found within two of them
_SENTINEL_PORT = 26379


@dataclass(frozen=True)
class Sentinels:
    """Who knows the address of the master, and what the master wants to hear."""

    nodes: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    database: int


def is_sentinel(url: str) -> bool:
    """Tell whether the address names Sentinels."""
    return urlsplit(url).scheme == "sentinel"


def parse_sentinels(url: str) -> Sentinels:
    """Read `sentinel://user:password@host:port;sentinel://host:port/database`; the credentials are the master's."""
    parts = [urlsplit(each) for each in url.split(";")]
    named = next((part for part in parts if part.password), parts[0])
    path = next((part.path for part in parts if part.path.strip("/")), "/0")
    return Sentinels(
        nodes=tuple((part.hostname or "127.0.0.1", part.port or _SENTINEL_PORT) for part in parts),
        username=unquote(named.username) if named.username else None,
        password=unquote(named.password) if named.password else None,
        database=int(path.strip("/")),
    )


def check_certificates(url: str) -> str:
    """Return a Redis address that says how certificates are checked: they are, unless it says otherwise.

    kombu would check none where the address is silent, and redis-py does not know Celery's names for the three ways.
    """
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return url
    options = dict(parse_qsl(parts.query))
    options["ssl_cert_reqs"] = _requirement(options)
    return urlunsplit(parts._replace(query=urlencode(options)))


def broker_settings(settings: Settings) -> dict[str, Any]:
    """Celery's settings of the broker. A new kind of broker is a function here and its scheme in KINDS."""
    url = settings.broker_url or settings.redis_url or LOCAL_REDIS
    return KINDS[urlsplit(url).scheme](url, settings)


def _redis(url: str, settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": check_certificates(url),
        "broker_transport_options": {
            "visibility_timeout": 3600,  # the slow net; reconcile is what mends within 30 s
            "unacked_restore_interval": 10,
            "socket_timeout": 15,
            "socket_connect_timeout": _CONNECT_S,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": False,
            "global_keyprefix": settings.broker_prefix,
            "queue_order_strategy": "round_robin",
            "priority_steps": [0, 3, 6, 9],
            "max_connections": _MAX_CONNECTIONS,
        },
    }


def _sentinel(url: str, settings: Settings) -> dict[str, Any]:
    """Every address gets the credentials and the database: kombu reads them from the one that it happens to ask."""
    parts = [urlsplit(each) for each in url.split(";")]
    credentials = next((part.netloc.rpartition("@")[0] for part in parts if part.password), "")
    known = parse_sentinels(url)
    prefix = f"sentinel://{credentials}@" if credentials else "sentinel://"
    made = _redis(url, settings)
    made["broker_url"] = ";".join(f"{prefix}{host}:{port}/{known.database}" for host, port in known.nodes)
    made["broker_transport_options"] |= {
        "master_name": settings.sentinel_master,
        "sentinel_kwargs": sentinel_options(settings.sentinel_password, timeout_s=_CONNECT_S),
    }
    return made


def sentinel_options(secret: SecretStr | None, *, timeout_s: float) -> dict[str, Any]:
    """How the Sentinels themselves are talked to."""
    password = {"password": secret.get_secret_value()} if secret else {}
    return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, **password}


def _rabbitmq(url: str, settings: Settings) -> dict[str, Any]:  # noqa: ARG001 - the virtual host is what isolates here
    """The virtual host in the address isolates installations, as the key prefix does on Redis."""
    parts = urlsplit(url)
    made: dict[str, Any] = {
        "broker_url": urlunsplit(parts._replace(query="")),
        "broker_transport_options": {"confirm_publish": True},  # without it a message may vanish and nothing raises
        "broker_connection_timeout": _CONNECT_S,
        "broker_heartbeat": _HEARTBEAT_S,
    }
    if parts.scheme == "amqps":
        made["broker_use_ssl"] = _amqp_tls(dict(parse_qsl(parts.query)), host=parts.hostname)
    return made


def _amqp_tls(options: dict[str, str], *, host: str | None) -> dict[str, Any]:
    """The address' `ssl_…` options as py-amqp calls them."""
    requirement = _requirement(options)
    names = {} if requirement == "none" else {"server_hostname": host}  # without it no names are compared
    files = {"ca_certs": "ssl_ca_certs", "certfile": "ssl_certfile", "keyfile": "ssl_keyfile"}
    return {
        "cert_reqs": {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}[requirement],
        **names,
        **{name: options[given] for name, given in files.items() if given in options},
    }


def _requirement(options: dict[str, str]) -> str:
    return options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")


KINDS: Final[dict[str, Callable[[str, Settings], dict[str, Any]]]] = {
    "redis": _redis,
    "rediss": _redis,
    "sentinel": _sentinel,
    "amqp": _rabbitmq,
    "amqps": _rabbitmq,
}
