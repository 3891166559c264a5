from __future__ import annotations

from orchestratex.domain.base import Component, Purpose, ResponseStatus, Step, StopReason
from orchestratex.domain.evaluation import Evaluation
from orchestratex.domain.response import Response
from orchestratex.domain.thread import IterationScore, Thread
from orchestratex.rules.flow import Decision, best_score, describe_panel, next_step
from orchestratex.rules.scoring import Aggregate, aggregate, improvement_noise, panel_confidence, weigh_refinement
from orchestratex.steps.counting import counted_evaluations
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.panel import leave_behind
from orchestratex.steps.services import Services
from orchestratex.steps.unheard import explain_unheard

# these are decided by weighing: nothing was left to weigh
_WEIGHED = {
    StopReason.QUALITY_THRESHOLD,
    StopReason.NO_IMPROVEMENT,
    StopReason.NOTHING_SEVERE,
    StopReason.MAX_ITERATIONS,
}


def weigh(thread: Thread, services: Services) -> Move:
    """Put the panel's scores together, keep the best response so far, and decide whether to go on."""
    # stragglers go before anything is read, so that none arrives in between
    leave_behind(thread, services, keeps_assessments=True)
    answer = _find_answer(thread, services)
    if answer is None:
        raise LookupError(f"thread {thread.id} has no answer in iteration {thread.current_iteration}")
    evaluations = counted_evaluations(thread, services)
    scores = _weigh_answer(thread, answer, evaluations, services)
    score = scores[-1]
    best = best_score(scores) or score
    services.store.mark_best(thread.id, best.response_id)
    decision = next_step(thread.options, scores)
    _report(thread, score, best, decision, services)
    changes = {
        "scores": scores,
        "best_response_id": best.response_id,
        "best_model_id": best.model_name,
        "final_quality_score": best.score,
        **services.recount(thread.id),
    }
    if decision.step is Step.SELECT:
        return Move(Step.SELECT, changes, iteration=thread.current_iteration + 1)
    halt = stop(decision.stop_reason or StopReason.FAILED, decision.reason)
    return Move(Step.FINISH, {**changes, **halt.changes})


def weigh_arrived(thread: Thread, services: Services) -> Thread:
    """The thread that is to end, with what has come of a panel that was cut short; as it is where nothing has.

    A revision that was evaluated before a deadline or a cancellation is not worth less for it.
    """
    is_broken = thread.stopped_at is Step.WEIGH and thread.stop_reason is StopReason.FAILED  # it would fail here, too
    if is_broken or thread.stop_reason in _WEIGHED or thread.stopped_at not in {Step.EVALUATE, Step.WEIGH}:
        return thread
    answer = _find_answer(thread, services)
    evaluations = counted_evaluations(thread, services)
    if answer is None or not any(evaluation.evaluated_response_id == answer.id for evaluation in evaluations):
        return thread
    scores = _weigh_answer(thread, answer, evaluations, services)
    best = best_score(scores) or scores[-1]
    end = Decision(step=Step.FINISH, stop_reason=thread.stop_reason, reason="the thread ends before its panel is whole")
    _report(thread, scores[-1], best, end, services)
    found = {"scores": scores, "best_response_id": best.response_id, "best_model_id": best.model_name}
    return thread.model_copy(update=found)


def _find_answer(thread: Thread, services: Services) -> Response | None:
    """The response that this iteration's panel evaluated."""
    for response in services.store.answers_of(thread.id, iteration=thread.current_iteration):
        if response.status is ResponseStatus.COMPLETED and response.purpose is not Purpose.ASSESSMENT:
            return response
    return None


def _weigh_answer(
    thread: Thread, answer: Response, evaluations: list[Evaluation], services: Services
) -> list[IterationScore]:
    """Record what the panel thought of an answer, and of how it dealt with the criticism; the scores, its own last."""
    score = _score(thread, answer, evaluations)
    if score.score is None:
        score = score.model_copy(update={"unheard": explain_unheard(thread, services)})
    services.store.update_evaluated(answer.id, {"selection_score": score.score})
    _weigh_criticism(thread, answer, evaluations, services)
    return [*(known for known in thread.scores if known.iteration != score.iteration), score]


def _score(thread: Thread, answer: Response, evaluations: list[Evaluation]) -> IterationScore:
    mine = [evaluation for evaluation in evaluations if evaluation.evaluated_response_id == answer.id]
    panel = aggregate(mine)
    earlier = best_score([score for score in thread.scores if score.iteration < thread.current_iteration])
    improved = False
    if panel is not None and earlier is not None and earlier.score is not None:
        before = [e for e in evaluations if e.evaluated_response_id == earlier.response_id]
        improved = panel.score > earlier.score + improvement_noise(before, mine)
    came = panel.evaluators if panel else 0
    asked = None if thread.panel_size is None else max(thread.panel_size, came)
    return IterationScore(
        iteration=thread.current_iteration,
        response_id=answer.id,
        model_name=answer.model_name,
        score=panel.score if panel else None,
        standard_error=panel.standard_error if panel else None,
        evaluators=came,
        asked=asked,
        confidence=_confidence(panel, asked),
        severe=panel.severe if panel else 0,
        improved=improved,
    )


def _confidence(panel: Aggregate | None, asked: int | None) -> float | None:
    if panel is None:
        return None
    wanted = panel.evaluators if asked is None else asked
    return panel_confidence(evaluators=panel.evaluators, asked=wanted, standard_error=panel.standard_error)


def _weigh_criticism(thread: Thread, answer: Response, evaluations: list[Evaluation], services: Services) -> None:
    """Fill what only the next panel can say of a revision."""
    for document in services.store.criticisms_of(thread.id):
        if document.id == answer.id:
            before = [e for e in evaluations if e.evaluated_response_id == document.original_response_id]
            after = [e for e in evaluations if e.evaluated_response_id == answer.id]
            outcome = weigh_refinement(before, after)
            if outcome is not None:
                services.store.update_criticism(document.id, outcome)


def _report(
    thread: Thread, score: IterationScore, best: IterationScore, decision: Decision, services: Services
) -> None:
    panel = describe_panel(score)
    shown = panel if score.score is None else f"score {score.score:.2f} from {panel}"
    services.journal.write(
        Component.ORCHESTRATOR,
        "panel_weighed",
        f"{shown}; {decision.reason}",
        thread=thread,
        model=score.model_name,
        score=score.score,
        evaluators=score.evaluators,
        asked=score.asked,
        confidence=score.confidence,
        best_iteration=best.iteration,
        severe=score.severe,
        next_step=decision.step,
        stop_reason=decision.stop_reason,
    )
