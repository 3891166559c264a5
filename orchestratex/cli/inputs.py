"""What several commands check before anything is started or written."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from orchestratex.errors import InputError, join_mistakes

if TYPE_CHECKING:
    from datetime import datetime

    from bson import ObjectId

    from orchestratex.settings import Settings
    from orchestratex.steps.services import Services
    from orchestratex.steps.submit import SessionRequest, ThreadRequest


def read_settings() -> Settings:
    """The validated environment; variables that do nothing are told, once. Raises InputError naming those at fault."""
    from pydantic import ValidationError

    from orchestratex.domain.wordings import say_wrong
    from orchestratex.settings import load_settings

    _tell_misspelt()
    try:
        return load_settings()
    except ValidationError as error:
        raise join_mistakes([InputError(_name_variable(each), say_wrong(each)) for each in error.errors()]) from error


@lru_cache(maxsize=1)
def _tell_misspelt() -> None:
    from orchestratex.cli.output import say
    from orchestratex.settings import environment
    from orchestratex.variables import find_misspelt

    for line in find_misspelt(environment()):
        say(f"warning: {line}")


def _name_variable(error: Mapping[str, Any]) -> str:
    name = str(error["loc"][0])
    return name if name.isupper() else f"ORCHESTRATEX_{name.upper()}"


def parse_id(field: str, text: str) -> ObjectId:
    """An id as users write it. Raises InputError."""
    from bson import ObjectId

    if not ObjectId.is_valid(text):
        raise InputError(field, f"'{text}' is no id; an id has 24 hexadecimal digits")
    return ObjectId(text)


def parse_since(name: str, text: str) -> datetime:
    """A day, a moment in UTC, or a time ago such as 2h or 7d. Raises InputError."""
    from datetime import UTC, datetime

    from orchestratex.domain.inputs import parse_moment
    from orchestratex.rules.ages import since_age

    try:
        moment = since_age(text, datetime.now(UTC))
    except OverflowError as error:
        raise InputError(name, f"{text} is before the year 1") from error
    if moment is not None:
        return moment
    try:
        return parse_moment(text)
    except ValueError as error:
        raise InputError(name, f"{error}; or so long ago: 30min, 2h, 7d") from error


def parse_thread(data: dict[str, object]) -> ThreadRequest:
    """What can be said about a thread without the store. Raises InputError."""
    from orchestratex.steps.submit import ThreadRequest, parse_request

    request: ThreadRequest = parse_request(ThreadRequest, data)
    return request


def parse_session(cost_limit: float | None, session: str | None) -> SessionRequest | ObjectId:
    """The named session's id, or a request for a new one. Raises InputError."""
    if session is None:
        return plan_own_session(cost_limit)
    if cost_limit is not None:
        raise InputError("cost_limit", "belongs to the session, which has its own; leave it out or open a new session")
    return parse_id("session_id", session)


def plan_own_session(cost_limit: float | None) -> SessionRequest:
    """A request for a new session of this machine's user; the limit is in US dollars. Raises InputError."""
    from orchestratex.steps.submit import SessionRequest, parse_request

    request: SessionRequest = parse_request(SessionRequest, {"user_id": _user_name(), "cost_limit": cost_limit})
    return request


def require_models(services: Services) -> None:
    """Raise InputError when no model could answer anything here, saying what to do."""
    if not services.cache.all():
        raise InputError("models", "the database holds no model profiles; run `orchestratex init-db`")
    if not services.usable_profiles():
        raise InputError(
            "models",
            "no active model can be reached from here; set a provider's key (`orchestratex models` shows them) or "
            "ORCHESTRATEX_MODELS_BASE_URL, or add a model whose endpoint needs no key; start a stack that runs again",
        )


def _user_name() -> str:
    try:
        return getpass.getuser()[:200] or "local"
    except (OSError, KeyError):  # a container's user without a name
        return "local"
