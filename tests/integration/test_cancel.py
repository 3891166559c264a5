"""Cancels at random moments on real processes, over HTTP, judged by the models' own ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestratex.local.ports import free_port
from orchestratex.sandbox.config import SandboxConfig
from tests.cancels import run_cancels, start_api
from tests.cluster import Servers, open_cluster

pytestmark = pytest.mark.integration
COUNT = 20


def test_no_request_leaves_after_a_cancel_and_its_money_settles(servers: Servers, tmp_path: Path) -> None:
    config = SandboxConfig(fixed_latency_s=1.0)
    quick = {"lease_s": 4, "heartbeat_s": 1, "reconcile_s": 1, "resend_s": 2}

    with open_cluster(servers, tmp_path, config=config, api_port=free_port(), **quick) as cluster:
        start_api(cluster)
        figures = run_cancels(cluster, count=COUNT, seed=7)

    assert sum(figures.by_outcome.values()) == COUNT
    assert set(figures.by_outcome) <= {"completed cancelled", "failed cancelled"}
    assert (figures.latest_call_s or 0) <= 1
    assert figures.unsettled == 0
    assert figures.is_money_exact
    assert figures.overcharge_nanos >= 0
