"""What operators and tests may see and change while a sandbox runs."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import ValidationError

from orchestratex.sandbox.config import Pace, SandboxConfig
from orchestratex.sandbox.faults import Fault
from orchestratex.sandbox.state import State


def create_admin(state: State) -> FastAPI:
    """Return the routes beside the chat completions."""
    app = FastAPI(title="OrchestrateX sandbox", openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the sandbox answers."""
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """List the models under their versions."""
        versions = sorted({model.version for model in state.catalogue.values()})
        return {"object": "list", "data": [_describe_model(version) for version in versions]}

    @app.get("/sandbox/faults")
    async def get_faults() -> list[dict[str, Any]]:
        """List the faults that are on, with the calls that each has hit."""
        pairs = zip(state.plan.faults, state.plan.hits, strict=True)
        return [fault.model_dump(mode="json") | {"hits": hits} for fault, hits in pairs]

    @app.put("/sandbox/faults")
    async def put_faults(faults: list[Fault]) -> list[dict[str, Any]]:
        """Switch to these faults and no others."""
        _reconfigure(state, {"faults": faults})
        state.plan.replace(faults)
        return await get_faults()

    @app.delete("/sandbox/faults")
    async def delete_faults() -> list[dict[str, Any]]:
        """Switch all faults off."""
        return await put_faults([])

    @app.get("/sandbox/ledger")
    async def get_ledger(summary: bool = False) -> dict[str, Any]:
        """Return every call, or with `?summary=1` counts and sums only."""
        found = state.ledger.summarise()
        return found if summary else found | {"entries": state.ledger.dump()}

    @app.delete("/sandbox/ledger")
    async def delete_ledger() -> dict[str, Any]:
        """Forget all calls."""
        state.ledger.clear()
        return state.ledger.summarise()

    @app.get("/sandbox/config")
    async def get_config() -> SandboxConfig:
        """Return how the sandbox is set up now."""
        return state.config

    @app.put("/sandbox/config")
    async def put_config(pace: Pace) -> SandboxConfig:
        """Change how long completions take; what is left out stays as it is."""
        _reconfigure(state, pace.model_dump(exclude_unset=True))
        return state.config

    return app


def _reconfigure(state: State, changes: dict[str, Any]) -> None:
    try:
        state.config = SandboxConfig.model_validate(dict(state.config) | changes)
    except ValidationError as error:
        raise HTTPException(422, str(error)) from error


def _describe_model(version: str) -> dict[str, Any]:
    return {"id": version, "object": "model", "created": 0, "owned_by": "sandbox"}
