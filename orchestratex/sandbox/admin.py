"""What operators and tests may see and change while a sandbox runs."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from orchestratex.sandbox.calls import find_model
from orchestratex.sandbox.config import Pace, SandboxConfig
from orchestratex.sandbox.dialects import GENERATE, MESSAGES, Dialect
from orchestratex.sandbox.errors import CallError
from orchestratex.sandbox.faults import Fault
from orchestratex.sandbox.manners import describe_anthropic, describe_parameters
from orchestratex.sandbox.models import Model
from orchestratex.sandbox.state import State


def create_admin(state: State) -> FastAPI:
    """Return the routes beside the chat completions."""
    app = FastAPI(title="OrchestrateX sandbox", openapi_url=None)
    guarded = APIRouter(prefix="/sandbox", dependencies=[Depends(_make_check(state))])
    by_version = {model.version: model for model in state.catalogue.values()}
    versions = [by_version[version] for version in sorted(by_version)]

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the sandbox answers."""
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """List the models under their versions."""
        return {"object": "list", "data": [_describe_model(model) for model in versions]}

    @app.get("/anthropic/v1/models")
    async def anthropic_models() -> dict[str, Any]:
        """List the models as Anthropic does."""
        rows = [_describe_anthropic(model) for model in versions]
        return {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}

    @app.get("/anthropic/v1/models/{version}")
    async def anthropic_model(version: str) -> Response:
        """Describe a model as Anthropic does."""
        return _one_model(state, version, MESSAGES, _describe_anthropic)

    @app.get("/google/v1beta/models")
    async def google_models() -> dict[str, Any]:
        """List the models as Google does."""
        return {"models": [_describe_google(model) for model in versions]}

    @app.get("/google/v1beta/models/{version}")
    async def google_model(version: str) -> Response:
        """Describe a model as Google does."""
        return _one_model(state, version, GENERATE, _describe_google)

    @guarded.get("/faults")
    async def get_faults() -> list[dict[str, Any]]:
        """List the faults that are on, with the calls that each has hit."""
        pairs = zip(state.plan.faults, state.plan.hits, strict=True)
        return [fault.model_dump(mode="json") | {"hits": hits} for fault, hits in pairs]

    @guarded.put("/faults")
    async def put_faults(faults: list[Fault]) -> list[dict[str, Any]]:
        """Switch to these faults and no others."""
        _reconfigure(state, {"faults": faults})
        state.plan.replace(faults)
        return await get_faults()

    @guarded.delete("/faults")
    async def delete_faults() -> list[dict[str, Any]]:
        """Switch all faults off."""
        return await put_faults([])

    @guarded.get("/ledger")
    async def get_ledger(summary: bool = False) -> dict[str, Any]:
        """Return every call, or with `?summary=1` counts and sums only."""
        found = state.ledger.summarise()
        return found if summary else found | {"entries": state.ledger.dump()}

    @guarded.delete("/ledger")
    async def delete_ledger() -> dict[str, Any]:
        """Forget all calls."""
        state.ledger.clear()
        return state.ledger.summarise()

    @guarded.get("/config")
    async def get_config() -> SandboxConfig:
        """Return how the sandbox is set up now."""
        return state.config

    @guarded.put("/config")
    async def put_config(pace: Pace) -> SandboxConfig:
        """Change how long completions take; what is left out stays as it is."""
        _reconfigure(state, pace.model_dump(exclude_unset=True))
        return state.config

    app.include_router(guarded)
    return app


def _make_check(state: State) -> Callable[[Request], Awaitable[None]]:
    async def check_key(request: Request) -> None:
        """Faults and the ledger are for who started the sandbox, not for who may call its models."""
        key = state.config.admin_key
        if key is None or not key.get_secret_value():
            raise HTTPException(403, "no admin key is set: start the sandbox with ORCHESTRATEX_SANDBOX_ADMIN_KEY")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        wanted = key.get_secret_value().encode()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), wanted):
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "the admin key is wanted: send Authorization: Bearer KEY", headers)

    return check_key


def _reconfigure(state: State, changes: dict[str, Any]) -> None:
    try:
        state.config = SandboxConfig.model_validate(dict(state.config) | changes)
    except ValidationError as error:
        raise HTTPException(422, str(error)) from error


def _describe_model(model: Model) -> dict[str, Any]:
    known = describe_parameters(model.manners) if model.manners else {}
    return {"id": model.version, "object": "model", "created": 0, "owned_by": "sandbox", **known}


def _describe_anthropic(model: Model) -> dict[str, Any]:
    known = {"capabilities": describe_anthropic(model.manners)} if model.manners else {}
    created_at = "1970-01-01T00:00:00Z"
    return {"type": "model", "id": model.version, "display_name": model.version, "created_at": created_at, **known}


def _describe_google(model: Model) -> dict[str, Any]:
    version = model.version
    known = {"thinking": model.manners.default != "none"} if model.manners else {}
    methods = ["generateContent"]
    return {"name": f"models/{version}", "version": version, "supportedGenerationMethods": methods, **known}


def _one_model(state: State, name: str, dialect: Dialect, describe: Callable[[Model], dict[str, Any]]) -> Response:
    try:
        return JSONResponse(describe(find_model(name, state.catalogue)))
    except CallError as error:
        body = dialect.dump_error(error.status, error.code, error.message)
        return Response(body, error.status, media_type="application/json")
