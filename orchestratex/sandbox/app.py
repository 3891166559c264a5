"""The ASGI application: completions by hand, because they are many; everything else by FastAPI."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from orchestratex.browsers import refuse
from orchestratex.sandbox.admin import create_admin
from orchestratex.sandbox.calls import ENDED, Call, Completion, complete, model_latency_s
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.dialects import Dialect, find_dialect
from orchestratex.sandbox.errors import CallError
from orchestratex.sandbox.evaluating import Bias
from orchestratex.sandbox.faults import Fault, FaultKind
from orchestratex.sandbox.ledger import OK, Entry
from orchestratex.sandbox.seeds import draw_ordinal
from orchestratex.sandbox.state import State
from orchestratex.sandbox.wire import HTML, Connections, Wire

_BEFORE: Final = frozenset({FaultKind.RATE_LIMIT, FaultKind.SERVER_ERROR, FaultKind.HANG, FaultKind.GARBAGE})
_SPOILED: Final = frozenset({FaultKind.MALFORMED, FaultKind.REFUSAL, FaultKind.EMPTY, *ENDED})
_RATE_LIMITED: Final = "Rate limit reached. Please try again later."
_BROKEN_DOWN: Final = "The server had an error while processing your request."
_PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Sandbox:
    """The server of the eight models."""

    def __init__(self, config: SandboxConfig) -> None:
        self.state = State(config)
        self.connections = Connections()
        self._admin = create_admin(self.state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and (refusal := self._refuse(scope)):
            await refusal(scope, receive, send)
            return
        found = find_dialect(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found:
            await self._serve_call(Wire(scope, receive, send, self.connections), *found)
        else:
            await self._admin(scope, receive, send)

    def _refuse(self, scope: Scope) -> PlainTextResponse | None:
        """What a browser sends for a foreign page, or under a name that is pointed at this machine, is not served."""
        headers = Headers(scope=scope)
        found = refuse(
            scope["method"],
            headers.get("host", ""),
            origins=headers.getlist("origin"),
            sites=headers.getlist("sec-fetch-site"),
            names=self.state.config.hosts,
        )
        return PlainTextResponse(f"{found[1]}: {found[2]}", found[0]) if found else None

    async def _serve_call(self, wire: Wire, dialect: Dialect, model: str) -> None:
        body = await wire.read()
        key = wire.headers.get(b"idempotency-key", "")
        try:
            dialect.check_key(wire.headers)
            call = dialect.read_call(body, self.state.catalogue, model=model, ordinal=draw_ordinal(key))
        except CallError as error:
            entry = self.state.ledger.open(key=key)
            self.state.ledger.close(entry, outcome=error.code, status=error.status)
            text = dialect.dump_error(error.status, error.code, error.message, param=error.param)
            await wire.reply(error.status, text, headers=dialect.headers(entry.number))
            return
        entry = self.state.ledger.open(
            key=key, model=call.model.name, task=call.task.kind.value, prompt_sha=call.prompt_sha
        )
        fault, bias = self.state.plan.draw(call.model.name, call.task.kind, key or str(entry.number))
        if fault and fault.kind in _BEFORE:
            await self._fail(wire, dialect, entry, fault)
        else:
            await self._speak(wire, dialect, entry, call, fault.kind if fault else None, bias)

    async def _fail(self, wire: Wire, dialect: Dialect, entry: Entry, fault: Fault) -> None:
        """End a call before the model has spoken; nothing is charged."""
        if fault.kind is FaultKind.HANG:
            await wire.hold(fault.hang_s)
            self.state.ledger.close(entry, outcome=fault.kind, status=None)
            await wire.cut()
            return
        status = {FaultKind.RATE_LIMIT: 429, FaultKind.SERVER_ERROR: dialect.overloaded}.get(fault.kind, 200)
        self.state.ledger.close(entry, outcome=fault.kind, status=status)
        headers = dialect.headers(entry.number)
        if fault.kind is FaultKind.RATE_LIMIT:
            wait_s = fault.retry_after_s
            text = dialect.dump_error(status, "rate_limit_exceeded", _RATE_LIMITED, retry_after_s=wait_s)
            await wire.reply(status, text, headers=[*headers, *dialect.retry_headers(wait_s)])
        elif fault.kind is FaultKind.SERVER_ERROR:
            await wire.reply(status, dialect.dump_error(status, "server_error", _BROKEN_DOWN), headers=headers)
        else:
            await wire.reply(status, _PAGE, content_type=HTML)

    async def _speak(
        self, wire: Wire, dialect: Dialect, entry: Entry, call: Call, fault: FaultKind | None, bias: Bias
    ) -> None:
        """Let the model speak, charge for it, and send what it said, well or badly."""
        spoil = fault if fault in _SPOILED else None
        config = self.state.config
        completion = complete(
            call,
            bias=bias,
            spoil=spoil,
            chars_per_token=config.chars_per_token,
            bills_worst_case=config.bills_worst_case,
        )
        await asyncio.sleep(self._latency_s(call, completion))
        self.state.ledger.charge(
            entry,
            input_tokens=completion.input_tokens,
            output_tokens=completion.output_tokens,
            cost_nanos=completion.cost_nanos,
        )
        status = None if fault is FaultKind.DROP else 200
        self.state.ledger.close(entry, outcome=fault or OK, status=status)
        body = dialect.dump_completion(call, completion, number=entry.number)
        await _send(wire, fault, body, dialect.headers(entry.number))

    def _latency_s(self, call: Call, completion: Completion) -> float:
        config = self.state.config
        if config.fixed_latency_s is not None:
            return config.fixed_latency_s
        return config.latency_scale * model_latency_s(call, completion) if config.latency_scale else 0.0


def create_app(config: SandboxConfig | None = None) -> Sandbox:
    """Return the ASGI application. Faults that cut connections need it to be served by `server.make_server`."""
    return Sandbox(config or SandboxConfig())


async def _send(wire: Wire, fault: FaultKind | None, body: bytes, headers: list[tuple[str, str]]) -> None:
    if fault is FaultKind.DROP:
        await wire.cut()
    elif fault is FaultKind.DROP_AFTER:
        await wire.reply_half(body)
    elif fault is FaultKind.TRUNCATED:
        await wire.reply(200, body[: len(body) // 2], headers=headers)
    else:
        await wire.reply(200, body, headers=headers)
