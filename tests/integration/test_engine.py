"""The whole loop on real parts: mongod, Valkey, worker processes, the sandbox over HTTP."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestratex.domain.base import LogLevel, Purpose, ResponseStatus, StopReason, ThreadStatus, to_nanos
from orchestratex.domain.capabilities import Capabilities
from orchestratex.domain.log import LogEvent
from orchestratex.local.ports import free_port
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.faults import parse_fault
from orchestratex.sandbox.server import serve
from orchestratex.steps.measure import measure
from tests.cluster import Cluster, Servers, open_cluster, wait_for

pytestmark = pytest.mark.integration

PROMPTS = [
    f"Explain how to {task} step by step, with an example and the pitfalls."
    for task in (
        "sort a linked list in Python",
        "translate a letter into French",
        "prove that the square root of two is irrational",
        "write a short poem about autumn",
        "tell whether a review is positive",
        "name the capital of each Nordic country",
    )
]


def find_summary(cluster: Cluster) -> dict[str, int]:
    return cluster.sandbox.state.ledger.summarise()


def test_all_threads_of_one_session_complete_on_two_workers(
    servers: Servers, broker: dict[str, Any], tmp_path: Path
) -> None:
    count = 20 if broker else 60  # the same once more, quicker
    prompts = [f"{PROMPTS[number % len(PROMPTS)]} Variant {number}." for number in range(count)]

    with open_cluster(servers, tmp_path, workers=2, **broker) as cluster:
        ended = cluster.await_ended(cluster.submit(prompts))
        store, session_id = cluster.services.store, ended[0].session_id
        # an assessment that was under way at its thread's end settles after it
        wait_for(lambda: not store.get_session(session_id).reservations, timeout_s=30, what="all money settled")
        threads = [store.get_thread(thread.id) for thread in ended]
        responses = [r for thread in threads for r in store.responses_of(thread.id)]
        asked = [response for response in responses if response.attempt_costs]
        summary = find_summary(cluster)
        session = store.get_session(session_id)
        measure(cluster.services)
        metrics = store.metrics("hourly", limit=100)

    assert Counter(thread.thread_status for thread in threads) == {ThreadStatus.COMPLETED: count}
    assert max(Counter(response.key for response in responses).values()) == 1
    assert {response.status for response in asked if response.purpose is not Purpose.ASSESSMENT} == {
        ResponseStatus.COMPLETED
    }
    assert {response.purpose for response in responses if not response.attempt_costs} <= {Purpose.ASSESSMENT}
    assert summary["calls"] == summary["charged"] == len(asked)
    assert summary["repeated_responses"] == 0
    assert summary["cost_nanos"] == sum(thread.total_cost_nanos for thread in threads)
    assert session.total_cost_nanos == summary["cost_nanos"]
    assert to_nanos(sum(window.cost_efficiency.total_cost for window in metrics)) == summary["cost_nanos"]
    assert (session.held_nanos, session.reservations) == (0, {})
    assert all((t.final_quality_score or 0) >= (t.scores[0].score or 0) for t in threads)


def test_a_worker_killed_in_mid_call_costs_at_most_the_calls_in_flight(
    servers: Servers, broker: dict[str, Any], tmp_path: Path
) -> None:
    slow = SandboxConfig(fixed_latency_s=1.5)
    quick: dict[str, Any] = {"lease_s": 3, "heartbeat_s": 1, "reconcile_s": 1}

    with open_cluster(servers, tmp_path, config=slow, workers=2, **quick, **broker) as cluster:
        threads = cluster.submit(PROMPTS)
        ledger = cluster.sandbox.state.ledger
        wait_for(lambda: ledger.summarise()["by_task"].get("evaluate", 0) >= 10, timeout_s=60, what="ten evaluations")
        before = ledger.summarise()
        cluster.kill(cluster.processes[1])
        ended = cluster.await_ended(threads)
        after = ledger.summarise()
        session_id = threads[0].session_id
        wait_for(lambda: not cluster.services.store.get_session(session_id).reservations, timeout_s=30, what="settling")
        paid = [response for thread in ended for response in cluster.services.store.responses_of(thread.id)]
        session = cluster.services.store.get_session(session_id)
        events = Counter(e.event_type for thread in ended for e in cluster.services.store.logs_of(thread.id))

    in_flight = before["calls"] - before["charged"] + before["max_concurrency"]
    assert {thread.thread_status for thread in ended} == {ThreadStatus.COMPLETED}
    assert events["call_recovered"] > 0
    assert after["repeated_responses"] <= in_flight
    assert after["repeated_keys"] == 0
    assert session.total_cost_nanos == sum(response.cost_nanos for response in paid)
    assert session.total_cost_nanos >= after["cost_nanos"]


def test_a_call_whose_completion_was_saved_is_never_paid_again(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path) as cluster:
        (thread,) = cluster.await_ended(cluster.submit(PROMPTS[:1]))
        calls = find_summary(cluster)["calls"]
        queue = cluster.services.queue
        pending = [r for r in cluster.services.store.responses_of(thread.id) if r.role == "evaluator"]
        for step in ("analyse", "select", "weigh", "finish"):
            queue.send_step(step, thread.id)  # type: ignore[arg-type]
        queue.send_panel(thread.id, [response.id for response in pending])
        wait_for(lambda: queue.length() == 0, timeout_s=20, what="an empty queue")
        (other,) = cluster.await_ended(cluster.submit(PROMPTS[1:2]))
        responses = cluster.services.store.responses_of(other.id)

    assert find_summary(cluster)["calls"] == calls + len(responses)


def test_every_message_delivered_twice_pays_nothing_twice(
    servers: Servers, broker: dict[str, Any], tmp_path: Path
) -> None:
    with open_cluster(servers, tmp_path, workers=0, **broker) as cluster:
        for kind in ("control", "worker", "worker"):
            cluster.start(kind, app="tests.doubled")
        threads = cluster.await_ended(cluster.submit(PROMPTS * 3))
        responses = [r for thread in threads for r in cluster.services.store.responses_of(thread.id)]
        summary = find_summary(cluster)
        session = cluster.services.store.get_session(threads[0].session_id)

    assert {thread.thread_status for thread in threads} == {ThreadStatus.COMPLETED}
    assert summary["calls"] == len(responses)
    assert summary["repeated_responses"] == 0
    assert session.total_cost_nanos == summary["cost_nanos"]
    assert session.held_nanos == 0


def test_breakers_open_under_faults_and_close_when_these_end(servers: Servers, tmp_path: Path) -> None:
    faults = [
        "server_error share=1 models=gpt4",
        "hang share=1 models=claude hang_s=30",
        "refusal share=1 models=grok",
        "garbage share=1 models=llama",
        "rate_limit share=1 models=mistral retry_after_s=1",
    ]
    config = SandboxConfig(latency_scale=0.02, faults=tuple(map(parse_fault, faults)))
    quick: dict[str, Any] = {"backoff_s": 0.1, "backoff_max_s": 0.2, "call_timeout_s": 1, "probe_s": 2}

    with open_cluster(servers, tmp_path, config=config, **quick) as cluster:
        cluster.start("beat")
        threads = cluster.await_ended(cluster.submit(PROMPTS), timeout_s=180)
        store = cluster.services.store
        session = store.get_session(threads[0].session_id)
        responses = [r for thread in threads for r in store.responses_of(thread.id)]
        logs = [event for thread in threads for event in store.logs_of(thread.id)]
        start, end = threads[0].created_at, cluster.services.clock()
        opened = {
            e.model_involved for e in store.scan_between(LogEvent, "timestamp", start, end, event_type="breaker_opened")
        }
        cluster.sandbox.state.plan.replace([])

        def are_available() -> bool:
            return all(profile.is_available for profile in store.profiles())

        def is_panel_whole() -> bool:  # workers read the profiles once a second
            (later,) = cluster.await_ended(cluster.submit(PROMPTS[:1], max_iterations=1))
            return later.scores[0].evaluators == 7

        wait_for(are_available, timeout_s=30, what="the closing of all breakers")
        wait_for(is_panel_whole, timeout_s=30, what="a whole panel")

    traced = {event.model_involved for event in logs if event.event_type in {"error_occurred", "call_retried"}}
    assert {thread.thread_status for thread in threads} == {ThreadStatus.COMPLETED}
    assert traced >= {"gpt4", "claude", "grok", "llama", "mistral"}
    assert opened >= {"gpt4", "claude", "llama"}
    assert session.held_nanos == 0
    assert session.total_cost_nanos == sum(response.cost_nanos for response in responses)


def test_faults_of_providers_leave_their_trace_and_no_thread_behind(servers: Servers, tmp_path: Path) -> None:
    faults = tuple(
        map(
            parse_fault,
            [
                "server_error share=0.5 models=gpt4",
                "rate_limit share=0.5 models=claude retry_after_s=0.2",
                "malformed share=1 models=llama tasks=evaluate",
                "drop share=0.5 models=mistral",
                "refusal share=1 models=grok tasks=evaluate",
            ],
        )
    )
    config = SandboxConfig(latency_scale=0.02, faults=faults)

    with open_cluster(servers, tmp_path, config=config, backoff_s=0.1, backoff_max_s=0.5) as cluster:
        threads = cluster.await_ended(cluster.submit(PROMPTS))
        logs = [event for thread in threads for event in cluster.services.store.logs_of(thread.id)]
        evaluations = [e for thread in threads for e in cluster.services.store.evaluations_of(thread.id)]
        responses = [r for thread in threads for r in cluster.services.store.responses_of(thread.id)]
        session = cluster.services.store.get_session(threads[0].session_id)

    assert {thread.thread_status for thread in threads} == {ThreadStatus.COMPLETED}
    assert {event.event_type for event in logs} >= {"call_retried", "reply_malformed", "error_occurred"}
    assert {event.model_involved for event in logs if event.event_type == "reply_malformed"} == {"llama"}
    assert not {"llama", "grok"} & {evaluation.evaluator_model for evaluation in evaluations}
    assert all(evaluation.overall_score > 1 for evaluation in evaluations)
    assert session.held_nanos == 0
    assert session.total_cost_nanos == sum(response.cost_nanos for response in responses)
    assert session.total_cost_nanos >= find_summary(cluster)["cost_nanos"]


def test_replies_that_are_not_whole_are_asked_for_again_and_paid_once_each(servers: Servers, tmp_path: Path) -> None:
    faults = [
        "cut_off times=3 tasks=answer",
        "empty_cut_off times=2 models=llama tasks=evaluate",
        "filtered share=1 models=grok tasks=evaluate",
        "cut_off times=1 tasks=refine",
    ]
    config = SandboxConfig(latency_scale=0.02, faults=tuple(map(parse_fault, faults)))

    with open_cluster(servers, tmp_path, config=config) as cluster:
        threads = cluster.await_ended(cluster.submit(PROMPTS, max_iterations=2))
        store = cluster.services.store
        logs = [event for thread in threads for event in store.logs_of(thread.id)]
        evaluations = [e for thread in threads for e in store.evaluations_of(thread.id)]
        responses = [r for thread in threads for r in store.responses_of(thread.id)]
        session = store.get_session(threads[0].session_id)
        summary = find_summary(cluster)

    asked_again = [r for r in responses if r.asked_again_for is not None]
    assert {thread.thread_status for thread in threads} == {ThreadStatus.COMPLETED}
    assert not any(thread.is_final_partial for thread in threads)
    assert {event.event_type for event in logs} >= {"reply_cut_off", "reply_filtered"}
    assert asked_again
    assert all((r.output_limit or 0) > 1024 for r in asked_again)
    assert "grok" not in {evaluation.evaluator_model for evaluation in evaluations}
    assert session.held_nanos == 0
    assert session.total_cost_nanos == sum(response.cost_nanos for response in responses) == summary["cost_nanos"]


def test_a_model_server_that_restarts_is_awaited(servers: Servers, tmp_path: Path) -> None:
    port = free_port()

    with open_cluster(servers, tmp_path, models_base_url=f"http://127.0.0.1:{port}/v1") as cluster:
        store = cluster.services.store
        (submitted,) = cluster.submit(PROMPTS[:1], max_iterations=1)

        def count_refusals() -> int:
            return sum(response.refusals for response in store.responses_of(submitted.id))

        wait_for(lambda: count_refusals() >= 2, timeout_s=30, what="refused connections")
        with serve(SandboxConfig(latency_scale=0.02), port=port):
            (thread,) = cluster.await_ended([submitted])
        responses = store.responses_of(thread.id)
        session = store.get_session(thread.session_id)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.scores[0].evaluators == 7
    assert all(response.errors == 0 for response in responses)
    assert session.held_nanos == 0
    assert session.total_cost_nanos == sum(response.cost_nanos for response in responses)


def test_the_cost_limit_stops_the_loop_with_the_best_response(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path) as cluster:
        store = cluster.services.store
        for profile in store.profiles():  # models that do not think: their worst cases are near what they cost
            store.update_profile(profile.model_name, {"capabilities": Capabilities()})
        (thread,) = cluster.await_ended(cluster.submit(PROMPTS[:1], cost_limit=0.014, max_iterations=10))
        session = cluster.services.store.get_session(thread.session_id)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.stop_reason is StopReason.COST_LIMIT
    assert thread.final_response
    assert session.total_cost_nanos <= 14_000_000
    assert session.held_nanos == 0


def test_a_key_appears_nowhere_after_a_run_with_failures(servers: Servers, tmp_path: Path) -> None:
    key = "sk-planted-0123456789abcdef"
    faults = [
        "server_error share=0.5 models=gpt4",
        "garbage share=0.5 models=claude",
        "drop share=0.5 models=llama",
        "malformed share=1 models=grok tasks=evaluate",
    ]
    config = SandboxConfig(latency_scale=0.02, faults=tuple(map(parse_fault, faults)))
    options: dict[str, Any] = {"models_api_key": key, "backoff_s": 0.1, "backoff_max_s": 0.2, "log_level": "DEBUG"}

    with open_cluster(servers, tmp_path, config=config, **options) as cluster:
        cluster.await_ended(cluster.submit(PROMPTS))
        documents = cluster.dump_store()
        messages = cluster.dump_broker()
        text = cluster.log_text()

    assert "error_occurred" in documents
    assert "evaluate" in text
    assert key not in documents
    assert key not in messages
    assert key not in text


def test_no_error_is_logged_and_no_argument_holds_more_than_ids(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path) as cluster:
        threads = cluster.await_ended(cluster.submit(PROMPTS[:2]))
        logs = [event for thread in threads for event in cluster.services.store.logs_of(thread.id)]
        text = cluster.log_text()

    assert [event.message for event in logs if event.log_level is LogLevel.ERROR] == []
    assert "Traceback" not in text
    assert PROMPTS[0] not in text
    assert "sandbox" not in json.dumps([event.model_dump(mode="json") for event in logs])
