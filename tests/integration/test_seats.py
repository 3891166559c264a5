"""Models that take one call at a time, as servers at home do: real queues, real workers, a sandbox over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestratex.domain.base import ThreadStatus
from orchestratex.domain.profile import RateLimits
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.ledger import Entry
from tests.cluster import Cluster, Servers, open_cluster, wait_for

pytestmark = pytest.mark.integration

CALL_S = 1.0
MODELS = ("claude", "gpt4", "qwen")
PROMPT = "Explain how to sort a linked list in Python, with an example and the pitfalls. Variant {}."


def limit(cluster: Cluster) -> None:
    """Three models are left, and each takes one call at a time."""
    limits = RateLimits(requests_per_minute=10**6, tokens_per_minute=10**9, max_concurrent_calls=1)
    for profile in cluster.services.store.profiles():
        changes = {"rate_limits": limits, "is_active": profile.model_name in MODELS}
        cluster.services.store.update_profile(profile.model_name, changes)


def most_at_once(entries: list[Entry]) -> int:
    moments = sorted([(e.started, 1) for e in entries] + [(e.ended or e.started, -1) for e in entries])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def busy_share(entries: list[Entry]) -> float:
    """Of the time between the second call and the last one of a model, as long as others wait."""
    first, last = entries[1].started, entries[-1].ended or 0.0
    return sum((e.ended or 0.0) - e.started for e in entries[1:]) / (last - first)


def test_one_call_at_a_time_keeps_its_model_busy_and_starves_nobody(servers: Servers, tmp_path: Path) -> None:
    config = SandboxConfig(fixed_latency_s=CALL_S)

    with open_cluster(servers, tmp_path, config=config, workers=2, assessments="off") as cluster:
        limit(cluster)
        prompts = [PROMPT.format(number) for number in range(12)]
        threads = cluster.await_ended(cluster.submit(prompts, max_iterations=1))
        entries = cluster.sandbox.state.ledger.entries
        responses = [r for thread in threads for r in cluster.services.store.responses_of(thread.id)]
        session = cluster.services.store.get_session(threads[0].session_id)

    by_model = {model: [e for e in entries if e.model == model] for model in MODELS}
    shares = {model: busy_share(found) for model, found in by_model.items()}
    print({model: (len(found), round(shares[model], 3)) for model, found in by_model.items()})
    assert {thread.thread_status for thread in threads} == {ThreadStatus.COMPLETED}
    assert {model: most_at_once(found) for model, found in by_model.items()} == dict.fromkeys(MODELS, 1)
    assert max(shares.values()) > 0.9
    assert all(thread.scores[0].evaluators == 2 for thread in threads)
    assert {r.attempt for r in responses} == {1}
    assert max(r.seat_wait_ms for r in responses) > 1000 * CALL_S
    assert session.held_nanos == 0


def test_a_killed_workers_seat_is_taken_over_with_its_call(servers: Servers, tmp_path: Path) -> None:
    config = SandboxConfig(fixed_latency_s=1.0)
    quick: dict[str, object] = {"lease_s": 3, "heartbeat_s": 1, "reconcile_s": 1, "call_timeout_s": 5}

    with open_cluster(servers, tmp_path, config=config, workers=1, assessments="off", **quick) as cluster:
        limit(cluster)
        submitted = cluster.submit([PROMPT.format(number) for number in range(4)], max_iterations=1)
        ledger = cluster.sandbox.state.ledger
        wait_for(lambda: len(ledger.entries) >= 3, timeout_s=60, what="three calls")
        cluster.kill(cluster.processes[1])
        cluster.start("worker")
        threads = cluster.await_ended(submitted, timeout_s=120)

    assert {thread.thread_status for thread in threads} == {ThreadStatus.COMPLETED}
    assert all(thread.scores[0].evaluators == 2 for thread in threads)
