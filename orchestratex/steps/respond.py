"""The two steps whose call yields an answer: respond, and (over refine.py's reading of the reply) refine."""

from __future__ import annotations

from dataclasses import dataclass, field

from bson import ObjectId

from orchestratex.domain.base import Component, LogLevel, Purpose, ResponseStatus, Step, StopReason
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.response import Completion, Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import DocumentTooLargeError
from orchestratex.faultpoints import FaultPoint
from orchestratex.rules.prompts import Messages, answer_prompt
from orchestratex.rules.replies import Assessment, MalformedReplyError, parse_answer
from orchestratex.rules.shortfall import Kind, Shortfall, find_shortfall, say_too_long
from orchestratex.steps.assess import assessed_fields
from orchestratex.steps.called import Called, CallState
from orchestratex.steps.calls import close_failed, completed_fields, run_call
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.panel import open_panel
from orchestratex.steps.poison import taking_back
from orchestratex.steps.provision import is_other_affordable, release
from orchestratex.steps.reask import ask_again, problem_of, report_shortfall, say_again
from orchestratex.steps.request import allowed_output
from orchestratex.steps.results import Result, wait
from orchestratex.steps.services import Services
from orchestratex.steps.standby import fall_back, may_go_elsewhere, set_aside
from orchestratex.steps.telling import tell, tell_failure
from orchestratex.steps.unchanged import find_same, stop_unchanged

_TAIL = 30  # characters by which the end of a text is known
_ANSWER_PURPOSES = frozenset({Purpose.ANSWER, Purpose.RE_ASK})


@dataclass(frozen=True)
class Answer:
    """What was read from a reply: the text for the user, and what goes with it."""

    text: str
    assessment: Assessment | None
    criticism: CriticismResponse | None = field(default=None)
    is_whole: bool = field(default=False)  # what came after the text is there, too: the text is not cut off


class Respond:
    """How the initial answer is asked for and read."""

    step = Step.RESPOND

    def build(self, thread: Thread, response: Response, services: Services) -> Messages:
        """The prompt of an answer."""
        return answer_prompt(thread, nonce=services.nonce(), problem=problem_of(response))

    def read(self, thread: Thread, response: Response, reply: str, services: Services) -> Answer:  # noqa: ARG002
        """Read an answer. Raises MalformedReplyError."""
        parsed = parse_answer(reply, response.prompt_sent or "")
        is_whole = parsed.assessment is not None and not _ends_with_text(reply, parsed.text)
        return Answer(parsed.text, parsed.assessment, is_whole=is_whole)


def respond(thread_id: ObjectId, services: Services) -> Result:
    """Get the initial answer and open its panel."""
    return run_answer(thread_id, Respond(), services)


def run_answer(thread_id: ObjectId, kind: Respond, services: Services) -> Result:
    """Do the due answer of a thread: its call, the reading of the reply, the panel that evaluates it."""
    thread = services.store.get_thread(thread_id)
    if thread.due_step is not kind.step:
        return Result(None, f"{kind.step} is not due")
    found = _find_answer(thread, services)
    if found is None:
        return _replace_model(thread, None, "its call is gone", services)
    if found.status is ResponseStatus.COMPLETED:
        return Result(_go_on(thread, found, services), tell(found, "had answered already"))
    if found.status is not ResponseStatus.PENDING:
        return _replace_model(thread, found.model_name, found.error_message or found.status, services, found)
    called = run_call(found.id, lambda t, r: kind.build(t, r, services), services, is_judged=True)
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
        return _replace_model(thread, response.model_name, called.why, services, response)
    with taking_back(response, services):
        return _read(thread, response, kind, services)


def _read(thread: Thread, response: Response, kind: Respond, services: Services) -> Result:
    answer, shortfall = _judge(thread, response, kind, services)
    if answer is None or shortfall is not None:
        return _mend(thread, response, answer, shortfall, kind, services)
    try:
        completed = _complete(response, answer, services)
    except DocumentTooLargeError:
        return _mend(thread, response, None, say_too_long("more than is known"), kind, services)
    if completed is None:
        return Result(None, "the lease was lost while the reply was read")
    services.faults.reach(FaultPoint.CALL_COMPLETED)
    services.journal.write(
        Component.ORCHESTRATOR,
        "response_generated",
        f"{response.model_name} {_did(kind)}",
        thread=thread,
        model=response.model_name,
        processing_time=response.response_time,
        response_id=str(response.id),
        cost_nanos=response.cost_nanos,
    )
    return Result(_go_on(thread, completed, services), tell(completed, _did(kind)))


def _did(kind: Respond) -> str:
    return "answered" if kind.step is Step.RESPOND else "refined the answer"


def _go_on(thread: Thread, answer: Response, services: Services) -> Thread | None:
    """Have an answer evaluated, unless it is one that was."""
    same = find_same(thread, answer, services) if answer.parent_response_id else None
    return open_panel(thread, answer, services) if same is None else stop_unchanged(thread, answer, same, services)


def _ends_with_text(reply: str, text: str) -> bool:
    """Whether nothing comes after the text: then it may have been cut off, whatever stood before it."""
    return reply.rstrip().endswith(text.rstrip()[-_TAIL:])


def _complete(response: Response, answer: Answer, services: Services) -> Response | None:
    if answer.criticism is not None:
        services.store.insert_criticism(answer.criticism)
    fields = {**completed_fields(response, answer.text, services), **assessed_fields(answer.assessment)}
    return services.store.complete_response(response, fields)


def _judge(
    thread: Thread, response: Response, kind: Respond, services: Services
) -> tuple[Answer | None, Shortfall | None]:
    """What can be read from a reply, and in what it falls short."""
    completion = response.completion or Completion(text="")
    answer, problem = None, None
    try:
        answer = kind.read(thread, response, completion.text, services)
    except MalformedReplyError as error:
        problem = str(error)
    limit = allowed_output(response, services)
    is_whole = answer is not None and answer.is_whole
    return answer, find_shortfall(completion, limit=limit, problem=problem, is_whole=is_whole)


def _find_answer(thread: Thread, services: Services) -> Response | None:
    """The call that this iteration's answer comes from: the one that brought it, else the first under way.

    Of the model selected last, each re-ask stands in for the reply that it asks for again.
    """
    found = services.store.answers_of(thread.id, iteration=thread.current_iteration)
    asked = [response for response in found if response.purpose in _ANSWER_PURPOSES]
    done = next((response for response in asked if response.status is ResponseStatus.COMPLETED), None)
    if done is not None:
        return done
    chain = sorted((each for each in asked if each.model_name not in thread.failed_models), key=_place)
    return next((each for each in chain if each.status is ResponseStatus.PENDING), chain[-1] if chain else None)


def _place(response: Response) -> int:
    return response.ordinal + 1 if response.purpose is Purpose.RE_ASK else 0


def _mend(
    thread: Thread,
    response: Response,
    answer: Answer | None,
    shortfall: Shortfall | None,
    kind: Respond,
    services: Services,
) -> Result:
    """Deal with a reply that is not what was wanted: ask again, ask another model, or take what came, marked."""
    found = shortfall or Shortfall(Kind.UNREADABLE, "malformed reply", "could not be read")
    again = ask_again(thread, response, found, services)  # noted before this one is closed
    goes_elsewhere = again is None and (answer is None or may_go_elsewhere(thread, response, found, services))
    closed = close_failed(response, found.record, services) if answer is None else set_aside(response, found, services)
    if closed is None:
        return Result(None, "the lease was lost while the reply was read")
    services.faults.reach(FaultPoint.CALL_COMPLETED)
    then = say_again(again) if again else "another model is asked" if goes_elsewhere else "it stands as it is"
    report_shortfall(thread, response, found, then, services)
    if again is None and goes_elsewhere:
        return _replace_model(thread, response.model_name, found.record, services, response)
    if again is None:
        return _take_partial(thread, services)
    if services.ending.is_set():  # a process that is to end has time for the call under way, not for another
        return Result(None, tell_failure(found.record, f"{then} elsewhere: this worker ends", response=response))
    return run_answer(thread.id, kind, services)


def _take_partial(thread: Thread, services: Services) -> Result:
    """Go on with the longest answer that stands by, which its panel may judge for what it is."""
    taken = fall_back(thread, services)
    if taken is None:
        return Result(None, "somebody else went on with this answer")
    return Result(_go_on(thread, taken, services), tell(taken, "gave an answer that is not whole, which was taken"))


def _replace_model(
    thread: Thread, model: str | None, why: str, services: Services, response: Response | None = None
) -> Result:
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
    return Result(moved, tell_failure(why, "another model is asked", response=response))


def _stop_for_cost(thread: Thread, response: Response, why: str, services: Services) -> Result:
    taken = fall_back(thread, services)
    if taken is not None:  # it was to be asked for once more, and there is no money for that
        return Result(
            _go_on(thread, taken, services), tell(taken, "gave an answer that is not whole: no money for another")
        )
    if is_other_affordable(thread, response.model_name, services):
        release(thread, services)
        return _replace_model(thread, response.model_name, why, services)
    move = stop(StopReason.COST_LIMIT, f"{response.model_name} was not called: {why}")
    told = tell_failure(why, "the cost limit is reached", response=response)
    return Result(services.store.move_thread(thread, move.fields(thread)), told)
