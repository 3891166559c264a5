from __future__ import annotations

import re

from tests.audit.engine import Document, rule
from tests.audit.records import Records

LOGS = "orchestration_logs"
_ABOUT_CALLS = frozenset({"response_generated", "evaluation_completed"})
_ABOUT_MODELS = _ABOUT_CALLS | {"model_selected", "final_selected", "model_replaced", "call_retried", "call_superseded"}

_WITHOUT_ERROR = {"cancelled", "deadline", "cost_limit"}  # a thread that ends before anything was raised


@rule(LOGS)
def its_type_is_a_name(event: Document, _records: Records) -> bool:
    return re.fullmatch(r"[a-z]+(_[a-z]+)*", event["event_type"]) is not None


@rule(LOGS)
def it_says_something(event: Document, _records: Records) -> bool:
    return bool(event["message"].strip())


@rule(LOGS)
def its_thread_is_there_and_its_session_is_its_threads(event: Document, records: Records) -> bool | None:
    if event["thread_id"] is None:
        return None
    return records.thread_of(event)["session_id"] == event["session_id"]


@rule(LOGS)
def its_session_is_there(event: Document, records: Records) -> bool | None:
    return None if event["session_id"] is None else event["session_id"] in records.sessions


@rule(LOGS)
def its_model_is_known(event: Document, records: Records) -> bool | None:
    return None if event["model_involved"] is None else event["model_involved"] in records.profiles


@rule(LOGS)
def what_is_about_a_model_names_it(event: Document, _records: Records) -> bool | None:
    return None if event["event_type"] not in _ABOUT_MODELS else event["model_involved"] is not None


@rule(LOGS)
def what_is_about_a_model_in_a_thread_has_its_iteration(event: Document, _records: Records) -> bool | None:
    if event["event_type"] not in _ABOUT_MODELS or event["thread_id"] is None:
        return None
    return event["iteration_number"] is not None and 1 <= event["iteration_number"] <= 10


@rule(LOGS)
def what_is_about_a_call_has_its_time(event: Document, _records: Records) -> bool | None:
    return None if event["event_type"] not in _ABOUT_CALLS else event["processing_time"] is not None


@rule(LOGS)
def a_thread_that_failed_by_a_call_has_its_stack(event: Document, records: Records) -> bool | None:
    if event["event_type"] != "thread_failed":
        return None
    thread = records.thread_of(event)
    if thread["retries"] or thread["stop_reason"] in _WITHOUT_ERROR:  # a retried one says no more why it ended before
        return None
    return bool(event["error_stack"])


@rule(LOGS)
def only_what_went_wrong_has_a_stack(event: Document, _records: Records) -> bool | None:
    return None if event["error_stack"] is None else event["log_level"] in {"warning", "error"}


@rule(LOGS)
def its_process_takes_some_memory(event: Document, _records: Records) -> bool:
    return 1 < event["memory_usage"] < 10_000


@rule(LOGS)
def it_happens_after_its_thread_was_made(event: Document, records: Records) -> bool | None:
    if event["thread_id"] is None:
        return None
    return event["timestamp"] >= records.thread_of(event)["created_at"]


@rule(LOGS)
def a_model_selected_was_selected(event: Document, records: Records) -> bool | None:
    if event["event_type"] != "model_selected":
        return None
    made = records.selections_in.get(event["thread_id"], [])
    return any(selection["selected_model"] == event["model_involved"] for selection in made)
