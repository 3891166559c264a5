from __future__ import annotations

from http import HTTPStatus

from bson import ObjectId
from fastapi import APIRouter, Response

from orchestratex.advance import cancel
from orchestratex.api.views import Accepted, IdText, NewThread, ThreadChange, ThreadView, view_thread
from orchestratex.domain.base import ThreadStatus
from orchestratex.domain.thread import Thread
from orchestratex.errors import ConflictError, join_mistakes
from orchestratex.steps.health import Health, HealthWatch
from orchestratex.steps.retry import retry
from orchestratex.steps.services import Services
from orchestratex.steps.sittings import report_acceptance
from orchestratex.steps.submit import (
    SessionRequest,
    ThreadRequest,
    parse_request,
    submit,
    submit_new,
)
from orchestratex.steps.waiting import IN_LINE, find_waiting

_OF_SESSION = ("session_id", "user_id", "cost_limit")


_RECENT_S = 5.0  # a look at the whole installation that is not older does for one thread
_LOOK_S = 0.25  # who submits or asks waits no longer for one that is


def make_router(services: Services, watch: HealthWatch) -> APIRouter:
    """The routes of threads."""
    router = APIRouter(prefix="/v1/threads", tags=["threads"])

    def look() -> Health:
        return watch.recall(max_age_s=_RECENT_S, patience_s=_LOOK_S)

    def view_now(thread: Thread) -> ThreadView:
        pending = [] if thread.is_ended else services.store.pending_of(thread.id)
        now = services.clock()
        return view_thread(thread, find_waiting(thread, pending, look, now), now=now)

    @router.post("", status_code=HTTPStatus.ACCEPTED)
    def submit_one(body: NewThread, response: Response) -> Accepted:
        """Take in a prompt; the answer is the id to ask for."""
        request: ThreadRequest = parse_request(ThreadRequest, body.model_dump(exclude=set(_OF_SESSION)))
        session_id = _find_session(body)
        if session_id is None:
            thread = submit_new(_plan_session(body), [request], services)[0]
        else:
            thread = submit(session_id, [request], services)[0]
        response.headers["Location"] = f"/v1/threads/{thread.id}"
        waiting_for = IN_LINE if thread.is_queued else look().describe_stop()
        return Accepted(
            id=str(thread.id),
            session_id=str(thread.session_id),
            status=thread.thread_status,
            waiting_for=waiting_for,
        )

    @router.get("/{thread_id}")
    def get_one(thread_id: IdText) -> ThreadView:
        """A thread's status and progress, what it waits for, and its final response when it is completed."""
        return view_now(services.store.get_thread(ObjectId(thread_id)))

    @router.post("/{thread_id}/cancel")
    def cancel_one(thread_id: IdText) -> ThreadView:
        """End a thread now, with its best response so far. Cancelling an ended thread changes nothing."""
        return view_thread(cancel(ObjectId(thread_id), services))

    @router.post("/{thread_id}/retry")
    def retry_one(thread_id: IdText) -> ThreadView:
        """Take an ended thread up again from where it stood, if it failed, was cancelled or met a limit."""
        return view_now(retry(ObjectId(thread_id), services))

    @router.patch("/{thread_id}")
    def accept_one(thread_id: IdText, change: ThreadChange) -> ThreadView:
        """Say whether the user accepts the final response."""
        wanted = ObjectId(thread_id)
        thread = services.store.get_thread(wanted)
        status = thread.thread_status
        if status is not ThreadStatus.COMPLETED:
            raise ConflictError("user_accepted", f"there is no final response to accept: the thread is {status.value}")
        services.store.set_thread(wanted, {"user_accepted": change.user_accepted})
        report_acceptance(thread, is_accepted=change.user_accepted, services=services)
        return view_thread(services.store.get_thread(wanted))

    return router


def _find_session(body: NewThread) -> ObjectId | None:
    """The session that the body names. Raises InputError when it also says what only a new one takes."""
    if body.session_id is None:
        return None
    why = "belongs to the session, which has its own; leave it out or name no session"
    wrong = [ConflictError(field, why) for field in ("user_id", "cost_limit") if getattr(body, field) is not None]
    if wrong:
        raise join_mistakes(wrong)
    return ObjectId(body.session_id)


def _plan_session(body: NewThread) -> SessionRequest:
    """The session that the body asks for."""
    fields = {name: value for name in ("user_id", "cost_limit") if (value := getattr(body, name)) is not None}
    wanted: SessionRequest = parse_request(SessionRequest, fields)
    return wanted
