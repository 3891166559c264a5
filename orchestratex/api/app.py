"""The HTTP door. Handlers are plain functions, run in threads: the store's driver blocks."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI

from orchestratex import __version__
from orchestratex.api import health, metrics, sessions, threads
from orchestratex.api.description import describe
from orchestratex.api.docs import add_docs
from orchestratex.api.guards import BodyGuard, BrowserGuard, HeadAnswers
from orchestratex.api.problems import add_handlers, describe_problems
from orchestratex.steps.health import HealthWatch
from orchestratex.steps.services import Services

_PROBLEMS: Final = (400, 403, 404, 405, 408, 409, 413, 415, 421, 422, 429, 431, 503)


def create_app(services: Services) -> FastAPI:
    """The application over these services."""
    app = FastAPI(title="OrchestrateX", version=__version__, docs_url=None, redoc_url=None)
    watch = HealthWatch(services)
    routers = (
        sessions.make_router(services),
        threads.make_router(services, watch),
        metrics.make_router(services),
        health.make_router(watch),
    )
    for router in routers:
        app.include_router(router, responses=describe_problems(*_PROBLEMS))
    add_docs(app)
    describe(app, services)
    add_handlers(app, services)
    app.add_middleware(HeadAnswers)
    app.add_middleware(BodyGuard)
    app.add_middleware(BrowserGuard)
    return app
