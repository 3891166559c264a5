"""What an id names that names nothing of the kind that was asked for: people take one for the other."""

from __future__ import annotations

from typing import Final

from bson import ObjectId

from orchestratex.errors import NotFoundError
from orchestratex.store.base import Store

_LISTED = 3  # threads of a session


def name_id(error: NotFoundError, store: Store) -> NotFoundError:
    """The same error, in words that say what the id is the id of, where it is one; as it is elsewhere.

    Raises StoreUnavailableError.
    """
    describe = _DESCRIBE.get(error.field)
    if describe is None or not isinstance(error.wanted, ObjectId):
        return error
    found = describe(error.wanted, store)
    return NotFoundError(error.field, error.wanted, found) if found else error


def _describe_session(wanted: ObjectId, store: Store) -> str | None:
    try:
        store.get_session(wanted)
    except NotFoundError:
        return None
    threads = [str(thread.id) for thread in store.threads_of(wanted)]
    if not threads:
        return "names a session, which has no threads"
    more = f" and {len(threads) - _LISTED} more" if len(threads) > _LISTED else ""
    return f"names a session, not a thread; its threads are {', '.join(threads[:_LISTED])}{more}: name one of these"


def _describe_thread(wanted: ObjectId, store: Store) -> str | None:
    try:
        thread = store.get_thread(wanted)
    except NotFoundError:
        return None
    return f"names a thread, not a session; its session is {thread.session_id}"


_DESCRIBE: Final = {"thread_id": _describe_session, "session_id": _describe_thread}
