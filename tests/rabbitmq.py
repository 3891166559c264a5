"""A RabbitMQ of one's own: Debian's server on free ports, with nothing of the machine's installation."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import amqp

from orchestratex.local.ports import LOOPBACK, free_port, is_listening
from tests.cluster import wait_for

VHOSTS = 40  # made at once at the start: rabbitmqctl takes seconds for each
START_S = 90
STOP_S = 30


def find_server() -> Path | None:
    """The server's own script: the wrapper on the PATH insists on the user rabbitmq."""
    scripts = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    return scripts[-1] if scripts and shutil.which("erl") else None


class RabbitMQ:
    """A running server; every cluster takes a virtual host of its own."""

    def __init__(self, script: Path, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.node = f"orchestratex-{secrets.token_hex(4)}@localhost"
        self._script = script
        self._vhosts = iter(range(VHOSTS))
        self._epmd_port = free_port()
        self._write_configuration()
        self._epmd = subprocess.Popen(
            ["epmd", "-address", LOOPBACK, "-port", str(self._epmd_port)], env=self._environment()
        )
        wait_for(
            lambda: is_listening(self._epmd_port), timeout_s=STOP_S, what="a listening epmd"
        )  # or Erlang starts one
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again after `kill`, and return when it serves."""
        with (self.home / "output.log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(self._script)],
                env=self._environment(),
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._is_serving, timeout_s=START_S, what="an answering RabbitMQ")

    def take_url(self) -> str:
        """The address of a virtual host that nobody has used."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/t{next(self._vhosts)}"

    def kill(self) -> None:
        """kill -9 of the whole server."""
        if self._server is not None and self._server.poll() is None:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()

    def stop(self) -> None:
        """End the server and the name service that it registered with."""
        if self._server is not None and self._server.poll() is None:
            self._server.terminate()
            try:
                self._server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._epmd.terminate()
        self._epmd.wait(STOP_S)

    def _is_serving(self) -> bool:
        if self._server is None or self._server.poll() is not None:
            raise AssertionError(f"RabbitMQ ended: {(self.home / 'output.log').read_text()[-2000:]}")
        try:
            with amqp.Connection(f"{LOOPBACK}:{self.port}", "guest", "guest", virtual_host="t0", connect_timeout=2):
                return True
        except (OSError, amqp.AMQPError):
            return False

    def _write_configuration(self) -> None:
        names = [f"t{number}" for number in range(VHOSTS)]
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        definitions: dict[str, list[dict[str, Any]]] = {
            "users": [{"name": "guest", "password": "guest", "tags": ["administrator"], "limits": {}}],
            "vhosts": [{"name": name} for name in names],
            "permissions": [{"user": "guest", "vhost": name, **everything} for name in names],
        }
        (self.home / "definitions.json").write_text(json.dumps(definitions))
        lines = {
            "listeners.tcp.1": f"{LOOPBACK}:{self.port}",
            "load_definitions": self.home / "definitions.json",
            "disk_free_limit.absolute": "1MB",
            "vm_memory_high_watermark.absolute": "2GB",
            "log.file.level": "warning",
        }
        (self.home / "rabbitmq.conf").write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
        (self.home / "plugins").write_text("[].\n")

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),  # Erlang's cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "none"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.home / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_PID_FILE": str(self.home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        }


@contextmanager
def open_rabbitmq(script: Path, home: Path) -> Iterator[RabbitMQ]:
    """A server for as long as the block."""
    server = RabbitMQ(script, home)
    try:
        server.start()
        yield server
    finally:
        server.stop()
