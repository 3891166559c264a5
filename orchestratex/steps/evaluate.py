from __future__ import annotations

from bson import ObjectId

from orchestratex.domain.base import Component, Domain, Purpose
from orchestratex.domain.base import Step as StepName
from orchestratex.domain.evaluation import PROMPT_WITH_RESPONSE, Evaluation
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import DocumentTooLargeError
from orchestratex.faultpoints import FaultPoint
from orchestratex.rules.candidates import align_specialty
from orchestratex.rules.prompts import Messages, evaluate_prompt, number_criticisms
from orchestratex.rules.replies import EvaluationReply, MalformedReplyError, parse_evaluation
from orchestratex.rules.scoring import overall_score, scoring_weights
from orchestratex.rules.shortfall import Shortfall, find_shortfall, say_too_long
from orchestratex.steps.assess import build_assessment, record_assessment
from orchestratex.steps.called import Called, CallState
from orchestratex.steps.calls import close_failed, complete_read, run_call
from orchestratex.steps.panel import close_panel
from orchestratex.steps.poison import taking_back
from orchestratex.steps.reask import ask_again, problem_of, report_shortfall, say_again
from orchestratex.steps.request import allowed_output
from orchestratex.steps.results import Result, wait
from orchestratex.steps.services import Services
from orchestratex.steps.telling import tell, tell_failure


def evaluate(thread_id: ObjectId, response_id: ObjectId, services: Services) -> Result:
    """Get one evaluation, or the author's own beside them; the last of a panel moves the thread on to weigh."""
    called = run_call(response_id, lambda thread, response: _build(thread, response, services), services)
    if called.state is CallState.WAITING:
        return wait(StepName.EVALUATE, response_id, called, services)
    told = _tell_unread(called)
    if called.state is CallState.SAVED and called.response is not None:
        with taking_back(called.response, services):
            again, told = _read(called, services)
        if again is not None:
            return evaluate(thread_id, again, services)
    thread = called.thread or services.store.get_thread(thread_id)
    return Result(close_panel(thread, services), told)


def _tell_unread(called: Called) -> str:
    """What became of a call that brought no reply to read."""
    if called.state in {CallState.FAILED, CallState.UNAFFORDABLE}:
        return tell_failure(called.why, "left out of the panel", response=called.response)
    return called.why


def _build(thread: Thread, response: Response, services: Services) -> Messages:
    if response.purpose is Purpose.ASSESSMENT:
        return build_assessment(thread, response, services)
    if response.parent_response_id is None:
        raise ValueError(f"response {response.id} evaluates nothing")
    answer = services.store.get_response(response.parent_response_id, brief=True)
    return evaluate_prompt(thread, answer.response_text or "", nonce=services.nonce(), problem=problem_of(response))


def _read(called: Called, services: Services) -> tuple[ObjectId | None, str]:
    """Record the evaluation that came back; the id of the call that asks again when it cannot be read, and words."""
    thread, response = called.thread, called.response
    if thread is None or response is None or response.completion is None:
        return None, called.why
    if response.purpose is Purpose.ASSESSMENT:
        return None, record_assessment(called, services)
    try:
        reply = parse_evaluation(response.completion.text, response.prompt_sent or "")
    except MalformedReplyError as error:
        found = find_shortfall(response.completion, limit=allowed_output(response, services), problem=str(error))
        return _mend(thread, response, found, services) if found else (None, tell_failure(str(error), "left out"))
    evaluation = _record(thread, response, reply, services)
    try:
        services.store.insert_evaluation(evaluation)
    except DocumentTooLargeError:
        return _mend(thread, response, say_too_long("more than is known"), services)
    if complete_read(response, services, confidence_score=reply.confidence) is None:
        return None, tell(response, "came too late: the panel was weighed without it")
    services.faults.reach(FaultPoint.CALL_COMPLETED)
    services.journal.write(
        Component.EVALUATOR,
        "evaluation_completed",
        f"{response.model_name} gives {evaluation.overall_score:.2f}",
        thread=thread,
        model=response.model_name,
        processing_time=response.response_time,
        score=evaluation.overall_score,
        criticisms=len(evaluation.criticisms),
        cost_nanos=response.cost_nanos,
    )
    return None, tell(response, f"gives {evaluation.overall_score:.2f}")


def _mend(thread: Thread, response: Response, found: Shortfall, services: Services) -> tuple[ObjectId | None, str]:
    """Ask again for what cannot be read; where that did not help it is left out of the mean, never counted as 0."""
    again = ask_again(thread, response, found, services)  # noted before this is closed: no panel may look complete
    then = say_again(again) if again else "left out of the panel"
    report_shortfall(thread, response, found, then, services)
    close_failed(response, found.record, services)
    told = tell_failure(found.record, then, response=response)
    return again.id if again and not services.ending.is_set() else None, told  # a worker that ends leaves it to others


def _record(thread: Thread, response: Response, reply: EvaluationReply, services: Services) -> Evaluation:
    domain = thread.domain or Domain.GENERAL
    weights = scoring_weights(domain)
    profile = services.profile(response.model_name)
    answer_id = response.parent_response_id
    if answer_id is None:
        raise ValueError(f"response {response.id} evaluates nothing")
    return Evaluation(
        id=response.id,
        thread_id=thread.id,
        session_id=thread.session_id,
        evaluated_response_id=answer_id,
        evaluator_model=response.model_name,
        iteration_number=response.iteration_number,
        evaluation_criteria=reply.criteria,
        overall_score=overall_score(reply.criteria, weights),
        scoring_weights=weights,
        criticism_text=number_criticisms(reply.criticisms),
        positive_aspects=reply.positive_aspects,
        suggested_improvements=reply.suggested_improvements,
        alternative_approaches=reply.alternative_approaches,
        evaluator_confidence=reply.confidence,
        evaluator_speciality_match=align_specialty(profile, domain) if profile else 1.0,
        evaluation_prompt_used=PROMPT_WITH_RESPONSE,
        evaluation_time=response.response_time or 0.0,
        tokens_used=response.tokens_used.total_tokens if response.tokens_used else 0,
        cost=response.cost or 0.0,
        timestamp=services.clock(),
        criticisms=reply.criticisms,
    )
