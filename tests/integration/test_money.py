"""A limit that cannot be overspent: many processes, many calls at once, killed, doubled and unanswered calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from bson import ObjectId

from orchestratex.domain.base import Purpose, ResponseStatus, ResponseType, Role, Step
from orchestratex.domain.capabilities import Capabilities
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.rules.pricing import prompt_tokens, worst_case
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.faults import parse_fault
from orchestratex.steps.reconcile import reconcile
from orchestratex.steps.span import sending_span
from orchestratex.steps.submit import SessionRequest, open_session
from tests.cluster import ROOT, Cluster, Servers, open_cluster, wait_for
from tests.spend import MESSAGES

pytestmark = pytest.mark.integration

MODEL = "qwen"
ROOM = 50


def find_worst_case(cluster: Cluster) -> int:
    profile = next(p for p in cluster.services.store.profiles() if p.model_name == MODEL)
    given, limit = prompt_tokens(MESSAGES.text), output_limit(cluster, profile)
    return worst_case(profile, input_tokens=given, max_tokens=limit, span=sending_span(cluster.services))


def output_limit(cluster: Cluster, profile: Profile) -> int:
    return min(cluster.settings.answer_max_tokens, profile.max_output_tokens)


def prepare(cluster: Cluster, *, calls: int, limit_nanos: int | None) -> tuple[ObjectId, list[str]]:
    """A session with a limit, and pending calls that all want its money. Input is free: worst cases are exact."""
    store = cluster.services.store
    profile = next(p for p in store.profiles() if p.model_name == MODEL)
    generous = profile.rate_limits.model_copy(update={"requests_per_minute": 10**7, "tokens_per_minute": 10**11})
    free_input: dict[str, object] = {"cost_per_input_token": 0.0, "cost_per_cached_input_token": None}
    prices: dict[str, object] = {**free_input, "cost_per_output_token": 9e-7, "prices": []}
    plain = {"capabilities": Capabilities()}  # a model that does not think is given what its role is given
    store.update_profile(MODEL, {**prices, "rate_limits": generous, **plain})
    session = open_session(SessionRequest(), cluster.services)
    store.set_session(session.id, {"cost_limit_nanos": limit_nanos})
    now = cluster.services.clock()
    thread = Thread(
        session_id=session.id,
        original_prompt=MESSAGES.user,
        due_step=Step.RESPOND,
        created_at=now,
        updated_at=now,
    )
    store.insert_threads([thread])
    responses = [
        Response(
            thread_id=thread.id,
            session_id=session.id,
            iteration_number=1,
            model_name=MODEL,
            role=Role.PRIMARY,
            response_type=ResponseType.INITIAL,
            timestamp=now,
            purpose=Purpose.ANSWER,
            ordinal=number,
        )
        for number in range(calls)
    ]
    store.insert_responses(responses)
    return session.id, [str(response.id) for response in responses]


def start_spender(cluster: Cluster, ids: Sequence[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, **cluster.environment, "PYTHONPATH": str(ROOT)}
    environment["ORCHESTRATEX_WORKER_CONCURRENCY"] = str(len(ids))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.spend"],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(list(ids)))
    process.stdin.close()
    return process


def read_outcomes(processes: Sequence[subprocess.Popen[str]]) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for process in processes:
        with process:
            assert process.stdout is not None
            outcomes.update(json.loads(process.stdout.read() or "{}"))
    return outcomes


def settle_all(cluster: Cluster) -> None:
    """Reconcile until nothing is leased and nothing held."""

    def is_clean() -> bool:
        reconcile(cluster.services)
        return not cluster.services.store.accounts_with_reservations(limit=1)

    wait_for(is_clean, timeout_s=60, what="the settling of all reservations")


def test_a_thousand_concurrent_calls_never_exceed_a_limit_with_room_for_fifty(servers: Servers, tmp_path: Path) -> None:
    exact = SandboxConfig(fixed_latency_s=0.5, bills_worst_case=True, prices={MODEL: (0, 900)})

    with open_cluster(servers, tmp_path, config=exact, workers=0) as cluster:
        session_id, ids = prepare(cluster, calls=1000, limit_nanos=0)
        worst = find_worst_case(cluster)
        cluster.services.store.set_session(session_id, {"cost_limit_nanos": ROOM * worst + worst // 10})
        processes = [start_spender(cluster, ids[part::4]) for part in range(4)]
        seen: list[int] = []
        while any(process.poll() is None for process in processes):
            account = cluster.services.store.get_account(session_id)
            seen.append(account.total_cost_nanos + account.held_nanos)
        outcomes = read_outcomes(processes)
        account = cluster.services.store.get_account(session_id)
        summary = cluster.sandbox.state.ledger.summarise()

    assert outcomes == {"saved": ROOM, "unaffordable": 1000 - ROOM}
    assert max(seen) <= ROOM * worst + worst // 10
    assert account.total_cost_nanos == ROOM * worst == summary["cost_nanos"]
    assert (account.held_nanos, account.reservations) == (0, {})
    assert summary["calls"] == ROOM


def test_killed_processes_and_doubled_calls_leave_no_reservation_and_no_overspending(
    servers: Servers, tmp_path: Path
) -> None:
    slow = SandboxConfig(fixed_latency_s=3.0, bills_worst_case=True, prices={MODEL: (0, 900)})

    with open_cluster(
        servers, tmp_path, config=slow, workers=0, lease_s=2, heartbeat_s=0.5, reconcile_s=3600
    ) as cluster:
        session_id, ids = prepare(cluster, calls=200, limit_nanos=0)
        limit = ROOM * find_worst_case(cluster)
        cluster.services.store.set_session(session_id, {"cost_limit_nanos": limit})
        ledger = cluster.sandbox.state.ledger
        doubled = [start_spender(cluster, ids[:120]), start_spender(cluster, ids[80:])]
        wait_for(lambda: ledger.summarise()["calls"] >= ROOM // 2, timeout_s=60, what="calls in flight")
        os.kill(doubled[0].pid, signal.SIGKILL)
        read_outcomes(doubled)
        settle_all(cluster)
        account = cluster.services.store.get_account(session_id)
        responses = [cluster.services.store.get_response(ObjectId(each)) for each in ids]
        summary = ledger.summarise()

    assert account.total_cost_nanos <= limit
    assert account.total_cost_nanos >= summary["cost_nanos"]
    assert account.total_cost_nanos == sum(response.cost_nanos for response in responses)
    assert (account.held_nanos, account.reservations) == (0, {})
    assert summary["repeated_keys"] == 0


def test_calls_that_time_out_after_sending_are_charged_at_their_worst_case(servers: Servers, tmp_path: Path) -> None:
    hanging = SandboxConfig(faults=(parse_fault("hang share=1 hang_s=30"),))

    with open_cluster(
        servers, tmp_path, config=hanging, workers=0, call_timeout_s=0.5, call_attempts=1, reconcile_s=3600
    ) as cluster:
        session_id, ids = prepare(cluster, calls=100, limit_nanos=0)
        worst = find_worst_case(cluster)
        cluster.services.store.set_session(session_id, {"cost_limit_nanos": ROOM * worst})
        outcomes = read_outcomes([start_spender(cluster, ids)])
        account = cluster.services.store.get_account(session_id)
        responses = [cluster.services.store.get_response(ObjectId(each)) for each in ids]

    failed = [response for response in responses if response.cost is not None]
    assert outcomes == {"failed": ROOM, "unaffordable": ROOM}
    assert account.total_cost_nanos == ROOM * worst
    assert account.held_nanos == 0
    assert {response.status for response in failed} == {ResponseStatus.FAILED}
    assert {response.cost_source for response in failed} == {"estimated"}


def test_the_users_day_and_the_installations_day_are_limits_too(servers: Servers, tmp_path: Path) -> None:
    exact = SandboxConfig(fixed_latency_s=0.2, bills_worst_case=True, prices={MODEL: (0, 900)})

    with open_cluster(servers, tmp_path, config=exact, workers=0, daily_limit=0.018432, user_daily_limit=1) as cluster:
        session_id, ids = prepare(cluster, calls=60, limit_nanos=None)
        worst = find_worst_case(cluster)
        outcomes = read_outcomes([start_spender(cluster, ids[:30]), start_spender(cluster, ids[30:])])
        room = 18_432_000 // worst
        day = next(
            name
            for name in (f"{cluster.services.clock():%Y-%m-%d}/all",)
            if cluster.services.store.get_account(name).total_cost_nanos
        )
        account = cluster.services.store.get_account(day)
        session = cluster.services.store.get_account(session_id)

    assert outcomes == {"saved": room, "unaffordable": 60 - room}
    assert account.total_cost_nanos == session.total_cost_nanos == room * worst <= 18_432_000
    assert account.held_nanos == session.held_nanos == 0
