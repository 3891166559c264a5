"""The page that describes the API: served from this machine alone, and allowed to load nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Final

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse, Response

_PACKAGE: Final = "fastapi_offline"  # ships Swagger UI; what it does with an app of its own is not used
_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>OrchestrateX</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", validatorUrl: null});
"""
# Swagger UI sets styles on its elements and draws its icons from data: addresses.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_docs(app: FastAPI) -> None:
    """Serve the page at /docs, and / leads there."""

    def show_page() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})

    def show_start() -> Response:
        return Response(_START, media_type="text/javascript")

    app.add_api_route("/docs", show_page, include_in_schema=False)
    app.add_api_route("/docs/start.js", show_start, include_in_schema=False)
    for name, media_type in _ASSETS.items():
        app.add_api_route(f"/docs/{name}", _serve(name, media_type), include_in_schema=False)
    app.add_api_route("/", lambda: RedirectResponse("/docs"), include_in_schema=False)


def _serve(name: str, media_type: str) -> Callable[[], Response]:
    def show() -> Response:
        return Response(files(_PACKAGE).joinpath("static", name).read_bytes(), media_type=media_type)

    return show
