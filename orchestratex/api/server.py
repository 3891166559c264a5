"""Serving the HTTP door."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

import uvicorn

from orchestratex.api.access import AccessLog
from orchestratex.api.app import create_app
from orchestratex.api.connections import ConnectionLimits, allow_open_files, make_protocol
from orchestratex.api.seldom import quieten
from orchestratex.bootstrap import make_queue, make_services
from orchestratex.browsers import is_loopback
from orchestratex.errors import InputError
from orchestratex.settings import Settings, environment
from orchestratex.ticking import SlowTickingServer
from orchestratex.variables import find_missing

_GRACE_S: Final = 10  # requests take milliseconds
_NOT_STARTED: Final = 3  # uvicorn's own exit code for it
_PATIENCE_S: Final = 5.0  # a caller waits no longer for a database that is away


def run(settings: Settings) -> None:
    """Serve until interrupted. Raises InputError for an address that others could reach, and without services."""
    if not settings.api_in_container:
        require_loopback(settings.api_host)
    missing = find_missing(("mongodb_uri", "redis_url"), environment(), settings)
    if missing:
        raise InputError("environment", missing)
    limits = ConnectionLimits.within(allow_open_files())
    services = make_services(settings, queue=make_queue(settings, in_background=True), patience_s=_PATIENCE_S)
    try:
        quieten()
        config = uvicorn.Config(
            AccessLog(create_app(services)),
            http=make_protocol(limits),
            ws="none",
            backlog=limits.backlog,
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,  # the process has set up its own
            log_level=settings.log_level.lower(),
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        _serve(config)
    finally:
        services.close()


def _serve(config: uvicorn.Config) -> None:
    """As `uvicorn.run` does: an interrupt is an end in order, a server that did not start is none."""
    server = SlowTickingServer(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_NOT_STARTED)


def require_loopback(host: str) -> None:
    """Raise InputError for an address that other machines could reach."""
    if not is_loopback(host):
        raise InputError(
            "ORCHESTRATEX_API_HOST",
            f"'{host}' could be reached by others, and there are no keys yet: use 127.0.0.1, localhost or ::1",
        )
