"""What the types cannot say of the API, because it depends on this installation."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from orchestratex.errors import UnavailableError
from orchestratex.steps.services import Services

_LISTS: Final = ("preferred_models", "excluded_models", "evaluators")


def describe(app: FastAPI, services: Services) -> None:
    """Let the app's description say which models it knows and how long a thread may take."""
    make = app.openapi

    def make_description() -> dict[str, Any]:
        app.openapi_schema = None  # models come and go
        description = make()
        schemas = description["components"]["schemas"]
        for request in (schemas["SessionRequest"], schemas["NewThread"]):
            _describe_options(request, _known_models(services), services.settings.thread_deadline_s)
        return description

    app.openapi = make_description  # type: ignore[method-assign]


def _known_models(services: Services) -> list[str]:
    try:
        return sorted(profile.model_name for profile in services.cache.all())
    except UnavailableError:
        return []


def _describe_options(request: dict[str, Any], names: list[str], deadline_s: float) -> None:
    for field in _LISTS if names else ():
        _array(request["properties"][field])["items"] = {"type": "string", "enum": names}
    _variant(request["properties"]["deadline_s"], "number")["maximum"] = deadline_s


def _array(field: dict[str, Any]) -> dict[str, Any]:
    return _variant(field, "array")


def _variant(field: dict[str, Any], kind: str) -> dict[str, Any]:
    """The part of an optional field's description that is not null."""
    found: dict[str, Any] = next(each for each in field["anyOf"] if each.get("type") == kind)
    return found
