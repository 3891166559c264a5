"""Answers that are not whole: kept aside while a whole one is looked for, and shown, marked, where none comes."""

from __future__ import annotations

from orchestratex.domain.base import Component, FinishReason, LogLevel, Purpose, ResponseStatus
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import DocumentTooLargeError
from orchestratex.rules.replies import parse_answer
from orchestratex.rules.shortfall import Kind, Shortfall
from orchestratex.steps.failing import failed_fields
from orchestratex.steps.request import allowed_output
from orchestratex.steps.services import Services

MOST_MODELS = 3  # whose answers may come out in pieces, until one of these has to do


def set_aside(response: Response, shortfall: Shortfall, services: Services) -> Response | None:
    """Close an answer that is not whole: its raw completion keeps what came, for the case that no other comes."""
    failed = failed_fields(response, shortfall.record, services)
    return services.store.complete_response(response, {**failed, "is_partial": True, "stands_by": True})


def fall_back(thread: Thread, services: Services) -> Response | None:
    """Make the longest answer that stands by the answer of its iteration; None where there is one already, or none."""
    answers = services.store.answers_of(thread.id, iteration=thread.current_iteration)
    if any(each.status is ResponseStatus.COMPLETED and each.purpose is not Purpose.ASSESSMENT for each in answers):
        return None
    standing = [(each, _read_text(each, services)) for each in answers if each.stands_by]
    for longest, text in sorted(standing, key=lambda each: -len(each[1])):
        taken = _take(thread, longest, text, services)
        if taken is not None:
            return taken
    return None


def _read_text(response: Response, services: Services) -> str:
    """What a user would see of a reply that stands by."""
    if response.response_text is not None:  # of an older version
        return response.response_text
    whole = services.store.get_response(response.id)
    return parse_answer(whole.completion.text if whole.completion else "", whole.prompt_sent or "").text


def _take(thread: Thread, best: Response, text: str, services: Services) -> Response | None:
    """Complete an answer that stands by; None where its document has no room for the text."""
    changes = {"status": ResponseStatus.COMPLETED, "stands_by": False, "error_message": None, "response_text": text}
    try:
        services.store.update_evaluated(best.id, changes)
    except DocumentTooLargeError:
        return None
    services.journal.write(
        Component.ORCHESTRATOR,
        "partial_response_taken",
        f"{best.model_name}'s answer is taken although it is not whole: {best.error_message}",
        thread=thread,
        level=LogLevel.WARNING,
        model=best.model_name,
        response_id=str(best.id),
    )
    return best.model_copy(update=changes)


def may_go_elsewhere(thread: Thread, response: Response, shortfall: Shortfall, services: Services) -> bool:
    """Whether another model may bring the whole answer: one that is there, has room for it, and is not one too many."""
    answers = services.store.answers_of(thread.id, iteration=thread.current_iteration)
    tried = {each.model_name for each in answers if each.stands_by} | {response.model_name}
    if len(tried) >= MOST_MODELS:
        return False
    out = {*tried, *thread.failed_models, *thread.options.excluded_models}
    least = allowed_output(response, services) if shortfall.kind is Kind.CUT_OFF else 0
    return any(
        profile.is_available and profile.model_name not in out and profile.max_output_tokens > least
        for profile in services.usable_profiles()
    )


def room_needed(thread: Thread, services: Services) -> tuple[int, int]:
    """Output tokens at which texts of this iteration's answers were cut off, and at which any reply was; 0: none."""
    if not thread.failed_models:
        return 0, 0
    answers = services.store.answers_of(thread.id, iteration=thread.current_iteration)
    ended = [each for each in answers if each.finish_reason is FinishReason.LENGTH and each.output_limit]
    texts = max((each.output_limit or 0 for each in ended if each.stands_by), default=0)
    return texts, max((each.output_limit or 0 for each in ended), default=0)
