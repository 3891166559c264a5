"""What MongoDB says while it changes its primary is an outage, not a fault of ours; what it says otherwise is not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure, WriteConcernError, WriteError

from orchestratex.domain.thread import Thread
from orchestratex.errors import StoreUnavailableError
from orchestratex.store.mongo import MongoStore, connect


def make_store(error: Exception) -> MongoStore:
    """A store of which one verb meets the error."""

    class Broken(MongoStore):
        def _accounts(self, account_id: object) -> object:  # type: ignore[override]
            raise error

    return Broken(connect("mongodb://127.0.0.1:1", patience_s=0.1), "nowhere")


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("connection closed"),
        WriteError("Not primary while writing", 189),
        WriteConcernError("operation was interrupted", 11602),
        OperationFailure("not primary", 10107),
        OperationFailure("Authentication failed.", 18),
        OperationFailure("not authorized on nowhere to execute command", 13),
        BulkWriteError({"writeErrors": [{"code": 11602}]}),
        BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 91}]}),
    ],
)
def test_a_change_of_the_primary_is_an_outage(error: Exception) -> None:
    with pytest.raises(StoreUnavailableError):
        make_store(error).settle("day", "key", 1)


@pytest.mark.parametrize(
    "error",
    [
        WriteError("document failed validation", 121),
        OperationFailure("no such command", 59),
        BulkWriteError({"writeErrors": [{"code": 121}]}),
    ],
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)):
        make_store(error).settle("day", "key", 1)


def test_a_scan_that_finds_no_server_is_an_outage_too() -> None:
    store = MongoStore(connect("mongodb://127.0.0.1:1", patience_s=0.1), "nowhere")
    moment = datetime(2025, 1, 1, tzinfo=UTC)

    with pytest.raises(StoreUnavailableError):
        next(store.scan_between(Thread, "completed_at", moment, moment))
    store.close()
