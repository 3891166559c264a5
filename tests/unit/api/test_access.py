"""The API's access log, over real requests."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import uvicorn

from orchestratex.api.access import AccessLog
from orchestratex.api.app import create_app
from tests.cluster import wait_for
from tests.support import World


@pytest.fixture
def address() -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(AccessLog(create_app(World().services)), log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def requests_in(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[dict[str, Any]]:
    records = [each for each in caplog.records if each.name == "orchestratex.api.access" and each.levelno == level]
    return [{**each.about, "said": each.getMessage()} for each in records]  # type: ignore[attr-defined]


def test_each_request_is_a_line_with_its_status_and_time(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "orchestratex.api.access")

    requests.post(f"{address}/v1/threads", json={"prompt": "a secret thought"}, timeout=10)
    requests.get(f"{address}/v1/threads/nothing?user_id=anna", timeout=10)
    requests.get(f"{address}/v1/metrics", headers={"Host": "evil.example"}, timeout=10)

    wait_for(lambda: len(requests_in(caplog)) == 3, timeout_s=10, what="the lines, written after the answers")
    told = requests_in(caplog)
    assert [(each["method"], each["path"]) for each in told] == [
        ("POST", "/v1/threads"),
        ("GET", "/v1/threads/nothing"),
        ("GET", "/v1/metrics"),
    ]
    assert [each["status"] for each in told][::2] == [202, 421]
    assert told[1]["status"] >= 400
    assert all(each["took_ms"] > 0 and each["client"] == "127.0.0.1" for each in told)
    assert "secret" not in caplog.text
    assert "anna" not in caplog.text


def test_what_supervisors_ask_all_the_time_is_told_at_debug(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "orchestratex.api.access")

    requests.get(f"{address}/healthz", timeout=10)

    assert requests_in(caplog) == []
    assert [each["path"] for each in requests_in(caplog, logging.DEBUG)] == ["/healthz"]


def test_a_long_path_is_cut(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "orchestratex.api.access")

    requests.get(f"{address}/{'x' * 3000}", timeout=10)

    (told,) = wait_for(lambda: requests_in(caplog), timeout_s=10, what="the line, written after the answer")
    assert len(told["said"]) < 300
