"""What MongoDB says while it is unwell, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import BulkWriteError, NotPrimaryError, OperationFailure

from orchestratex.errors import StoreUnavailableError
from orchestratex.store.mongo import MongoStore
from tests.make import make_thread

pytestmark = pytest.mark.integration
NO_SPACE = {"writeErrors": [{"code": 14031, "errmsg": "no space"}], "writeConcernErrors": []}
NO_MAJORITY = {"writeErrors": [], "writeConcernErrors": [{"code": 64, "errmsg": "no majority"}]}
INVALID = {"writeErrors": [{"code": 121, "errmsg": "document failed validation"}], "writeConcernErrors": []}


class Unwell:
    """A collection that answers everything with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise self._error

        return fail


@pytest.mark.parametrize(
    "error",
    [
        OperationFailure("no space", 14031),
        OperationFailure("stepped down", 189),
        OperationFailure("no majority", 64),
        OperationFailure("try again", 1, {"errorLabels": ["RetryableWriteError"]}),
        NotPrimaryError("not primary"),
        BulkWriteError(NO_SPACE),
        BulkWriteError(NO_MAJORITY),
    ],
)
def test_what_goes_by_is_an_outage(mongo_store: MongoStore, error: Exception) -> None:
    mongo_store._threads = Unwell(error)  # type: ignore[assignment]

    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1"):
        mongo_store.set_thread(ObjectId(), {})
    with pytest.raises(StoreUnavailableError):
        mongo_store.insert_threads([make_thread()])


@pytest.mark.parametrize("error", [OperationFailure("bad request", 9), BulkWriteError(INVALID)])
def test_what_was_asked_wrongly_is_no_outage(mongo_store: MongoStore, error: Exception) -> None:
    mongo_store._threads = Unwell(error)  # type: ignore[assignment]

    with pytest.raises(OperationFailure):
        mongo_store.insert_threads([make_thread()])


def test_a_document_that_somebody_spoilt_keeps_no_other_from_being_mended(
    mongo_store: MongoStore, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt, sound = make_thread(), make_thread()
    mongo_store.insert_threads([spoilt, sound])
    mongo_store.database["conversation_threads"].update_one(
        {"_id": spoilt.id}, {"$set": {"thread_status": "gone"}}, bypass_document_validation=True
    )

    found = mongo_store.overdue_threads(resend_s=0, doubles=False, limit=10)

    assert [thread.id for thread in found] == [sound.id]
    assert str(spoilt.id) in caplog.text
