"""What every request must pass before it reaches a route."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestratex.api.bodies import BodyError, check_json
from orchestratex.api.problems import SECURITY_HEADERS, problem
from orchestratex.browsers import changes_state, refuse

MAX_BODY_BYTES: Final = 5_000_000  # a prompt and a context of 200,000 characters each, escaped at their longest
MAX_HEADER_BYTES: Final = 32_768  # of all fields together: browsers send some 1,000
MAX_HEADERS: Final = 128
_JSON: Final = "application/json"


class BrowserGuard:
    """Refuses requests for other hosts, and changes that a page of another origin asks for; says how to treat answers.

    A browser also takes names that a page's owner points at this machine, and sends forms of any page anywhere.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _refuse(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in _HEADERS if each[0] not in named)]
            await send(message)

        await self._app(scope, receive, send_safely)


class HeadAnswers:
    """Answers HEAD wherever GET is answered: with the same header, and no body. Probes of balancers ask that way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_header(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_header)


class BodyGuard:
    """Lets through whole bodies of JSON that are not longer than any good request.

    A body that is cut off before its announced end is no request: nothing happens, and nobody is there to answer.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refuse_headers(scope["method"], headers)
        body = bytearray()
        if refusal is None and not await self._read(receive, body):
            return
        refusal = refusal or self._refuse_body(scope["method"], headers, body)
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, _replay(bytes(body), receive), send)

    def _refuse_headers(self, method: str, headers: Headers) -> Response | None:
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length[:20]) > self._max_bytes:
            return self._too_long()
        if changes_state(method) and any(not _is_json(each) for each in headers.getlist("content-type")):
            return _no_json()
        return None

    def _refuse_body(self, method: str, headers: Headers, body: bytearray) -> Response | None:
        if len(body) > self._max_bytes:
            return self._too_long()
        if not body or not changes_state(method):
            return None
        if "content-type" not in headers:
            return _no_json()
        try:
            check_json(bytes(body))
        except BodyError as error:
            return problem(HTTPStatus.BAD_REQUEST, f"the body {error}", field="body")
        return None

    async def _read(self, receive: Receive, body: bytearray) -> bool:
        """Append what comes, at the most a little more than the limit; False when the client went before the end."""
        while len(body) <= self._max_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            body += message.get("body", b"")
            if not message.get("more_body", False):
                return True
        return True

    def _too_long(self) -> Response:
        detail = f"the body is longer than {self._max_bytes} bytes"
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, field="body")


def _refuse(scope: Scope) -> Response | None:
    fields = scope["headers"]
    if len(fields) > MAX_HEADERS or sum(len(name) + len(value) for name, value in fields) > MAX_HEADER_BYTES:
        detail = f"the header has more than {MAX_HEADERS} fields or {MAX_HEADER_BYTES} bytes"
        return problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail, headers={"Connection": "close"})
    headers = Headers(scope=scope)
    origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
    found = refuse(scope["method"], headers.get("host", ""), origins=origins, sites=sites)
    if found is None:
        return None
    status, header, reason = found
    return problem(status, reason, field=header)


def _is_json(content_type: str) -> bool:
    """Whether it is JSON in UTF-8. What forms may send across origins is not."""
    kind, _, parameter = content_type.lower().partition(";")
    return kind.strip() == _JSON and parameter.replace('"', "").strip() in {"", "charset=utf-8"}


def _no_json() -> Response:
    detail = f"bodies are JSON: send Content-Type: {_JSON}, or neither type nor body where none is asked for"
    return problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        detail,
        field="Content-Type",
        headers={"Accept": _JSON},  # RFC 9110, 15.5.16
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


_HEADERS: Final = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
