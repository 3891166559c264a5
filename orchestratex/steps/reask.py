"""A reply that falls short is asked for again, each time differently: in its words, its limit, its form."""

from __future__ import annotations

from orchestratex.domain.base import Component, LogLevel, Purpose, Role
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.rules.pricing import affordable_output, prompt_tokens
from orchestratex.rules.shortfall import MOST_RE_ASKS, Kind, Shortfall, longer_limit, may_ask_again
from orchestratex.steps import budget
from orchestratex.steps.request import allowed_output, schema_of
from orchestratex.steps.select import pending_response
from orchestratex.steps.services import Services
from orchestratex.steps.span import sending_span

_MORE_TOKENS = 100  # by which the words about what was wrong make the prompt longer
_MOST_WORDS = 1000  # characters: a problem may quote the reply
_OLD_WORDS = "could not be read: "


def problem_of(response: Response) -> str | None:
    """What was wrong with the reply that this call asks for again, in words for the model."""
    if response.purpose is not Purpose.RE_ASK:
        return None
    if response.asked_again_for is None:  # older versions kept it in the context's place
        return _OLD_WORDS + response.context_provided if response.context_provided else None
    return response.asked_again_for


def ask_again(thread: Thread, response: Response, shortfall: Shortfall, services: Services) -> Response | None:
    """Note the call that asks the same model again; None where that is of no use, or the budget does not allow it.

    A task that runs twice finds the call that was noted first.
    """
    re_asks = response.ordinal + 1 if response.purpose is Purpose.RE_ASK else 0
    if not may_ask_again(shortfall, re_asks=re_asks, was_for_length=response.output_wanted is not None):
        return None
    wanted = response.output_wanted
    again = pending_response(
        thread,
        response.model_name,
        response.role,
        response.response_type,
        Purpose.RE_ASK,
        services,
        parent=response.parent_response_id,
        criticisms=response.criticism_addressed,
        ordinal=re_asks,
    )
    noted = _find_noted(again, services)
    if noted is not None:
        return noted
    if shortfall.is_for_length:
        wanted = _affordable_limit(thread, response, shortfall.kind, services)
        if wanted is None:
            return None
    told = shortfall.told + (f"; now {wanted} tokens are allowed" if shortfall.is_for_length else "")
    is_schema_out = response.without_schema or not shortfall.is_for_length or re_asks + 1 == MOST_RE_ASKS
    again = again.model_copy(
        update={"asked_again_for": told[:_MOST_WORDS], "output_wanted": wanted, "without_schema": is_schema_out}
    )
    services.store.insert_responses([again])
    return again


def say_again(again: Response) -> str:
    """How a call asks again, in words for the record."""
    return "asked again" + (f" with up to {again.output_wanted} tokens" if again.output_wanted else "")


def report_shortfall(thread: Thread, response: Response, shortfall: Shortfall, then: str, services: Services) -> None:
    """Record what a reply fell short in, and what is done about it."""
    services.journal.write(
        Component.EVALUATOR if response.role is Role.EVALUATOR else Component.ORCHESTRATOR,
        "reply_malformed" if shortfall.kind is Kind.UNREADABLE else f"reply_{shortfall.kind}",
        f"{response.model_name}: {shortfall.record}; {then}",
        thread=thread,
        level=LogLevel.WARNING,
        model=response.model_name,
        response_id=str(response.id),
        purpose=response.purpose,
        output_limit=response.output_limit,
    )


def _find_noted(again: Response, services: Services) -> Response | None:
    read = services.store.panel_of if again.role is Role.EVALUATOR else services.store.answers_of
    known = read(again.thread_id, iteration=again.iteration_number)
    return next((each for each in known if each.id == again.id), None)


def _affordable_limit(thread: Thread, response: Response, kind: Kind, services: Services) -> int | None:
    """The output limit to ask again with: what model, context and budget allow."""
    profile = services.profile(response.model_name)
    if profile is None:
        return None
    limit = allowed_output(response, services)
    return longer_limit(limit, kind, most=_most_output(thread, response, profile, services))


def _most_output(thread: Thread, response: Response, profile: Profile, services: Services) -> int:
    given = prompt_tokens(response.prompt_sent or "", json_schema=schema_of(profile, response)) + _MORE_TOKENS
    most = min(profile.max_output_tokens, max(0, profile.max_context_length - given))
    left, span = budget.available(thread.session_id, thread.user_id, services), sending_span(services)
    return most if left is None else min(most, affordable_output(profile, input_tokens=given, nanos=left, span=span))
