from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from orchestratex.errors import LocalStackError
from orchestratex.local.ports import free_port, is_free, is_listening, next_free_port, require_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_free_port_is_free() -> None:
    port = free_port()

    assert is_free(port)
    assert not is_listening(port)


def test_taken_port_is_seen(taken: int) -> None:
    assert not is_free(taken)
    assert is_listening(taken)
    assert next_free_port(taken) > taken


def test_required_port_names_its_holder(taken: int) -> None:
    with pytest.raises(LocalStackError, match=f"Port {taken} on 127.0.0.1 is in use by pid {os.getpid()} .*: leave"):
        require_free(taken, remedy="leave")


def test_port_zero_means_any(taken: int) -> None:
    assert require_free(0, remedy="leave") > 0
