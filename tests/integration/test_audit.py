"""A varied run on real parts, and every rule of every field over all that it left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestratex.domain.base import Strategy, ThreadStatus
from orchestratex.domain.thread import Thread
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.faults import parse_fault
from orchestratex.steps.measure import measure
from orchestratex.steps.submit import SessionRequest, ThreadRequest, open_session, submit
from tests.audit import RULES, Records, audit
from tests.audit.engine import Findings
from tests.cluster import Cluster, Servers, open_cluster, wait_for
from tests.integration.test_api import open_api

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

PROMPTS = (
    "Write a Python function that merges two sorted lists.",
    "What is the capital of Australia, and why is it not Sydney?",
    "Schreibe ein kurzes Gedicht über den Herbst.",
    "Solve for x: 3x^2 - 12 = 0, and show every step.",
    "Translate to French: the early bird catches the worm.",
    "Is the sentiment of this review positive or negative? The soup was cold.",
    "¿Qué es la fotosíntesis y por qué es importante?",
    "Warum schlägt das fehl?\n```python\nprint(undefined_name)\n```",
    "Can you suggest a few ideas for my mother's birthday?",
    "Prove that the square root of two is irrational; compare with the cube root of three.",
)
FAULTS = (
    "refusal models=llama,mistral tasks=answer",  # who may ask no others fails
    "rate_limit share=0.03 retry_after_s=0",
    "server_error share=0.03",
    "malformed share=0.05",
    "cut_off share=0.03",
    "empty share=0.02",
    "drop share=0.02",
    "drop_after share=0.02",
    "filtered share=0.02",
    "garbage share=0.01",
    "hang share=0.01 hang_s=2",
)
QUICK: dict[str, Any] = {
    "reconcile_s": 1,
    "measure_s": 2,
    "probe_s": 3,
    "backoff_s": 0.05,
    "backoff_max_s": 0.5,
    "quorum_deadline_s": 6,
    "panel_deadline_s": 12,
}
ONLY_REFUSING = ["gpt4", "gpt4-turbo", "grok", "qwen", "claude", "gemini"]
AT_WORK = {ThreadStatus.EVALUATING, ThreadStatus.CRITICISM, ThreadStatus.REFINING}


class Run:
    """The threads of a cluster, as its users submit and treat them."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        self.cluster, self.address = cluster, address
        self.threads: list[Thread] = []
        self._prompts: Iterator[str] = (f"{text} Variant {number}." for number, text in enumerate(cycle(PROMPTS)))

    def sit(self, count: int, options: Sequence[dict[str, Any]] = ({},), **session: Any) -> list[Thread]:
        """Some threads in a session of their own, with these options by turns."""
        services = self.cluster.services
        opened = open_session(SessionRequest.model_validate(session), services)
        wanted = [
            ThreadRequest.model_validate({"prompt": next(self._prompts), **each})
            for each in islice(cycle(options), count)
        ]
        threads = submit(opened.id, wanted, services)
        self.threads += threads
        return threads

    def say(self, method: str, path: str, body: object = None) -> int:
        """A request of a user; returns its status."""
        return requests.request(method, f"{self.address}/v1/{path}", json=body, timeout=30).status_code

    def now(self, thread: Thread) -> Thread:
        """The thread as it stands."""
        return self.cluster.services.store.get_thread(thread.id)

    def await_work(self, threads: Sequence[Thread]) -> None:
        """Wait until each is being evaluated, or is past it."""
        for thread in threads:
            wait_for(lambda: self._is_at_work(thread), timeout_s=120, what=f"the first answer of {thread.id}")  # noqa: B023

    def _is_at_work(self, thread: Thread) -> bool:
        now = self.now(thread)
        return now.is_ended or now.thread_status in AT_WORK

    def await_rest(self) -> None:
        """Wait until nothing runs and all money is settled."""
        self.cluster.await_ended(self.threads, timeout_s=400)
        database = self.cluster.database
        held = {"held_nanos": {"$gt": 0}}
        leased = {"lease_token": {"$type": "string"}}
        wait_for(
            lambda: (
                not database["user_sessions"].count_documents(held)
                and not database["model_responses"].count_documents(leased)
            ),
            timeout_s=90,
            what="the settling of all money",
        )


def use_everything(run: Run) -> None:
    """Every strategy and option, limits, cancelling at three places, ends of sessions, ratings, retries."""
    plain = run.sit(12, [{"selection_strategy": each} for each in Strategy], max_iterations=3)
    run.sit(6, [{"quality_threshold": 7.5}, {"quality_threshold": 9.8}], max_iterations=5, user_id="eve")
    run.sit(6, [{"context": "For a school class."}, {"excluded_models": ["gpt4", "grok"]}], max_iterations=2)
    run.sit(2, max_iterations=4, quality_threshold=8.5, excluded_models=["llama"])
    run.sit(4, [{"evaluators": ["claude", "gemini"]}, {"preferred_models": ["qwen"]}], max_iterations=2)
    for limit in (0.0005, 0.05, 0.1, 0.2):
        run.sit(3, max_iterations=6, cost_limit=limit)
    run.sit(6, [{"deadline_s": 1}, {"deadline_s": 2}, {"deadline_s": 4}], max_iterations=10)
    failing = run.sit(3, [{"excluded_models": ONLY_REFUSING}], max_iterations=2)
    single = run.sit(3, max_iterations=1)
    late = run.sit(4, max_iterations=10)
    left = run.sit(4, max_iterations=10)
    early = run.sit(3)
    for thread in early:
        assert run.say("POST", f"threads/{thread.id}/cancel") == 200
    run.await_work([*late, *left])
    for thread in late:
        assert run.say("POST", f"threads/{thread.id}/cancel") == 200
    assert run.say("POST", f"sessions/{left[0].session_id}/end") == 200

    run.await_rest()
    for thread in (failing[0], late[0], early[0]):
        assert run.say("POST", f"threads/{thread.id}/retry") in {200, 409}  # it may have ended well before
    run.await_rest()
    for number, thread in enumerate([*plain, *late]):
        if run.now(thread).thread_status is ThreadStatus.COMPLETED:
            body: dict[str, object] = {"user_accepted": number % 3 > 0}
            assert run.say("PATCH", f"threads/{thread.id}", body) == 200
    for number, thread in enumerate((plain[0], single[0])):
        body = {"user_satisfaction": 4 + 5 * number}
        assert run.say("PATCH", f"sessions/{thread.session_id}", body) == 200
    for thread in (plain[0], single[0], failing[0]):
        assert run.say("POST", f"sessions/{thread.session_id}/end") == 200


def read_at_rest(cluster: Cluster) -> Records:
    """All documents after the periodic work was done once more, and nothing writes."""
    for process in cluster.processes:
        cluster.kill(process)
    measure(cluster.services)
    return Records.read(cluster.database, cluster.services.store)


def run_once(servers: Servers, tmp_path: Path) -> Findings:
    """One varied run on parts of its own, and what the rules find in it."""
    config = SandboxConfig(latency_scale=0.05, faults=tuple(map(parse_fault, FAULTS)))
    with (
        open_cluster(servers, tmp_path, config=config, workers=1, **QUICK) as cluster,
        open_api(cluster) as (address, _),
    ):
        cluster.start("beat")
        use_everything(Run(cluster, address))
        return audit(read_at_rest(cluster))


def test_every_field_of_a_varied_run_is_true(servers: Servers, tmp_path: Path) -> None:
    findings = run_once(servers, tmp_path)

    asked = {f"{each.collection}: {each.name}" for each in RULES}
    assert not findings.broken, findings.describe()
    assert len(set(findings.judged) & asked) > 0.95 * len(asked), sorted(asked - set(findings.judged))
