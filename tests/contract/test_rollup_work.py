"""What an hour's roll-up reads grows with the hour, not with the history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pymongo.database import Database

from orchestratex.domain.base import Period
from orchestratex.steps.measure import measure
from orchestratex.store.mongo import MongoStore
from tests.generated import count_examined, write_threads
from tests.histories import BEGIN, History, StillClock

pytestmark = pytest.mark.integration

AN_HOUR = 20


def test_an_hour_costs_the_same_after_ten_times_the_history(
    mongo_store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    begin = BEGIN.replace(minute=0) - timedelta(days=700)
    end = write_threads(database, 10 * AN_HOUR, begin=begin, an_hour=AN_HOUR)
    history = History(mongo_store, StillClock(end))
    history.roll()
    hours = [begin + timedelta(hours=5)]
    before = count_examined(hours, database, history.services)

    write_threads(database, 90 * AN_HOUR, begin=begin - timedelta(hours=90), an_hour=AN_HOUR)
    write_threads(database, 10 * AN_HOUR, begin=end, an_hour=AN_HOUR)
    after = count_examined(hours, database, history.services)

    assert before[0] > 0
    for few, many in zip(before, after, strict=True):
        assert many == pytest.approx(few, rel=0.05)


def test_generated_hours_are_rolled_up_once_and_changed_by_late_data_alone(
    mongo_store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    begin = BEGIN.replace(minute=0) - timedelta(days=700)
    end = write_threads(database, 6 * AN_HOUR, begin=begin, an_hour=AN_HOUR)
    history = History(mongo_store, StillClock(end + timedelta(hours=1)))

    def read() -> dict[Any, dict[str, Any]]:
        return {row["_id"]: row for row in database["algorithm_metrics"].find()}

    history.roll()
    first, profiles = read(), list(database["ai_model_profiles"].find())
    written = measure(history.services).written
    second = read()
    thread = database["conversation_threads"].find_one({"completed_at": {"$lt": begin + timedelta(hours=1)}}) or {}
    mongo_store.set_thread(thread["_id"], {"user_accepted": not thread["user_accepted"]})
    history.roll()

    changed = [row for key, row in read().items() if row != second[key]]
    assert (written, second, list(database["ai_model_profiles"].find())) == (0, first, profiles)
    assert sum(row["total_threads"] for row in first.values() if row["time_period"] == "hourly") == 6 * AN_HOUR
    assert sorted(row["time_period"] for row in changed) == sorted(Period)
    assert min(row["metric_date"] for row in changed if row["time_period"] == "hourly") == begin
