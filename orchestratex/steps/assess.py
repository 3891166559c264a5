"""What a model thinks of its own answer: asked for beside the panel, and nothing waits for it or fails with it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bson import ObjectId

from orchestratex.domain.base import Component, LogLevel, Purpose, Role
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import DocumentTooLargeError
from orchestratex.rules.prompts import Messages, assess_prompt
from orchestratex.rules.replies import Assessment, parse_assessment
from orchestratex.rules.shortfall import find_shortfall
from orchestratex.steps import budget
from orchestratex.steps.called import Called
from orchestratex.steps.calls import call_worst_case, close_failed, complete_read
from orchestratex.steps.request import allowed_output
from orchestratex.steps.select import pending_response
from orchestratex.steps.services import Services
from orchestratex.steps.telling import tell, tell_failure


def ask_assessment(thread: Thread, answer: Response, panel: Sequence[Response], services: Services) -> None:
    """Put the author's call beside the panel's, unless its answer brought an assessment or the money is for others.

    It is left out where what it leaves would not pay another panel like this one: evaluators come first.
    """
    profile = services.profile(answer.model_name)
    if services.settings.assessments == "off" or answer.confidence_score is not None or profile is None:
        return
    entry = pending_response(
        thread, answer.model_name, answer.role, answer.response_type, Purpose.ASSESSMENT, services, parent=answer.id
    )
    messages = build_assessment(thread, entry, services)
    amount = call_worst_case(profile, answer.role, messages, services, purpose=Purpose.ASSESSMENT)
    started = time.monotonic()
    days = _reserve(thread, entry, amount, sum(response.reserved_nanos for response in panel), services)
    if days is None:
        _report_dropped(thread, answer, services)
    elif time.monotonic() - started > services.settings.lease_s / 2:  # its money may have been taken for nobody's
        budget.settle(entry.model_copy(update={"days": days, "attempt": 1}), 0, services)
    else:
        services.store.insert_responses([entry.model_copy(update={"reserved_nanos": amount, "days": days})])


def build_assessment(thread: Thread, response: Response, services: Services) -> Messages:
    """The prompt of an assessment; a revision's says which objections it dealt with."""
    if response.parent_response_id is None:
        raise ValueError(f"response {response.id} assesses nothing")
    answer = services.store.get_response(response.parent_response_id, brief=True)
    revision = _find_revision(response, services)
    points = revision.specific_improvements if revision is not None else []
    return assess_prompt(thread, answer.response_text or "", nonce=services.nonce(), points=points)


def record_assessment(called: Called, services: Services) -> str:
    """Write what came back into the answer; one that cannot be read stays unknown and is not asked for again.

    Returns what became of it, for operators.
    """
    response = called.response
    if response is None or response.completion is None or response.parent_response_id is None:
        return called.why
    assessment = parse_assessment(response.completion.text, response.prompt_sent or "")
    if assessment is None:
        limit = allowed_output(response, services)
        found = find_shortfall(response.completion, limit=limit, problem="no assessment in it")
        return _give_up(response, found.record if found else "no assessment in the reply", services)
    try:
        _write(response, response.parent_response_id, assessment, services)
    except DocumentTooLargeError:
        return _give_up(response, "no room for it beside the answer", services)
    complete_read(response, services)
    return tell(response, "assessed its own answer")


def _give_up(response: Response, why: str, services: Services) -> str:
    close_failed(response, why, services)
    return tell_failure(why, "the answer stays without its author's assessment", response=response)


def assessed_fields(assessment: Assessment | None) -> dict[str, object]:
    """What an answer records of its assessment."""
    if assessment is None:
        return {}
    return {"confidence_score": assessment.confidence, "self_assessment": assessment.self_assessment}


def _write(response: Response, answer_id: ObjectId, assessment: Assessment, services: Services) -> None:
    services.store.update_evaluated(answer_id, assessed_fields(assessment))
    revision = _find_revision(response, services)
    if revision is not None:
        services.store.update_criticism(revision.id, _revision_fields(assessment))


def _revision_fields(assessment: Assessment) -> dict[str, object]:
    """What only the author can say of its revision; the rest is told by its answers to the points."""
    texts = {
        "clarifications": assessment.clarifications,
        "alternative_interpretations": assessment.alternative_interpretations,
    }
    return {"confidence_in_revision": assessment.confidence, **{name: text for name, text in texts.items() if text}}


def _find_revision(response: Response, services: Services) -> CriticismResponse | None:
    if response.role is not Role.REFINER:
        return None
    documents = services.store.criticisms_of(response.thread_id)
    return next((document for document in documents if document.id == response.parent_response_id), None)


def _reserve(thread: Thread, entry: Response, amount: int, others: int, services: Services) -> list[str] | None:
    """Hold its worst case; None where that leaves less than `others` need. Returns the day accounts that hold it."""
    if not amount:
        return []
    left = budget.available(thread.session_id, thread.user_id, services)
    if left is not None and left < amount + others:
        return None
    hold = budget.reserve(thread.session_id, thread.user_id, {f"{entry.id}_1": amount}, services)
    return list(hold.days) if hold.is_granted else None


def _report_dropped(thread: Thread, answer: Response, services: Services) -> None:
    services.journal.write(
        Component.ORCHESTRATOR,
        "budget_refused",
        f"the cost limit leaves no room for {answer.model_name}'s assessment of its answer",
        thread=thread,
        level=LogLevel.INFO,
        model=answer.model_name,
    )
