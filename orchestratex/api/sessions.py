from __future__ import annotations

from http import HTTPStatus

from bson import ObjectId
from fastapi import APIRouter, Response

from orchestratex.advance import end_session
from orchestratex.api.views import IdText, SessionChange, SessionView, view_session
from orchestratex.steps.services import Services
from orchestratex.steps.sittings import report_rating
from orchestratex.steps.submit import SessionRequest, open_session


def make_router(services: Services) -> APIRouter:
    """The routes of sessions."""
    router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

    @router.post("", status_code=HTTPStatus.CREATED)
    def open_one(request: SessionRequest, response: Response) -> SessionView:
        """Open a session: limits and wishes for the threads that will be added to it."""
        session = open_session(request, services)
        response.headers["Location"] = f"/v1/sessions/{session.id}"
        return view_session(session)

    @router.get("/{session_id}")
    def get_one(session_id: IdText) -> SessionView:
        """A session with what it has cost so far."""
        return view_session(services.store.get_session(ObjectId(session_id)))

    @router.patch("/{session_id}")
    def rate_one(session_id: IdText, change: SessionChange) -> SessionView:
        """Say how satisfied the user is, 1-10."""
        wanted = ObjectId(session_id)
        services.store.get_session(wanted)
        services.store.set_session(wanted, {"user_satisfaction": change.user_satisfaction})
        report_rating(wanted, change.user_satisfaction, services)
        return view_session(services.store.get_session(wanted))

    @router.post("/{session_id}/end")
    def end_one(session_id: IdText) -> SessionView:
        """End a session and cancel its running threads. Ending it again changes nothing."""
        wanted = ObjectId(session_id)
        end_session(wanted, services)
        return view_session(services.store.get_session(wanted))

    return router
