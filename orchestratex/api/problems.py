"""Errors as RFC 9457 problems: what was wrong, in which field, and what the limit is; never a stack trace."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from orchestratex.domain.inputs import describe_problem, shorten
from orchestratex.errors import CapacityError, ConflictError, InputError, NotFoundError, UnavailableError

MEDIA_TYPE: Final = "application/problem+json"
SECURITY_HEADERS: Final = {  # nothing of ours is to be framed, guessed at, kept by a browser, or told to other sites
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MAX_DETAIL_CHARS: Final = 2000  # an answer never grows with what was sent
_RETRY_AFTER_S: Final = "5"  # an election takes 12 s, a restart less

_log = logging.getLogger(__name__)


_SCHEMA: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what was wrong, and the limit"},
        "field": {"type": "string", "description": "the field that was wrong"},
    },
}


def describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for the API's description."""
    content = {MEDIA_TYPE: {"schema": _SCHEMA}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def problem(
    status: int, detail: str, *, field: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """A problem's response."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": shorten(detail, MAX_DETAIL_CHARS),
    }
    if field is not None:
        body["field"] = shorten(field, MAX_DETAIL_CHARS)
    return JSONResponse(
        body, status_code=status, media_type=MEDIA_TYPE, headers={**SECURITY_HEADERS, **(headers or {})}
    )


def add_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem."""
    app.exception_handler(InputError)(_on_input_error)
    app.exception_handler(CapacityError)(_on_full)
    app.exception_handler(UnavailableError)(_on_unavailable)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(Exception)(_on_error)


def _on_input_error(_request: Request, error: InputError) -> JSONResponse:
    statuses = {NotFoundError: HTTPStatus.NOT_FOUND, ConflictError: HTTPStatus.CONFLICT}
    return problem(statuses.get(type(error), HTTPStatus.UNPROCESSABLE_ENTITY), str(error), field=error.field)


def _on_full(_request: Request, error: CapacityError) -> JSONResponse:
    headers = {"Retry-After": str(math.ceil(error.retry_after_s))}
    return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers)


def _on_unavailable(_request: Request, error: UnavailableError) -> JSONResponse:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": _RETRY_AFTER_S})


def _on_invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(HTTPStatus.BAD_REQUEST, "the body is not JSON", field="body")
    field, wrong = describe_problem(first, skip=1)
    field = field or str(first["loc"][0])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {wrong}", field=field)


def _on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_find_methods(request)))
    return problem(error.status_code, error.detail, headers=headers)


def _find_methods(request: Request) -> set[str]:
    """Every method of a path. The router itself names those of the first route that has it."""
    found = {
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    }
    return found | {"HEAD"} if "GET" in found else found


def _on_error(request: Request, _error: Exception) -> JSONResponse:
    """The traceback goes to the log: the server raises it again behind this."""
    _log.error("%s %s failed", request.method, request.url.path)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of ours; the server's log holds its traceback")
