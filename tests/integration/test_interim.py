"""Threads that are submitted together, over a server that speaks up before it answers: nobody gets another's text."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestratex.domain.base import ThreadStatus
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.server import serve
from tests.cluster import Cluster, Servers
from tests.relay import open_relay

pytestmark = pytest.mark.integration

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


@pytest.mark.parametrize("interim", [EARLY_HINTS, PROCESSING])
def test_every_call_gets_its_own_answer(servers: Servers, tmp_path: Path, interim: bytes) -> None:
    with (
        serve(SandboxConfig(latency_scale=0)) as sandbox,
        open_relay(sandbox.base_url, interim=interim) as relay,
    ):
        cluster = Cluster(servers, sandbox, tmp_path, models_base_url=relay.url)
        try:
            cluster.start("control")
            cluster.start("worker")
            prompts = [f"Explain in two sentences what the number {number} is known for." for number in range(6)]
            threads = cluster.await_ended(cluster.submit(prompts))
            responses = [each for thread in threads for each in cluster.services.store.responses_of(thread.id)]
        finally:
            cluster.stop()

    answered = {f"{each.id}.{each.attempt}": each.completion.text for each in responses if each.completion}
    assert {thread.thread_status for thread in threads} == {ThreadStatus.COMPLETED}
    assert len(answered) >= 12
    assert answered == {key: relay.sent[key] for key in answered}
