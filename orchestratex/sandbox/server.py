"""The sandbox as a server: in the foreground, or beside the caller in a thread."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn

from orchestratex.sandbox.app import Sandbox, create_app
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.state import State
from orchestratex.ticking import SlowTickingServer

_BACKLOG: Final = 2048
_OPEN_FILES: Final = 16_384  # a thousand waiting calls need more than the usual 1,024
_KEEP_ALIVE_S: Final = 75  # above any client's own, so that no idle connection is closed under a request
_GRACE_S: Final = 2  # hanging calls must not hold up the end
_ALL: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound
_START_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that is being served."""

    address: str  # http://host:port
    state: State

    @property
    def base_url(self) -> str:
        """The base URL as OpenAI's clients want it."""
        return f"{self.address}/v1"

    def endpoint(self, dialect: str) -> str:
        """The address as a profile of this dialect (openai, anthropic, google) wants it."""
        return self.address + {"openai": "/v1"}.get(dialect, f"/{dialect}")


class _Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then say so."""
        await super().startup(sockets)
        self.ready.set()


class _Speaking(SlowTickingServer):
    """A server that prints its address when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then print where."""
        await super().startup(sockets)
        for listener in sockets or ():
            print(f"sandbox listening on {_address(listener)}/v1", file=sys.stderr, flush=True)


def run(host: str, port: int, config: SandboxConfig) -> None:
    """Serve until interrupted; port 0 takes a free one. Prints the base URL to stderr when it listens.

    Raises OSError where the address cannot be had.
    """
    _allow_open_files()
    with _listen(host, port) as listener:
        _Speaking(_configure(create_app(_serve_under(host, config)))).run(sockets=[listener])


@contextlib.contextmanager
def serve(config: SandboxConfig | None = None, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Running]:
    """Serve from a thread as long as the context is open.

    Raises OSError where the address cannot be had, TimeoutError where the server does not come up.
    """
    sandbox = create_app(_serve_under(host, config or SandboxConfig()))
    with _listen(host, port) as listener:
        server = _Server(_configure(sandbox))
        thread = threading.Thread(target=server.run, args=([listener],), name="sandbox", daemon=True)
        thread.start()
        try:
            if not server.ready.wait(_START_S):
                raise TimeoutError("the sandbox did not start")
            yield Running(_address(listener), sandbox.state)
        finally:
            server.should_exit = True
            thread.join()


def _serve_under(host: str, config: SandboxConfig) -> SandboxConfig:
    """Who listens on one address is called by it; who listens on all of them says by which names."""
    return config if host in _ALL else config.model_copy(update={"hosts": (*config.hosts, host.lower())})


def _configure(sandbox: Sandbox) -> uvicorn.Config:
    return uvicorn.Config(
        sandbox,
        http=sandbox.connections.make_protocol(),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,  # the process has set up its own
        log_level="warning",
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol's number asyncio leaves Nagle's algorithm on, which adds some 40 ms to a call.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    except (TypeError, ValueError) as error:  # what Python calls a name that it cannot encode
        listener.close()
        raise OSError(errno.EINVAL, "not the name of a host") from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allow_open_files() -> None:
    """Raise the soft limit of open files as far as is allowed and useful; Windows has none."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
