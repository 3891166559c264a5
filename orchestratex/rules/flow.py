"""Where a thread goes next. Decisions are values; whoever asked acts on them."""

from __future__ import annotations

from collections.abc import Sequence

from orchestratex.domain.base import Record, Step, StopReason, ThreadStatus
from orchestratex.domain.thread import IterationScore, Thread, ThreadOptions

STALE_ITERATIONS = 2  # so many iterations in a row without improvement end the thread


class Decision(Record):
    """What is due after a panel was weighed, and why."""

    step: Step
    reason: str
    stop_reason: StopReason | None = None


def next_step(options: ThreadOptions, scores: Sequence[IterationScore]) -> Decision:
    """Decide whether to refine once more, from the scores of all iterations so far, the latest last.

    Where several rules would end the thread, the one that says most about the answer names the reason: that no more
    iterations are allowed comes last, and is told by `max_iterations_reached` anyway.
    """
    best = best_score(scores)
    if best is None or best.score is None:
        why = "no other model could be asked to evaluate" if best and best.asked == 0 else "no evaluation arrived"
        return _stop(StopReason.FAILED, f"{why}, so nothing tells whether a revision would be better")
    if options.quality_threshold is not None and best.score >= options.quality_threshold:
        return _stop(
            StopReason.QUALITY_THRESHOLD, f"score {best.score:.2f} reaches the threshold {options.quality_threshold:g}"
        )
    if best.severe == 0:
        who = "its only evaluator names no" if best.evaluators == 1 else "no two evaluators agree on a"
        return _stop(StopReason.NOTHING_SEVERE, f"{who} severe flaw in the best response")
    if len(scores) > STALE_ITERATIONS and not any(score.improved for score in scores[-STALE_ITERATIONS:]):
        return _stop(
            StopReason.NO_IMPROVEMENT,
            f"{STALE_ITERATIONS} iterations brought no improvement beyond the evaluators' noise",
        )
    if scores[-1].iteration >= options.max_iterations:
        return _stop(StopReason.MAX_ITERATIONS, f"{options.max_iterations} iterations were allowed and used")
    return Decision(step=Step.SELECT, reason=f"{best.severe} severe criticisms stand against the best response")


def best_score(scores: Sequence[IterationScore]) -> IterationScore | None:
    """The best iteration: the highest score, the earliest of equals; one without a score only where none has one."""
    scored = [score for score in scores if score.score is not None]
    if scored:
        return max(scored, key=lambda score: (score.score or 0.0, -score.iteration))
    return scores[0] if scores else None


def describe_panel(score: IterationScore, stop_reason: StopReason | None = None) -> str:
    """How many of the evaluations that were wanted stand behind a score, or why there is none."""
    if score.score is None and score.unheard:
        return f"none of {score.asked or 0} evaluations came ({score.unheard}): no score"
    if score.asked is None:
        count = f"{score.evaluators} evaluation{'' if score.evaluators == 1 else 's'}"
        return count if score.score is not None else "no evaluation could be read or came back: no score"
    if score.score is not None:
        return f"{score.evaluators} of {score.asked} evaluations"
    if score.asked == 0:
        return "no other model could be asked: no evaluation, no score"
    why = "could be paid for" if stop_reason is StopReason.COST_LIMIT else "could be read or came back"
    return f"none of {score.asked} evaluations {why}: no score"


def describe_best_panel(thread: Thread) -> str | None:
    """The same of the response that a thread shows; None while there is nothing to say."""
    best = best_score(thread.scores)
    if best is not None:
        return describe_panel(best, thread.stop_reason)
    is_completed = thread.thread_status is ThreadStatus.COMPLETED
    return "it ended before its panel was weighed: no score" if is_completed else None


def status_for(step: Step, iteration: int) -> ThreadStatus:
    """What the user sees while `step` is due."""
    if step is Step.SELECT:
        return ThreadStatus.MODEL_SELECTION if iteration == 1 else ThreadStatus.REFINING
    return {
        Step.ANALYSE: ThreadStatus.INITIALIZING,
        Step.RESPOND: ThreadStatus.RESPONDING,
        Step.EVALUATE: ThreadStatus.EVALUATING,
        Step.WEIGH: ThreadStatus.CRITICISM,
        Step.REFINE: ThreadStatus.REFINING,
        Step.FINISH: ThreadStatus.CRITICISM,
    }[step]


def refinement_outcomes(thread: Thread) -> dict[str, list[bool]]:
    """For each model that has refined in this thread: whether each of its revisions improved the answer."""
    outcomes: dict[str, list[bool]] = {}
    for score in thread.scores:
        if score.iteration > 1:
            outcomes.setdefault(score.model_name, []).append(score.improved)
    return outcomes


def _stop(reason: StopReason, text: str) -> Decision:
    return Decision(step=Step.FINISH, stop_reason=reason, reason=text)
