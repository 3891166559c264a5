"""Brokers other than a plain Redis: behind Sentinels, over TLS, RabbitMQ that restarts."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from bson import ObjectId
from redis import Redis

from orchestratex.bootstrap import make_queue
from orchestratex.domain.base import Step, ThreadStatus
from orchestratex.errors import BrokerUnavailableError, LimiterUnavailableError
from orchestratex.limits.shared import RedisLimiter, connect
from orchestratex.local.binaries import find_binary
from orchestratex.local.output import LogFiles
from orchestratex.local.ports import LOOPBACK
from orchestratex.local.redis_server import start_redis
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.settings import Settings
from tests.cluster import Servers, open_cluster, wait_for
from tests.rabbitmq import RabbitMQ, find_server, open_rabbitmq
from tests.sentinel import MASTER, PASSWORD, open_watched
from tests.tls import TlsDoor, open_tls_door

pytestmark = pytest.mark.integration

PROMPT = "Explain how a bounded queue works, with an example."
QUICK: dict[str, Any] = {"lease_s": 4, "heartbeat_s": 1, "reconcile_s": 1, "resend_s": 2}


def through(door: TlsDoor, plain: str) -> str:
    """The address with TLS of what is behind the door."""
    parts = urlsplit(plain)
    credentials = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(scheme=f"{parts.scheme}s", netloc=f"{credentials}@{LOOPBACK}:{door.port}"))


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a certificate")


def test_threads_go_on_after_the_sentinels_have_made_another_redis_master(servers: Servers, tmp_path: Path) -> None:
    with (
        open_watched(tmp_path / "redis") as watched,
        open_cluster(servers, tmp_path, redis_url=watched.url, sentinel_master=MASTER, **QUICK) as cluster,
    ):
        (before,) = cluster.await_ended(cluster.submit([PROMPT], max_iterations=1))
        watched.kill_master()
        (after,) = cluster.await_ended(cluster.submit([PROMPT], max_iterations=1))
        summary = cluster.sandbox.state.ledger.summarise()
        alive = [process.poll() for process in cluster.processes]
        log = cluster.log_text()

    assert {before.thread_status, after.thread_status} == {ThreadStatus.COMPLETED}
    assert alive == [None, None]
    assert summary["repeated_responses"] == 0
    assert PASSWORD not in log


@needs_openssl
def test_a_thread_completes_over_redis_with_tls_and_a_private_authority(servers: Servers, tmp_path: Path) -> None:
    with open_tls_door(tmp_path, to_port=servers.redis.port) as door:
        address = through(door, servers.redis.uri)
        with open_cluster(servers, tmp_path, redis_url=f"{address}?ssl_ca_certs={door.certificate}") as cluster:
            (thread,) = cluster.await_ended(cluster.submit([PROMPT], max_iterations=1))
        limiter = RedisLimiter(connect(address), prefix="t:")
        with pytest.raises(LimiterUnavailableError, match="certificate"):
            limiter.pause("m", seconds=1)

    assert thread.thread_status is ThreadStatus.COMPLETED


@needs_openssl
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # py-amqp leaves a refused socket open
@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
def test_a_certificate_of_an_unknown_authority_is_refused_unless_the_address_says_otherwise(
    servers: Servers, tmp_path: Path, request: pytest.FixtureRequest, scheme: str
) -> None:
    plain = servers.redis.uri
    if scheme == "amqps":
        plain = request.getfixturevalue("rabbitmq").take_url()
    port = urlsplit(plain).port or 5672

    with open_tls_door(tmp_path, to_port=port) as door:
        address = through(door, plain)
        with pytest.raises(BrokerUnavailableError, match="certificate"):
            make_queue(Settings.model_validate({"broker_url": address})).ping()
        for trust in (f"ssl_ca_certs={door.certificate}", "ssl_cert_reqs=CERT_NONE"):
            make_queue(Settings.model_validate({"broker_url": f"{address}?{trust}"})).ping()
    gc.collect()


def test_a_login_that_rabbitmq_refuses_is_an_error_of_ours(rabbitmq: RabbitMQ) -> None:
    address = rabbitmq.take_url().replace("guest:guest", "guest:wr0ng")
    queue = make_queue(Settings.model_validate({"broker_url": address}))

    for ask in (queue.ping, queue.length):
        with pytest.raises(BrokerUnavailableError) as caught:
            ask()
        assert "wr0ng" not in str(caught.value)


def test_the_length_is_what_waits_in_all_queues(servers: Servers, broker: dict[str, Any]) -> None:
    prefix = f"t{ObjectId()}:"
    settings = {"redis_url": servers.redis.uri, "broker_prefix": prefix, **broker}
    queue = make_queue(Settings.model_validate(settings))
    before = queue.length()
    queue.send_step(Step.ANALYSE, ObjectId())
    queue.send_iteration(Step.RESPOND, ObjectId())
    queue.send_panel(ObjectId(), [ObjectId(), ObjectId()])
    after = queue.length()
    queue.close()

    assert (before, after) == (0, 4)


def test_counting_keeps_its_connection_and_goes_on_after_redis_was_started_again(tmp_path: Path) -> None:
    binary, logs = find_binary("valkey-server"), LogFiles(tmp_path)
    service = start_redis(binary, tmp_path / "redis", logs=logs)
    try:
        queue = make_queue(Settings.model_validate({"redis_url": service.uri}))
        assert queue.length() == 0
        made = count_connections(service.uri)
        assert queue.length() == 0
        assert count_connections(service.uri) == made + 1  # ours, to ask

        service.child.stop(10)
        with pytest.raises(BrokerUnavailableError):
            queue.length()
        service = start_redis(binary, tmp_path / "redis", service.port, logs=logs)

        assert queue.length() == 0
        queue.close()
    finally:
        service.child.stop(10)


def test_counting_goes_on_over_a_connection_that_has_died_meanwhile(tmp_path: Path) -> None:
    binary, logs = find_binary("valkey-server"), LogFiles(tmp_path)
    service = start_redis(binary, tmp_path / "redis", logs=logs)
    try:
        queue = make_queue(Settings.model_validate({"redis_url": service.uri}))
        queue.length()
        service.child.stop(10)
        service = start_redis(binary, tmp_path / "redis", service.port, logs=logs)

        assert queue.length() == 0
        queue.close()
    finally:
        service.child.stop(10)


def count_connections(uri: str) -> int:
    """How many were ever made."""
    with Redis.from_url(uri) as redis:
        info: Any = redis.info("stats")
    return int(info["total_connections_received"])


def test_threads_survive_rabbitmq_killed_and_started_again_under_load(servers: Servers, tmp_path: Path) -> None:
    script = find_server()
    if script is None:
        pytest.skip("needs RabbitMQ: apt-get install rabbitmq-server")
    home = tmp_path / "rabbitmq"
    home.mkdir()
    config = SandboxConfig(fixed_latency_s=0.5)
    with (
        open_rabbitmq(script, home) as own,
        open_cluster(servers, tmp_path, config=config, broker_url=own.take_url(), **QUICK) as cluster,
    ):
        threads = cluster.submit([f"{PROMPT} Variant {number}." for number in range(6)], max_iterations=2)
        ledger = cluster.sandbox.state.ledger
        wait_for(lambda: ledger.summarise()["calls"] > 5, timeout_s=60, what="some calls")
        own.kill()
        own.start()
        ended = cluster.await_ended(threads, timeout_s=120)
        alive = [process.poll() for process in cluster.processes]
        responses = [r for thread in ended for r in cluster.services.store.responses_of(thread.id)]
        session = cluster.services.store.get_session(ended[0].session_id)

    assert {thread.thread_status for thread in ended} == {ThreadStatus.COMPLETED}
    assert alive == [None, None]
    assert ledger.summarise()["repeated_responses"] == 0
    assert session.total_cost_nanos == ledger.summarise()["cost_nanos"] == sum(r.cost_nanos for r in responses)
