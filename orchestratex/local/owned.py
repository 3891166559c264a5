"""A stack that this process started: it keeps servers and processes running, and stops them."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from orchestratex.errors import LocalStackError
from orchestratex.local.binaries import find_binary
from orchestratex.local.child import Command
from orchestratex.local.directory import make_private_directory
from orchestratex.local.mongod import start_mongod
from orchestratex.local.output import LogFiles, Output, PrefixedOutput
from orchestratex.local.pids import mark_process
from orchestratex.local.plan import (
    Request,
    choose_ports,
    make_commands,
    model_environment,
    process_environment,
    reach_environment,
)
from orchestratex.local.ports import free_port, is_held_by
from orchestratex.local.redis_server import start_redis
from orchestratex.local.service import START_TRIES, Service
from orchestratex.local.state import StackState, read_state, remove_state, stack_lock, write_state
from orchestratex.local.supervisor import ProcessStatus, Supervisor

SERVER_GRACE_S = 10.0
CLOSE_LOCK_S = 5.0
SANDBOX_S = 20.0
LOOK_S = 0.5


class OwnedStack:
    """Implements LocalStack for the process that started the stack."""

    is_owner = True

    def __init__(self, home: Path, request: Request) -> None:
        self._home = home
        self._request = request
        self._logs = LogFiles(home / "logs")
        self._servers = Supervisor(output=self._logs, on_event=request.on_event, on_change=self._save)
        self._processes: Supervisor | None = None
        self._save_lock = threading.Lock()
        self._started_at = datetime.now(UTC)
        self.uses_sandbox = request.may_use_sandbox  # until the profiles can be read
        self.environment: dict[str, str] = {}
        self.ports: dict[str, int] = {}

    @property
    def processes(self) -> list[ProcessStatus]:
        """What servers and processes do now."""
        return self._servers.statuses() + (self._processes.statuses() if self._processes else [])

    def start(self) -> None:
        """Start the servers, then the processes. The caller holds the lock."""
        try:
            self._make_directories()
            self.ports = choose_ports(self._request, os.environ)
            self._processes = self._make_supervisor()
            self._start_sandbox(self._processes)  # it needs no server, and comes up while these do
            self._start_servers()
            self._decide_on_sandbox(self._processes)
            self._await_sandbox(self._processes)
            self._start_processes(self._processes)
        except BaseException:
            self._stop()
            raise

    def check(self) -> None:
        """Raise LocalStackError when a server of the stack is dead now."""
        for status in self._servers.statuses():
            if not status.is_running:
                raise LocalStackError(
                    f"{status.name} died with exit code {status.exit_code} and is started again. "
                    f"Its log, {self._logs.path(status.name)}, ends:\n{self._logs.tail(status.name)}"
                )

    def wait(self) -> None:
        """Block until Ctrl-C."""
        try:
            while True:
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            return

    def close(self) -> None:
        """Stop everything, the processes before the servers; an interrupt kills at once."""
        with ExitStack() as held:
            try:
                held.enter_context(stack_lock(self._home, timeout_s=CLOSE_LOCK_S))
            except LocalStackError as exc:  # whoever holds it finds our file gone, or our servers
                self._request.on_event(str(exc))
            self._stop()

    def _stop(self) -> None:
        self._forget()
        try:
            if self._processes:
                self._processes.stop(self._request.stop_grace_s)
        except BaseException:
            self._servers.stop(0)
            raise
        self._servers.stop(SERVER_GRACE_S)

    def _forget(self) -> None:
        """Remove our file; when we started nothing, the one that is there is another's."""
        state = read_state(self._home)
        if state and state.owner.pid == os.getpid():
            remove_state(self._home)

    def _make_directories(self) -> None:
        for directory in (self._home, self._home / "logs"):
            make_private_directory(directory)

    def _start_servers(self) -> None:
        settings = self._request.settings
        database = settings.mongodb_database
        self.environment["ORCHESTRATEX_MONGODB_DATABASE"] = database
        self.environment["ORCHESTRATEX_MONGODB_URI"] = settings.mongodb_uri or self._start_server(
            lambda: start_mongod(find_binary("mongod"), self._home / "mongodb", logs=self._logs, database=database)
        )
        self.environment["ORCHESTRATEX_REDIS_URL"] = settings.redis_url or self._start_server(
            lambda: start_redis(find_binary("valkey-server"), self._home / "redis", logs=self._logs)
        )

    def _start_server(self, start: Callable[[], Service]) -> str:
        started_at = time.monotonic()
        service = start()
        self._servers.adopt(service.command, service.child)
        self.ports[service.name] = service.port
        took_s = time.monotonic() - started_at
        self._request.on_event(f"{service.name} runs on port {service.port} after {took_s:.1f} s")
        return service.uri

    def _make_supervisor(self) -> Supervisor:
        output = self._make_output(self._make_commands())
        return Supervisor(output=output, on_event=self._request.on_event, on_change=self._save)

    def _make_commands(self) -> list[Command]:
        own = process_environment(self._request, self.ports, os.environ)
        return make_commands(self._request, self._home, {**os.environ, **own, **self.environment})

    def _start_processes(self, supervisor: Supervisor) -> None:
        self._request.before_processes(dict(self.environment))
        for command in self._make_commands():
            if command.name != "sandbox":
                supervisor.start(command)
        self._save()

    def _make_output(self, commands: list[Command]) -> Output:
        if self._request.is_quiet:
            return self._logs
        width = max((len(command.name) for command in commands), default=0)
        is_coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        return PrefixedOutput(sys.stdout, width=width, is_coloured=is_coloured, files=self._logs)

    def _start_sandbox(self, supervisor: Supervisor) -> None:
        for command in self._make_commands():
            if command.name == "sandbox":
                supervisor.start(command)

    def _decide_on_sandbox(self, supervisor: Supervisor) -> None:
        """Let it play only where no active model can be served; that stands in the database."""
        has_models = self._request.prepare_database(dict(self.environment))
        self.uses_sandbox = self._request.may_use_sandbox and not has_models
        if "sandbox" in self.ports and not self.uses_sandbox and "sandbox" not in self._request.processes:
            supervisor.drop("sandbox")
            del self.ports["sandbox"]
        self.environment.update(reach_environment(self._request))

    def _await_sandbox(self, supervisor: Supervisor) -> None:
        """Wait until it, and nobody else, listens: whoever takes its port first would be asked in its place."""
        if "sandbox" not in self.ports:
            return
        deadline, starts = time.monotonic() + SANDBOX_S, 1
        while not is_held_by(self.ports["sandbox"], (status := _find(supervisor, "sandbox")).pid):
            if time.monotonic() > deadline or (starts == START_TRIES and not status.is_running):
                raise LocalStackError(f"The sandbox did not start. {self._logs.tail('sandbox')}")
            if not status.is_running:  # another program took the port between our look and its start
                starts += 1
                supervisor.drop("sandbox")
                self.ports["sandbox"] = free_port()
                self._start_sandbox(supervisor)
            time.sleep(0.05)
        if self.uses_sandbox:
            self.environment.update(model_environment(self._request, self.ports))

    def _save(self) -> None:
        """Write down what runs; nothing when nothing does."""
        pids = self._servers.session_pids() | (self._processes.session_pids() if self._processes else {})
        owner = mark_process("owner", os.getpid())
        if not pids or owner is None:
            return
        marks = (mark_process(name, pid) for name, pid in pids.items())
        state = StackState(
            owner=owner,
            started_at=self._started_at,
            environment=self.environment,
            uses_sandbox=self.uses_sandbox,
            ports=self.ports,
            children=tuple(mark for mark in marks if mark),
        )
        with self._save_lock:
            write_state(self._home, state)


def _find(supervisor: Supervisor, name: str) -> ProcessStatus:
    return next(status for status in supervisor.statuses() if status.name == name)
