"""A stack that another process started: we use it, and leave it as it is."""

from __future__ import annotations

import time

from orchestratex.errors import LocalStackError
from orchestratex.local import mongod, redis_server
from orchestratex.local.child import ORPHAN_GRACE_S
from orchestratex.local.pids import ProcessMark, describe_process, is_alive, kill_session, pid_exists, session_pids
from orchestratex.local.state import StackState
from orchestratex.local.supervisor import ProcessStatus
from orchestratex.settings import Settings

ANSWER_S = 15.0  # a server that died is back within this, and its owner's first pauses
LOOK_S = 1.0
POLL_S = 0.1

DATABASE = "ORCHESTRATEX_MONGODB_DATABASE"
SERVERS = {  # by name: the variable with the address, and who asks there
    mongod.NAME: ("ORCHESTRATEX_MONGODB_URI", mongod.is_answering),
    redis_server.NAME: ("ORCHESTRATEX_REDIS_URL", redis_server.is_answering),
}


class JoinedStack:
    """Implements LocalStack for a process that found the stack running."""

    is_owner = False

    def __init__(self, state: StackState) -> None:
        self._state = state
        self.environment = dict(state.environment)
        self.ports = dict(state.ports)
        self.uses_sandbox = state.uses_sandbox

    @property
    def processes(self) -> list[ProcessStatus]:
        """What ran when we joined, and whether it still does; restarts are the owner's to know."""
        return [
            ProcessStatus(name=mark.name, pid=mark.pid, is_running=is_alive(mark), restarts=0, exit_code=None)
            for mark in self._state.children
        ]

    def check(self) -> None:
        """Raise LocalStackError when the stack's owner has ended: its servers end with it."""
        if not is_alive(self._state.owner):
            raise LocalStackError(
                f"The command that ran the local stack (pid {self._state.owner.pid}) has ended, and its servers with "
                "it: run the command again, and it starts its own."
            )

    def wait(self) -> None:
        """Block until Ctrl-C. Raises LocalStackError when the stack ends first."""
        try:
            while True:
                self.check()
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            return

    def close(self) -> None:
        """Do nothing: the stack is its owner's."""


def join_stack(state: StackState, settings: Settings) -> JoinedStack:
    """Join a stack whose owner lives. Raises LocalStackError when it is not the one the settings mean, or mute."""
    refuse_other_servers(state, settings)
    deadline = time.monotonic() + ANSWER_S
    while mute := [name for name in state.ports if name in SERVERS and not _is_answering(name, state)]:
        if time.monotonic() > deadline:
            raise LocalStackError(
                f"The local stack of {describe_process(state.owner.pid)} runs, but {' and '.join(mute)} did not answer "
                f"for {ANSWER_S:g} s: stop that command, then run this one again."
            )
        time.sleep(POLL_S)
    return JoinedStack(state)


def refuse_other_servers(state: StackState, settings: Settings) -> None:
    """Raise LocalStackError when the settings name other servers, or another database, than the running stack uses."""
    if DATABASE not in state.environment:
        raise LocalStackError(
            f"The local stack of {describe_process(state.owner.pid)} was started by an earlier version, whose servers "
            "have no passwords: stop that command, then run this one again. What is stored stays."
        )
    wished = {
        "ORCHESTRATEX_MONGODB_URI": settings.mongodb_uri,
        DATABASE: settings.mongodb_database,
        "ORCHESTRATEX_REDIS_URL": settings.redis_url,
    }
    for name, address in wished.items():
        if address and address != state.environment.get(name):
            raise LocalStackError(
                f"A local stack runs already ({describe_process(state.owner.pid)}), on another server or database than "
                f"{name} names: stop it, unset the variable, or set ORCHESTRATEX_HOME to another directory."
            )


def _is_answering(name: str, state: StackState) -> bool:
    variable, ask = SERVERS[name]
    return ask(state.environment[variable])


def end_leftovers(state: StackState) -> None:
    """Wait for what a killed owner left behind; its guards end it. Kill what is left after their grace."""
    deadline = time.monotonic() + ORPHAN_GRACE_S + 2
    sessions = [mark.pid for mark in state.children if _is_still_its(mark)]
    while any(session_pids(session) for session in sessions) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for session in sessions:
        kill_session(session)


def _is_still_its(mark: ProcessMark) -> bool:
    """A session's number is not given away while it has members, only afterwards."""
    return is_alive(mark) or not pid_exists(mark.pid)
