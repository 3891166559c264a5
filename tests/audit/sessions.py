from __future__ import annotations

from tests.audit.engine import Document, rule
from tests.audit.records import ENDED, Records, to_usd

SESSIONS = "user_sessions"


@rule(SESSIONS)
def user_id_is_given(session: Document, _records: Records) -> bool:
    return bool(session["user_id"])


@rule(SESSIONS)
def max_iterations_are_1_to_10(session: Document, _records: Records) -> bool:
    return 1 <= session["max_iterations"] <= 10


@rule(SESSIONS)
def it_ends_after_it_starts(session: Document, _records: Records) -> bool | None:
    return None if session["session_end"] is None else session["session_end"] >= session["session_start"]


@rule(SESSIONS)
def it_is_updated_after_it_is_created(session: Document, _records: Records) -> bool:
    return session["updated_at"] >= session["created_at"]


@rule(SESSIONS)
def its_cost_is_that_of_its_calls(session: Document, records: Records) -> bool:
    threads = records.threads_in.get(session["_id"], [])
    nanos = sum(call["cost_nanos"] for thread in threads for call in records.responses_in.get(thread["_id"], ()))
    return session["total_cost"] == to_usd(nanos + session.get("purged_nanos", 0))


@rule(SESSIONS)
def its_cost_is_that_of_its_threads(session: Document, records: Records) -> bool:
    nanos = sum(thread["total_cost_nanos"] for thread in records.threads_in.get(session["_id"], []))
    return session["total_cost"] == to_usd(nanos + session.get("purged_nanos", 0))


@rule(SESSIONS)
def its_cost_limit_is_never_overspent(session: Document, _records: Records) -> bool | None:
    limit = session["settings"]["cost_limit"]
    return None if limit is None else session["total_cost"] <= limit


@rule(SESSIONS)
def nothing_is_held_when_nothing_runs(session: Document, records: Records) -> bool | None:
    if any(thread["thread_status"] not in ENDED for thread in records.threads_in.get(session["_id"], ())):
        return None
    return session["held_nanos"] == 0 and session["reservations"] == {}


@rule(SESSIONS)
def what_is_held_is_the_sum_of_reservations(session: Document, _records: Records) -> bool:
    return session["held_nanos"] == sum(session["reservations"].values())


@rule(SESSIONS)
def no_model_is_preferred_and_excluded(session: Document, _records: Records) -> bool:
    return not set(session["settings"]["preferred_models"]) & set(session["settings"]["excluded_models"])


@rule(SESSIONS)
def its_models_are_known(session: Document, records: Records) -> bool:
    named = [*session["settings"]["preferred_models"], *session["settings"]["excluded_models"]]
    return all(name in records.profiles for name in named)


@rule(SESSIONS)
def an_ended_session_has_no_running_thread(session: Document, records: Records) -> bool | None:
    if session["status"] == "active":
        return None
    return all(thread["thread_status"] in ENDED for thread in records.threads_in.get(session["_id"], ()))


@rule(SESSIONS)
def no_thread_is_older_than_its_session_or_younger_than_its_end(session: Document, records: Records) -> bool | None:
    threads = records.threads_in.get(session["_id"])
    if not threads:
        return None
    is_in_time = session["session_end"] is None or threads[-1]["created_at"] <= session["session_end"]
    return threads[0]["created_at"] >= session["session_start"] and is_in_time


@rule(SESSIONS)
def it_is_terminated_when_work_was_cancelled_with_it(session: Document, records: Records) -> bool | None:
    if session["status"] != "terminated" or session.get("purged_threads"):
        return None
    threads = records.threads_in.get(session["_id"], [])
    return any(thread["stop_reason"] == "cancelled" for thread in threads)


@rule(SESSIONS)
def it_is_an_error_exactly_where_its_last_thread_failed_and_none_completed(
    session: Document, records: Records
) -> bool | None:
    if session["status"] not in {"completed", "error"} or session.get("purged_threads"):
        return None
    threads = records.threads_in.get(session["_id"], [])
    none_completed = all(thread["thread_status"] == "failed" for thread in threads)
    return (session["status"] == "error") == (bool(threads) and none_completed)


@rule(SESSIONS)
def its_opening_is_told(session: Document, records: Records) -> bool:
    return (session["_id"], "session_opened") in records.told_of_session


@rule(SESSIONS)
def its_end_is_told(session: Document, records: Records) -> bool | None:
    return None if session["status"] == "active" else (session["_id"], "session_ended") in records.told_of_session


@rule(SESSIONS)
def its_rating_is_told(session: Document, records: Records) -> bool | None:
    if session["user_satisfaction"] is None:
        return None
    return (session["_id"], "session_rated") in records.told_of_session
