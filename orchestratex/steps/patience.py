"""How long a call goes on trying after failures, and how soon it tries again."""

from __future__ import annotations

import re

from orchestratex.domain.base import Purpose, ResponseStatus, Role
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import (
    InsecureConnectionError,
    ParameterRefusedError,
    ProviderConnectionError,
    ProviderError,
    ProviderRejectedError,
)
from orchestratex.steps.request import schema_of
from orchestratex.steps.services import Services

_SCHEMA = re.compile(
    r"schema|response_?format|json_object|json mode|structured output|grammar|guided|\btool", re.IGNORECASE
)
_REFUSED_MAX_S = 10.0  # a server that is back from its restart is found within so much


def is_refused(error: ProviderError) -> bool:
    """Whether nobody took the connection: nothing was sent, and a server that restarts takes it in a minute."""
    return isinstance(error, ProviderConnectionError) and not isinstance(error, InsecureConnectionError)


def leave_out(response: Response, error: ProviderError, services: Services) -> dict[str, object]:
    """What a call leaves out when it is sent again at once, because its model refused it; empty where it did not.

    Each parameter is left out once, so that nothing goes round in circles.
    """
    if isinstance(error, ParameterRefusedError) and error.parameter not in response.left_out:
        return {"left_out": [*response.left_out, error.parameter]}
    return {"without_schema": True} if is_schema_refused(response, error, services) else {}


def is_schema_refused(response: Response, error: ProviderError, services: Services) -> bool:
    """Whether a server takes offence at the schema of the reply: without it the prompt's own words must do."""
    profile = services.profile(response.model_name)
    is_sent = profile is not None and schema_of(profile, response) is not None
    return is_sent and isinstance(error, ProviderRejectedError) and _SCHEMA.search(str(error)) is not None


def may_try_again(thread: Thread, response: Response, error: ProviderError, delay_s: float, services: Services) -> bool:
    """Whether a call that failed with `error` is worth another try after the wait."""
    if is_refused(error):
        return may_await_server(thread, response, delay_s, services)
    is_worth_it = error.is_retryable and response.errors + 1 < services.settings.call_attempts
    return is_worth_it and _has_time(thread, delay_s, services)


def may_await_server(thread: Thread, response: Response, delay_s: float, services: Services) -> bool:
    """Whether a call may wait so long for a server that refused its connection.

    An evaluation waits as long as its panel has time, an answer as long as its thread has; but where another model
    could answer instead, no longer than `refused_patience_s`.
    """
    if not _has_time(thread, delay_s, services):
        return False
    now = services.clock()
    if response.role is Role.EVALUATOR:
        return thread.panel_deadline is None or (thread.panel_deadline - now).total_seconds() > delay_s
    if not has_alternative(thread, response, services):
        return True
    waited_s = (now - (response.refused_since or now)).total_seconds()
    return waited_s + delay_s <= services.settings.refused_patience_s


def has_alternative(thread: Thread, response: Response, services: Services) -> bool:
    """Whether the thread can do without this call: another model answers, others evaluate, or it is an assessment."""
    if response.purpose is Purpose.ASSESSMENT:
        return True
    if response.role is Role.EVALUATOR:
        panel = services.store.panel_of(thread.id, iteration=response.iteration_number)
        open_or_done = {ResponseStatus.PENDING, ResponseStatus.COMPLETED}
        return any(each.id != response.id and each.status in open_or_done for each in panel)
    out = {response.model_name, *thread.failed_models, *thread.options.excluded_models}
    return any(p.is_available and p.model_name not in out for p in services.usable_profiles())


def back_off(response: Response, error: ProviderError, services: Services) -> float:
    """Seconds until the next try: exponential with full jitter; the provider's own wish wins."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    settings = services.settings
    failed, most_s = response.errors, settings.backoff_max_s
    if is_refused(error):
        failed, most_s = response.refusals, min(_REFUSED_MAX_S, settings.backoff_max_s)
    return services.jitter() * min(most_s, settings.backoff_s * 2.0 ** min(failed, 32))


def _has_time(thread: Thread, delay_s: float, services: Services) -> bool:
    """Whether the thread's deadline leaves room for another try after the wait."""
    if thread.deadline_at is None:
        return delay_s < services.settings.thread_deadline_s
    return (thread.deadline_at - services.clock()).total_seconds() > delay_s
