"""Messages that no version of ours sends: they end no worker, come back to none, and hold up nobody."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import redis
from bson import ObjectId
from kombu.connection import Connection

from orchestratex.domain.base import ThreadStatus
from orchestratex.queue import CONTROL, RESPOND
from tests.cluster import Cluster, Servers, open_cluster, wait_for
from tests.rabbitmq import RabbitMQ

pytestmark = pytest.mark.integration

PROMPT = "Explain how a bounded queue works, with an example."
CALL: tuple[object, ...] = ([str(ObjectId())], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
HEADERS: dict[str, Any] = {"id": "a-1", "task": "orchestratex.respond", "lang": "py", "root_id": "a-1"}


def make_envelope(body: object = CALL, *, queue: str, **changes: object) -> bytes:
    """An element of a list in Redis as kombu writes it, but for the changes."""
    properties = {
        "delivery_tag": str(ObjectId()),
        "delivery_info": {"exchange": "", "routing_key": queue},
        "body_encoding": "base64",
    }
    envelope = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": HEADERS,
        "properties": properties,
    }
    return json.dumps(envelope | changes).encode()


def make_poison(queue: str) -> dict[str, bytes]:
    return {
        "bytes that are no text": b"\xff\xfe\x00\x80",
        "broken JSON": b"{garbage",
        "brackets without end": b"[" * 100_000,
        "a JSON list": b"[1,2]",
        "an empty object": b"{}",
        "a body of the wrong shape": make_envelope([1], queue=queue),
        "pickle": make_envelope(queue=queue, **{"content-type": "application/x-python-serialize"}),
        "an ETA that is none": make_envelope(queue=queue, headers=HEADERS | {"eta": "never"}),
        "an expiry that is none": make_envelope(queue=queue, headers=HEADERS | {"expires": "never"}),
        "a task's name that is a list": make_envelope(queue=queue, headers=HEADERS | {"task": ["respond"]}),
        "a time limit that is text": make_envelope(queue=queue, headers=HEADERS | {"timelimit": "soon"}),
        "no headers": make_envelope(queue=queue, headers={}),
        "no body": make_envelope(queue=queue, body=None),
        "ten megabytes": make_envelope(["x" * 10_000_000], queue=queue),
    }


def test_no_element_of_a_list_in_redis_ends_a_worker(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path) as cluster, redis.Redis.from_url(servers.redis.uri) as client:
        prefix = cluster.settings.broker_prefix
        for queue in (CONTROL, RESPOND):
            for element in make_poison(queue).values():
                client.lpush(f"{prefix}{queue}", element)
        sent = 2 * len(make_poison(RESPOND))

        wait_for(lambda: count_dead(client, prefix) == sent, timeout_s=30, what="the last refusal")
        (thread,) = cluster.await_ended(cluster.submit([PROMPT], max_iterations=1), timeout_s=60)
        assert [process.poll() for process in cluster.processes] == [None, None]
        wait_for(lambda: client.hlen(f"{prefix}unacked") == 0, timeout_s=20, what="every acknowledgement")
        letters = [json.loads(letter) for letter in client.lrange(f"{prefix}dead", 0, -1)]
        log = cluster.log_text()

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert {letter["queue"] for letter in letters} == {CONTROL, RESPOND}
    assert max(len(letter["message"]) for letter in letters) == 10_000
    assert log.count("refused a message of ") == sent
    assert max(map(len, log.splitlines())) < 1000
    assert "Unrecoverable error" not in log


def test_the_dead_letters_are_bounded(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path) as cluster, redis.Redis.from_url(servers.redis.uri) as client:
        prefix = cluster.settings.broker_prefix
        client.lpush(f"{prefix}dead", *("old" for _ in range(2000)))
        client.lpush(f"{prefix}{RESPOND}", b"{garbage")

        wait_for(lambda: count_dead(client, prefix) == 1000, timeout_s=30, what="a shorter list")
        newest = client.lindex(f"{prefix}dead", 0)

    assert b"{garbage" in (newest or b"")


def test_no_message_in_rabbitmq_ends_a_worker(servers: Servers, rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path, broker_url=rabbitmq.take_url()) as cluster:
        wait_for(lambda: cluster.log_text().count(" ready.") == 2, timeout_s=30, what="both workers")
        sent = sum(publish_poison(cluster, queue) for queue in (CONTROL, RESPOND))

        wait_for(lambda: cluster.log_text().count("refused a message of ") == sent, timeout_s=30, what="refusals")
        (thread,) = cluster.await_ended(cluster.submit([PROMPT], max_iterations=1), timeout_s=60)
        assert [process.poll() for process in cluster.processes] == [None, None]
        log = cluster.log_text()

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert log.count("refused a message of ") == sent
    assert "Unrecoverable error" not in log


def publish_poison(cluster: Cluster, queue: str) -> int:
    """Publish what a stranger could to a queue of RabbitMQ; returns how many messages."""
    messages: list[tuple[bytes, str, dict[str, Any]]] = [
        (b"\xff\xfe\x00\x80", "application/json", HEADERS),
        (b"{garbage", "application/json", HEADERS),
        (b"[1]", "application/json", HEADERS),
        (b"{}", "application/json", {}),
        (json.dumps(CALL).encode(), "application/x-python-serialize", HEADERS),
        (json.dumps(CALL).encode(), "application/json", HEADERS | {"eta": "never"}),
        (json.dumps(CALL).encode(), "application/json", HEADERS | {"timelimit": "soon"}),
        (json.dumps(["x" * 10_000_000]).encode(), "application/json", HEADERS),
    ]
    with Connection(cluster.settings.broker_url) as connection:  # type: ignore[no-untyped-call]
        producer = connection.Producer()
        for body, kind, headers in messages:
            producer.publish(
                body, routing_key=queue, content_type=kind, content_encoding="utf-8", headers=headers, retry=False
            )
    return len(messages)


def count_dead(client: redis.Redis, prefix: str) -> int:
    return int(client.llen(f"{prefix}dead"))
