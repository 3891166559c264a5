"""The two steps whose call yields an answer: respond, and (over refine.py's reading of the reply) refine."""

from __future__ import annotations

from dataclasses import dataclass, field

from bson import ObjectId

from orchestratex.domain.base import Component, LogLevel, Purpose, ResponseStatus, Role, Step, StopReason
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.faultpoints import FaultPoint
from orchestratex.rules.prompts import Messages, answer_prompt, assess_prompt
from orchestratex.rules.replies import Assessment, MalformedReplyError, parse_answer, parse_assessment
from orchestratex.steps.calls import Called, CallState, close_failed, completed_fields, run_call
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.panel import open_panel
from orchestratex.steps.poison import taking_back
from orchestratex.steps.results import Result, wait
from orchestratex.steps.select import pending_response
from orchestratex.steps.services import Services

_ANSWER_PURPOSES = (Purpose.RE_ASK, Purpose.ANSWER)  # a re-ask stands in for the answer that it repeats


@dataclass(frozen=True)
class Answer:
    """What was read from a reply: the text for the user, and what goes with it."""

    text: str
    assessment: Assessment | None
    criticism: CriticismResponse | None = field(default=None)


class Respond:
    """How the initial answer is asked for and read."""

    step = Step.RESPOND

    def build(self, thread: Thread, response: Response, services: Services) -> Messages:
        """The prompt of an answer."""
        return answer_prompt(thread, nonce=services.nonce(), problem=problem_of(response))

    def read(self, thread: Thread, response: Response, reply: str, services: Services) -> Answer:  # noqa: ARG002
        """Read an answer. Raises MalformedReplyError."""
        parsed = parse_answer(reply, response.prompt_sent or "")
        return Answer(parsed.text, parsed.assessment)


def respond(thread_id: ObjectId, services: Services) -> Result:
    """Get the initial answer and open its panel."""
    return run_answer(thread_id, Respond(), services)


def problem_of(response: Response) -> str | None:
    """What was wrong with the reply that this call asks for again."""
    return response.context_provided or None if response.purpose is Purpose.RE_ASK else None


def run_answer(thread_id: ObjectId, kind: Respond, services: Services) -> Result:
    """Do the due answer of a thread: its call, the reading of the reply, the panel that evaluates it."""
    thread = services.store.get_thread(thread_id)
    if thread.due_step is not kind.step:
        return Result(None, f"{kind.step} is not due")
    found = _find_answer(thread, services)
    if found is None:
        return _replace_model(thread, None, "its call is gone", services)
    if found.status is ResponseStatus.COMPLETED:
        return Result(open_panel(thread, found, services), "the answer was there already")
    if found.status is not ResponseStatus.PENDING:
        return _replace_model(thread, found.model_name, found.error_message or found.status, services)
    called = run_call(found.id, lambda t, r: kind.build(t, r, services), services)
    return _act(called, kind, services)


def _act(called: Called, kind: Respond, services: Services) -> Result:
    thread, response = called.thread, called.response
    if called.state is CallState.WAITING:
        return wait(kind.step, None, called, services)
    if called.state is CallState.LEFT or thread is None or response is None:
        return Result(None, called.why)
    if called.state is CallState.UNAFFORDABLE:
        return _stop_for_cost(thread, response, called.why, services)
    if called.state is CallState.FAILED:
        return _replace_model(thread, response.model_name, called.why, services)
    with taking_back(response, services):
        return _read(thread, response, kind, services)


def _read(thread: Thread, response: Response, kind: Respond, services: Services) -> Result:
    completion = response.completion
    try:
        answer = kind.read(thread, response, completion.text if completion else "", services)
    except MalformedReplyError as error:
        return _ask_again(thread, response, str(error), kind, services)
    if answer.criticism is not None:
        services.store.insert_criticism(answer.criticism)
    completed = services.store.complete_response(
        response, {**completed_fields(response, answer.text, services), **_assessed(answer.assessment)}
    )
    if completed is None:
        return Result(None, "the lease was lost while the reply was read")
    services.faults.reach(FaultPoint.CALL_COMPLETED)
    services.journal.write(
        Component.ORCHESTRATOR,
        "response_generated",
        f"{response.model_name} {'answered' if kind.step is Step.RESPOND else 'refined the answer'}",
        thread=thread,
        model=response.model_name,
        processing_time=response.response_time,
        response_id=str(response.id),
        cost_nanos=response.cost_nanos,
    )
    if answer.assessment is None and not services.ending.is_set():
        completed = _ask_assessment(thread, completed, services)
    return Result(open_panel(thread, completed, services), "answered")


def _assessed(assessment: Assessment | None) -> dict[str, object]:
    if assessment is None:
        return {}
    return {"confidence_score": assessment.confidence, "self_assessment": assessment.self_assessment}


def _ask_assessment(thread: Thread, answer: Response, services: Services) -> Response:
    """Ask once for the assessment that an answer came without; it stays unknown when that does not help."""
    entry = pending_response(
        thread, answer.model_name, answer.role, answer.response_type, Purpose.ASSESSMENT, services, parent=answer.id
    )
    services.store.insert_responses([entry])
    text = answer.response_text or ""
    called = run_call(entry.id, lambda t, _: assess_prompt(t, text, nonce=services.nonce()), services)
    if called.state is not CallState.SAVED or called.response is None or called.response.completion is None:
        return answer
    reply = called.response.completion.text
    assessment = parse_assessment(reply, called.response.prompt_sent or "")
    if assessment is None:
        close_failed(called.response, "no assessment in the reply", services)
        return answer
    services.store.complete_response(called.response, completed_fields(called.response, reply, services))
    services.store.update_evaluated(answer.id, _assessed(assessment))
    return answer.model_copy(update=_assessed(assessment))


def _find_answer(thread: Thread, services: Services) -> Response | None:
    """The call that this iteration's answer comes from: of the model selected last, a re-ask before the first ask."""
    found = [
        response
        for response in services.store.answers_of(thread.id, iteration=thread.current_iteration)
        if response.purpose in _ANSWER_PURPOSES and response.model_name not in thread.failed_models
    ]
    return min(found, key=lambda response: _ANSWER_PURPOSES.index(response.purpose), default=None)


def _ask_again(thread: Thread, response: Response, problem: str, kind: Respond, services: Services) -> Result:
    """Ask once more for a reply that could not be read; a second unreadable one costs the model its place."""
    report_malformed(thread, response, problem, services)
    if response.purpose is Purpose.RE_ASK:
        close_failed(response, f"malformed reply: {problem}", services)
        return _replace_model(thread, response.model_name, f"two replies that cannot be read: {problem}", services)
    again = pending_response(
        thread,
        response.model_name,
        response.role,
        response.response_type,
        Purpose.RE_ASK,
        services,
        parent=response.parent_response_id,
        criticisms=response.criticism_addressed,
    ).model_copy(update={"context_provided": problem})
    services.store.insert_responses([again])
    close_failed(response, f"malformed reply: {problem}", services)
    if services.ending.is_set():  # a process that is to end has time for the call under way, not for another
        return Result(None, "asked again elsewhere: this worker ends")
    return run_answer(thread.id, kind, services)


def report_malformed(thread: Thread, response: Response, problem: str, services: Services) -> None:
    """Record a reply that could not be read."""
    services.journal.write(
        Component.EVALUATOR if response.role is Role.EVALUATOR else Component.ORCHESTRATOR,
        "reply_malformed",
        f"{response.model_name}'s reply cannot be read: {problem}",
        thread=thread,
        level=LogLevel.WARNING,
        model=response.model_name,
        response_id=str(response.id),
        purpose=response.purpose,
    )


def _replace_model(thread: Thread, model: str | None, why: str, services: Services) -> Result:
    """Go back to select without this model."""
    failed = [*thread.failed_models, model] if model and model not in thread.failed_models else thread.failed_models
    moved = services.store.move_thread(thread, Move(Step.SELECT, {"failed_models": failed}).fields(thread))
    if moved is not None:
        services.journal.write(
            Component.ORCHESTRATOR,
            "model_replaced",
            f"{model or 'the model'} is replaced: {why}",
            thread=thread,
            level=LogLevel.WARNING,
            model=model,
        )
    return Result(moved, f"{model} is replaced")


def _stop_for_cost(thread: Thread, response: Response, why: str, services: Services) -> Result:
    move = stop(StopReason.COST_LIMIT, f"{response.model_name} was not called: {why}")
    return Result(services.store.move_thread(thread, move.fields(thread)), "the cost limit is reached")
