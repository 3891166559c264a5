"""Errors as RFC 9457 problems: what was wrong, in which field, and what the limit is; never a stack trace."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from orchestratex.domain.inputs import MOST_MISTAKES, describe_problem, shorten
from orchestratex.errors import (
    BrokerUnavailableError,
    CapacityError,
    ConflictError,
    InputError,
    LimiterUnavailableError,
    MistakesError,
    NoModelError,
    NotFoundError,
    StoreUnavailableError,
    UnavailableError,
    join_mistakes,
)
from orchestratex.steps.lookup import name_id
from orchestratex.steps.services import Services
from orchestratex.steps.submit import find_mistakes

MEDIA_TYPE: Final = "application/problem+json"
SECURITY_HEADERS: Final = {  # nothing of ours is to be framed, guessed at, kept by a browser, or told to other sites
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MAX_DETAIL_CHARS: Final = 2000  # an answer never grows with what was sent
_MOST_CHARS: Final = 300  # of each of several
_RETRY_AFTER_S: Final = "5"  # an election takes 12 s, a restart less
_NAMES: Final = "urn:orchestratex:problem:"
_KINDS: Final = {  # by status; what has a name of its own beside these is in _KINDS_OF_ERRORS
    HTTPStatus.BAD_REQUEST: "malformed-request",
    HTTPStatus.FORBIDDEN: "foreign-origin",
    HTTPStatus.NOT_FOUND: "no-such-path",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_TIMEOUT: "request-too-slow",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body-too-large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "not-json",
    HTTPStatus.MISDIRECTED_REQUEST: "foreign-host",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid-input",
    HTTPStatus.TOO_MANY_REQUESTS: "at-capacity",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "header-too-large",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal-error",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}
_KINDS_OF_ERRORS: Final[dict[type[Exception], str]] = {
    NotFoundError: "not-found",
    StoreUnavailableError: "store-unavailable",
    BrokerUnavailableError: "broker-unavailable",
    LimiterUnavailableError: "limits-unavailable",
    NoModelError: "no-model",
}
TOO_MANY_CONNECTIONS: Final = "too-many-connections"
_ALL_KINDS: Final = sorted({*_KINDS.values(), *_KINDS_OF_ERRORS.values(), TOO_MANY_CONNECTIONS})

_log = logging.getLogger(__name__)


_SCHEMA: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "enum": [f"{_NAMES}{kind}" for kind in _ALL_KINDS],
            "description": "what kind of problem it is, by a name that stays as it is",
        },
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what was wrong, and the limit"},
        "field": {"type": "string", "description": "the field that was wrong, the first of several"},
        "errors": {
            "type": "array",
            "description": "each field that was wrong, where several were",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for the API's description."""
    content = {MEDIA_TYPE: {"schema": _SCHEMA}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


class _Wrong(NamedTuple):
    field: str
    detail: str


def problem(
    status: int,
    detail: str,
    *,
    kind: str | None = None,
    field: str | None = None,
    errors: Sequence[_Wrong] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """A problem's response. Its type is named by `kind`, or follows from the status; `errors` are told from two on."""
    body: dict[str, Any] = {
        "type": _NAMES + (kind or _KINDS.get(HTTPStatus(status), "unexpected")),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": shorten(detail, MAX_DETAIL_CHARS),
    }
    if field is not None:
        body["field"] = shorten(field, MAX_DETAIL_CHARS)
    if len(errors) > 1:
        body["errors"] = [
            {name: shorten(text, _MOST_CHARS) for name, text in each._asdict().items()} for each in errors
        ]
    return JSONResponse(
        body, status_code=status, media_type=MEDIA_TYPE, headers={**SECURITY_HEADERS, **(headers or {})}
    )


def add_handlers(app: FastAPI, services: Services) -> None:
    """Make every error of the app a problem."""

    def on_not_found(request: Request, error: NotFoundError) -> JSONResponse:
        return _on_input_error(request, name_id(error, services.store))

    def on_invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
        return _refuse_body(error, services)

    app.exception_handler(InputError)(_on_input_error)
    app.exception_handler(NotFoundError)(on_not_found)
    app.exception_handler(CapacityError)(_on_full)
    app.exception_handler(UnavailableError)(_on_unavailable)
    app.exception_handler(RequestValidationError)(on_invalid_request)
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(Exception)(_on_error)


def _on_input_error(_request: Request | None, error: InputError) -> JSONResponse:
    statuses = {NotFoundError: HTTPStatus.NOT_FOUND, ConflictError: HTTPStatus.CONFLICT}
    mistakes = error.mistakes if isinstance(error, MistakesError) else (error,)
    found = {statuses.get(type(each), HTTPStatus.UNPROCESSABLE_ENTITY) for each in mistakes}
    status = found.pop() if len(found) == 1 else HTTPStatus.UNPROCESSABLE_ENTITY
    errors = [_Wrong(each.field, str(each)) for each in mistakes]
    return problem(status, str(error), kind=_KINDS_OF_ERRORS.get(type(error)), field=error.field, errors=errors)


def _on_full(_request: Request, error: CapacityError) -> JSONResponse:
    headers = {"Retry-After": str(math.ceil(error.retry_after_s))}
    return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers)


def _on_unavailable(_request: Request, error: UnavailableError) -> JSONResponse:
    kind = next((name for each, name in _KINDS_OF_ERRORS.items() if isinstance(error, each)), None)
    headers = {"Retry-After": _RETRY_AFTER_S}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), kind=kind, headers=headers)


def _refuse_body(error: RequestValidationError, services: Services) -> JSONResponse:
    """Tell all that is wrong with a request: in its form, and in what is well-formed of its options."""
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        return problem(HTTPStatus.BAD_REQUEST, "the body is not JSON", field="body")
    told = dict.fromkeys(_read_problem(each) for each in found[:MOST_MISTAKES])
    mistakes = [InputError(*each) for each in told]
    if isinstance(error.body, dict):
        wrong = {str(each["loc"][1]) for each in found if len(each["loc"]) > 1}
        sound = {name: value for name, value in error.body.items() if name not in wrong}
        with contextlib.suppress(UnavailableError):
            mistakes += find_mistakes(sound, services)
    return _on_input_error(None, join_mistakes(mistakes[:MOST_MISTAKES]))


def _read_problem(error: Any) -> tuple[str, str]:
    field, wrong = describe_problem(error, skip=1)
    return field or str(error["loc"][0]), wrong


def _on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    headers = dict(error.headers or {})
    detail = error.detail
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_find_methods(request)))
        detail = f"this path does not take {request.method}; it takes {headers['Allow']}"
    elif error.status_code == HTTPStatus.NOT_FOUND:
        detail = "there is nothing at this path; /docs says what there is"
    return problem(error.status_code, detail, headers=headers)


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
