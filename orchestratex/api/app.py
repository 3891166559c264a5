"""The HTTP door. Handlers are plain functions, run in threads: the store's driver blocks."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from orchestratex import __version__
from orchestratex.api import health, metrics, sessions, threads
from orchestratex.api.guards import BodyLimit, LoopbackGuard
from orchestratex.api.problems import add_handlers, describe_problems
from orchestratex.steps.services import Services


def create_app(services: Services) -> FastAPI:
    """The application over these services."""
    app = FastAPI(title="OrchestrateX", version=__version__, redoc_url=None)
    for part in (sessions, threads, metrics, health):
        app.include_router(part.make_router(services), responses=describe_problems(400, 404, 413, 421, 422, 429, 503))
    app.add_api_route("/", lambda: RedirectResponse("/docs"), include_in_schema=False)
    add_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(LoopbackGuard)
    return app
