from __future__ import annotations

from bson import ObjectId

from orchestratex.domain.base import Step
from orchestratex.domain.criticism import CriticismResponse, Improvement
from orchestratex.domain.evaluation import Criticism, Evaluation
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.rules import markers
from orchestratex.rules.prompts import Messages, merge_criticisms, refine_prompt
from orchestratex.rules.replies import Assessment, MalformedReplyError, PointReply, RefineReply, parse_refinement
from orchestratex.steps.reask import problem_of
from orchestratex.steps.respond import Answer, Respond, run_answer
from orchestratex.steps.results import Result
from orchestratex.steps.services import Services


class Refine(Respond):
    """How a revision is asked for and read."""

    step = Step.REFINE

    def build(self, thread: Thread, response: Response, services: Services) -> Messages:
        """The prompt of a revision: the answer to improve and the numbered criticisms of it."""
        parent = services.store.get_response(_parent_id(response), brief=True)
        return refine_prompt(
            thread,
            parent.response_text or "",
            _criticisms(thread, response, services)[1],
            is_author=parent.model_name == response.model_name,
            nonce=services.nonce(),
            problem=problem_of(response),
        )

    def read(self, thread: Thread, response: Response, reply: str, services: Services) -> Answer:
        """Read a revision and its answers to the criticisms. Raises MalformedReplyError, for half a revision too."""
        if f"</{markers.REVISED_TAG}" not in reply:
            raise MalformedReplyError(f"the part <{markers.REVISED_TAG}> is missing or has no end")
        evaluations, criticisms = _criticisms(thread, response, services)
        parsed = parse_refinement(reply, response.prompt_sent or "", criticisms=len(criticisms))
        document = _document(thread, response, parsed, evaluations, criticisms, services)
        return Answer(parsed.text, parsed.assessment, document, is_whole=True)


def refine(thread_id: ObjectId, services: Services) -> Result:
    """Get the revision that answers the criticism and open its panel."""
    return run_answer(thread_id, Refine(), services)


def _parent_id(response: Response) -> ObjectId:
    if response.parent_response_id is None:
        raise ValueError(f"response {response.id} refines nothing")
    return response.parent_response_id


def _criticisms(thread: Thread, response: Response, services: Services) -> tuple[list[Evaluation], list[Criticism]]:
    """The evaluations that a revision answers, and their objections in the order in which they are numbered."""
    evaluations = [
        e for e in services.store.evaluations_of(thread.id, brief=True) if e.id in response.criticism_addressed
    ]
    return evaluations, merge_criticisms(evaluations)


def _document(
    thread: Thread,
    response: Response,
    parsed: RefineReply,
    evaluations: list[Evaluation],
    criticisms: list[Criticism],
    services: Services,
) -> CriticismResponse:
    accepted = [point for point in parsed.points if point.accepted]
    disputed = [point for point in parsed.points if not point.accepted]
    words = parsed.assessment or Assessment(confidence=5)
    usage = response.tokens_used
    return CriticismResponse(
        id=response.id,
        thread_id=thread.id,
        session_id=thread.session_id,
        original_response_id=_parent_id(response),
        criticism_evaluation_ids=[evaluation.id for evaluation in evaluations],
        responding_model=response.model_name,
        iteration_number=thread.current_iteration,
        acknowledgment=words.acknowledgment or _list(accepted, criticisms),
        disagreement=words.disagreement or _list(disputed, criticisms),
        clarifications=words.clarifications,
        specific_improvements=[
            _improvement(point, criticisms) for point in parsed.points if point.point <= len(criticisms)
        ],
        revised_answer=parsed.text,
        explanation_of_changes=words.explanation_of_changes or "\n".join(point.change for point in accepted),
        confidence_in_revision=parsed.assessment.confidence if parsed.assessment else None,
        rebuttal_points=words.rebuttal_points or "\n".join(point.why for point in disputed),
        alternative_interpretations=words.alternative_interpretations,
        criticism_processing_time=response.prompt_time or 0.0,
        response_generation_time=response.response_time or 0.0,
        total_tokens_used=usage.total_tokens if usage else 0,
        cost=response.cost or 0.0,
        timestamp=services.clock(),
    )


def _improvement(point: PointReply, criticisms: list[Criticism]) -> Improvement:
    return Improvement(
        criticism_point=criticisms[point.point - 1].point,
        improvement_made=point.change,
        justification=point.why,
        accepted=point.accepted,
    )


def _list(points: list[PointReply], criticisms: list[Criticism]) -> str:
    return "\n".join(criticisms[point.point - 1].point for point in points if point.point <= len(criticisms))
