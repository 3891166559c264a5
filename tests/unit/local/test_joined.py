from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from orchestratex.errors import LocalStackError
from orchestratex.local.joined import refuse_other_servers
from orchestratex.local.pids import mark_process
from orchestratex.local.state import StackState
from orchestratex.settings import Settings

MONGODB, REDIS = "mongodb://127.0.0.1:1/?replicaSet=ox0", "redis://127.0.0.1:2/0"


def make_state(**environment: str) -> StackState:
    owner = mark_process("owner", os.getpid())
    assert owner
    return StackState(
        owner=owner,
        started_at=datetime.now(UTC),
        environment={"ORCHESTRATEX_MONGODB_URI": MONGODB, "ORCHESTRATEX_REDIS_URL": REDIS, **environment},
        uses_sandbox=True,
        ports={},
        children=(),
    )


def test_running_stack_of_an_earlier_version_without_passwords_is_not_joined() -> None:
    with pytest.raises(LocalStackError, match=r"earlier version.*have no passwords: stop"):
        refuse_other_servers(make_state(), Settings(mongodb_uri=None, redis_url=None))


def test_running_stack_with_the_same_database_is_joined() -> None:
    refuse_other_servers(
        make_state(ORCHESTRATEX_MONGODB_DATABASE="orchestratex"), Settings(mongodb_uri=None, redis_url=REDIS)
    )


def test_stack_on_another_server_is_not_joined_and_the_variable_is_named() -> None:
    with pytest.raises(LocalStackError, match="ORCHESTRATEX_REDIS_URL"):
        refuse_other_servers(
            make_state(ORCHESTRATEX_MONGODB_DATABASE="orchestratex"), Settings(redis_url="redis://127.0.0.1:3/0")
        )
