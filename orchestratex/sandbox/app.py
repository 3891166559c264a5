"""The ASGI application: chat completions by hand, because they are many; everything else by FastAPI."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

from starlette.types import Receive, Scope, Send

from orchestratex.sandbox.admin import create_admin
from orchestratex.sandbox.chat import (
    Call,
    CallError,
    Completion,
    complete,
    dump_completion,
    dump_error,
    model_latency_s,
    read_call,
)
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.evaluating import Bias
from orchestratex.sandbox.faults import Fault, FaultKind
from orchestratex.sandbox.ledger import OK, Entry
from orchestratex.sandbox.state import State
from orchestratex.sandbox.wire import HTML, Connections, Wire

CHAT_PATH: Final = "/v1/chat/completions"
_BEFORE: Final = frozenset({FaultKind.RATE_LIMIT, FaultKind.SERVER_ERROR, FaultKind.HANG, FaultKind.GARBAGE})
_SPOILED: Final = frozenset({FaultKind.MALFORMED, FaultKind.REFUSAL, FaultKind.EMPTY})
_PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Sandbox:
    """The server of the eight models."""

    def __init__(self, config: SandboxConfig) -> None:
        self.state = State(config)
        self.connections = Connections()
        self._admin = create_admin(self.state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] == CHAT_PATH and scope["method"] == "POST":
            await self._serve_chat(Wire(scope, receive, send, self.connections))
        else:
            await self._admin(scope, receive, send)

    async def _serve_chat(self, wire: Wire) -> None:
        body = await wire.read()
        key = wire.headers.get(b"idempotency-key", "")
        try:
            _check_key(wire.headers.get(b"authorization", ""))
            call = read_call(body, self.state.catalogue)
        except CallError as error:
            self.state.ledger.close(self.state.ledger.open(key=key), outcome=error.code, status=error.status)
            await wire.reply(error.status, dump_error(error.status, error.code, error.message))
            return
        entry = self.state.ledger.open(
            key=key, model=call.model.name, task=call.task.kind.value, prompt_sha=call.prompt_sha
        )
        fault, bias = self.state.plan.draw(call.model.name, call.task.kind, key or str(entry.number))
        if fault and fault.kind in _BEFORE:
            await self._fail(wire, entry, fault)
        else:
            await self._speak(wire, entry, call, fault.kind if fault else None, bias)

    async def _fail(self, wire: Wire, entry: Entry, fault: Fault) -> None:
        """End a call before the model has spoken; nothing is charged."""
        if fault.kind is FaultKind.HANG:
            await wire.hold(fault.hang_s)
            self.state.ledger.close(entry, outcome=fault.kind, status=None)
            await wire.cut()
            return
        status = {FaultKind.RATE_LIMIT: 429, FaultKind.SERVER_ERROR: 500}.get(fault.kind, 200)
        self.state.ledger.close(entry, outcome=fault.kind, status=status)
        if fault.kind is FaultKind.RATE_LIMIT:
            await wire.reply(429, _RATE_LIMITED, headers=_retry_headers(fault.retry_after_s))
        elif fault.kind is FaultKind.SERVER_ERROR:
            await wire.reply(500, _BROKEN_DOWN)
        else:
            await wire.reply(200, _PAGE, content_type=HTML)

    async def _speak(self, wire: Wire, entry: Entry, call: Call, fault: FaultKind | None, bias: Bias) -> None:
        """Let the model speak, charge for it, and send what it said, well or badly."""
        spoil = fault if fault in _SPOILED else None
        completion = complete(call, bias=bias, spoil=spoil, chars_per_token=self.state.config.chars_per_token)
        await asyncio.sleep(self._latency_s(call, completion))
        self.state.ledger.charge(
            entry,
            input_tokens=completion.input_tokens,
            output_tokens=completion.output_tokens,
            cost_nanos=completion.cost_nanos,
        )
        status = None if fault is FaultKind.DROP else 200
        self.state.ledger.close(entry, outcome=fault or OK, status=status)
        await _send(wire, fault, dump_completion(call, completion, number=entry.number, created=int(time.time())))

    def _latency_s(self, call: Call, completion: Completion) -> float:
        config = self.state.config
        if config.fixed_latency_s is not None:
            return config.fixed_latency_s
        return config.latency_scale * model_latency_s(call, completion) if config.latency_scale else 0.0


def create_app(config: SandboxConfig | None = None) -> Sandbox:
    """Return the ASGI application. Faults that cut connections need it to be served by `server.make_server`."""
    return Sandbox(config or SandboxConfig())


async def _send(wire: Wire, fault: FaultKind | None, body: bytes) -> None:
    if fault is FaultKind.DROP:
        await wire.cut()
    elif fault is FaultKind.DROP_AFTER:
        await wire.reply_half(body)
    elif fault is FaultKind.TRUNCATED:
        await wire.reply(200, body[: len(body) // 2])
    else:
        await wire.reply(200, body)


def _check_key(authorization: str) -> None:
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise CallError(401, "invalid_api_key", "You didn't provide an API key.")


def _retry_headers(seconds: float) -> list[tuple[str, str]]:
    return [("retry-after", str(math.ceil(seconds))), ("retry-after-ms", str(round(seconds * 1000)))]


_RATE_LIMITED: Final = dump_error(429, "rate_limit_exceeded", "Rate limit reached. Please try again later.")
_BROKEN_DOWN: Final = dump_error(500, "server_error", "The server had an error while processing your request.")
