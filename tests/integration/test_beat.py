"""Two beats by mistake, a beat that dies, and one that comes back, with real processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestratex.domain.base import Component
from orchestratex.queue import CONTROL, PROBE, make_app
from orchestratex.steps.pulse import BEAT
from tests.cluster import Cluster, Servers, open_cluster, wait_for
from tests.integration.test_api import open_api
from workers.beat import FROM_BEAT

pytestmark = pytest.mark.integration

PERIOD_S = 3
QUICK = {"reconcile_s": 1, "measure_s": PERIOD_S, "probe_s": PERIOD_S}


def turns(cluster: Cluster, name: str) -> int:
    found = cluster.database["system_samples"].find_one({"_id": f"turn/{name}"})
    return int(found.get("turns", 0)) if found else 0


def events(cluster: Cluster, event_type: str, **fields: object) -> list[dict[str, Any]]:
    return list(
        cluster.database["orchestration_logs"].find({"event_type": event_type, **fields}, sort=[("timestamp", 1)])
    )


def test_two_beats_do_no_harm_and_a_dead_one_is_reported(servers: Servers, tmp_path: Path) -> None:
    with open_cluster(servers, tmp_path, workers=0, config=None, **QUICK) as cluster, open_api(cluster) as (address, _):

        def ready() -> dict[str, Any]:
            body: dict[str, Any] = requests.get(f"{address}/readyz", timeout=10).json()
            return body

        store = cluster.services.store
        store.put_sample("start", 1)
        beats = [cluster.start("beat") for _ in range(2)]
        wait_for(lambda: ready()["beat"] == "ok", timeout_s=60, what="the beats' first signs")
        wait_for(lambda: store.sample_ages(["start"])["start"] > 6 * PERIOD_S, timeout_s=90, what="six periods")
        for beat in beats:
            cluster.kill(beat)
        passed_s = store.sample_ages(["start"])["start"]
        taken = [turns(cluster, name) for name in ("probe", "measure")]
        degraded = wait_for(lambda: (body := ready())["beat"] != "ok" and body, timeout_s=30, what="its report")
        wait_for(lambda: "nothing came from the beat" in cluster.log_text(), timeout_s=30, what="the warning")
        wait_for(lambda: events(cluster, "beat_missing"), timeout_s=30, what="the event")
        wait_for(
            lambda: len(events(cluster, "model_probed", model_involved="gpt4")) == turns(cluster, "probe"),
            timeout_s=30,
            what="a record of every turn, and of nothing else",
        )
        cluster.start("beat")
        wait_for(lambda: ready()["beat"] == "ok", timeout_s=60, what="the end of the report")
        wait_for(lambda: events(cluster, "beat_back"), timeout_s=30, what="the event of its end")
        missing = events(cluster, "beat_missing")
        log = cluster.log_text()

    assert min(taken) >= 3
    assert max(taken) <= passed_s / PERIOD_S + 1.1  # two beats ask twice as often
    assert degraded["control"] == "ok"
    assert "celery -A workers.app beat" in degraded["beat"]
    assert [event["component"] for event in missing] == [Component.ORCHESTRATOR]
    assert "Traceback" not in log


def test_messages_of_the_beat_that_waited_too_long_are_signs_of_its_life(servers: Servers, tmp_path: Path) -> None:
    """A long queue of other work must not look like a dead beat."""
    expired = datetime.now(UTC) - timedelta(seconds=5)

    with open_cluster(servers, tmp_path, workers=0, config=None, **QUICK) as cluster:
        app = make_app(cluster.settings)
        app.send_task(PROBE, queue=CONTROL, headers={FROM_BEAT: True}, expires=expired)
        wait_for(lambda: cluster.services.store.sample_ages([BEAT]), timeout_s=30, what="the sign")
        app.send_task(PROBE, queue=CONTROL)
        wait_for(lambda: turns(cluster, "probe"), timeout_s=30, what="a probe that was in time")
        app.close()
        taken = turns(cluster, "probe")

    assert taken == 1
