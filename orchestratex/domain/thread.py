from __future__ import annotations

from typing import Annotated

from pydantic import Field

from orchestratex.domain.base import (
    MAX_ITERATIONS,
    MAX_PROMPT_CHARS,
    Complexity,
    Count,
    Domain,
    Effort,
    FinishReason,
    Id,
    Leased,
    Millis,
    ModelName,
    Nanos,
    Record,
    Score,
    Step,
    StopReason,
    Strategy,
    ThreadStatus,
    Usd,
    UtcDate,
    added,
)


class ThreadOptions(Record):
    """What holds for this thread: the caller's options over the session's settings, resolved at submission."""

    max_iterations: int = Field(default=3, ge=1, le=MAX_ITERATIONS)
    quality_threshold: Score | None = None
    preferred_models: list[ModelName] = []
    excluded_models: list[ModelName] = []
    selection_strategy: Strategy = Strategy.HYBRID
    evaluators: list[ModelName] | None = None
    # from submission to the end; None: the installation's
    deadline_s: Annotated[float, Field(gt=0)] | None = added(None)
    effort: Effort | None = added(None)  # how hard models think; None: as each does by itself


class IterationScore(Record):
    """What the panel thought of one iteration's response."""

    iteration: int = Field(ge=1, le=MAX_ITERATIONS)
    response_id: Id
    model_name: ModelName
    score: Score | None  # None: no evaluation arrived
    standard_error: float | None = Field(default=None, ge=0)  # of the mean over evaluators; None with one evaluator
    evaluators: Count = 0  # whose evaluations came and could be read
    unheard: str | None = added(None)  # why no evaluation came, by evaluator; None: one did, or nobody was wanted
    asked: Count | None = added(None)  # evaluators that the panel should have had; None: not known, of older threads
    confidence: Score | None = added(None)  # how far the score can be trusted; see rules.scoring.panel_confidence
    severe: Count = 0  # severe criticisms on which two evaluators agree; see rules.severity
    improved: bool = False  # better than the best before it by more than the evaluators' noise


class Thread(Leased):
    """One prompt's life."""

    session_id: Id
    user_id: str = ""  # the session's, so that a call finds its user's budget
    original_prompt: str = Field(min_length=1, max_length=MAX_PROMPT_CHARS)
    processed_prompt: str | None = None  # until analysed
    domain: Domain | None = None  # until analysed
    complexity_level: Complexity | None = None  # until analysed
    estimated_difficulty: Score | None = None  # until analysed
    language: str | None = None  # ISO 639-1, until analysed; "und" when no language is recognised
    context: str | None = None  # the caller's; None: not given
    reference: int | str | None = added(None)  # the caller's own name for it; comes back with the results
    metadata: str | None = added(None)  # the caller's, as JSON; comes back with the results

    current_iteration: int = Field(default=1, ge=1, le=MAX_ITERATIONS)  # once ended: the last one that has an answer
    max_iterations_reached: bool = False  # the last iteration that was allowed has an answer
    best_model_id: ModelName | None = None  # its author
    best_response_id: Id | None = None  # the truth about which one is best; from the first completed answer on

    thread_status: ThreadStatus = ThreadStatus.INITIALIZING
    failure_reason: str | None = None  # of failed threads alone, once ended

    final_response: str | None = None  # the best response's text, once ended
    final_quality_score: Score | None = None  # the best panel's aggregate so far; None: nothing was weighed
    final_finish_reason: FinishReason | None = added(None)  # why the final response's model stopped writing
    is_final_partial: bool = added(False)  # the final response is not whole: the output limit or a filter ended it
    user_accepted: bool | None = None  # until the user says

    # counted from the responses while it runs, once more at its end, and when a late charge comes
    total_models_involved: Count = 0  # models with a completed call
    total_tokens_used: Count = 0
    total_cost: Usd = 0.0  # US dollars, total_cost_nanos for people
    is_simulated: bool = added(False)  # the sandbox played a model of it: texts and costs are made up
    total_time_spent: Millis = 0  # from created_at to completed_at; 0 while it runs

    created_at: UtcDate
    updated_at: UtcDate
    completed_at: UtcDate | None = None  # until ended

    # the state machine
    due_step: Step | None = Step.ANALYSE  # None: terminal
    is_queued: bool = added(False)  # stands in line for a place: nobody works on it yet
    moves: Count = 0  # raised by every move; part of every compare-and-set
    stop_reason: StopReason | None = None  # None: it runs
    options: ThreadOptions = ThreadOptions()
    total_cost_nanos: Nanos = 0
    scores: list[IterationScore] = []  # of iterations that were weighed, or for whose panel no money was left
    panel_size: Count | None = added(None)  # evaluators that the present panel should have
    failed_models: list[ModelName] = []  # could not answer in this thread: not selected again
    panel_deadline: UtcDate | None = None  # after it a panel is weighed with what has come
    quorum_deadline: UtcDate | None = added(None)  # after it a quorum of the panel is enough
    deadline_at: UtcDate | None = added(None)  # after it the thread ends with what it has
    # the step that was due when the thread went to its end: where a retry resumes
    stopped_at: Step | None = added(None)
    stopped_in: Count | None = added(None)  # the iteration in which it stood then
    retries: Count = added(0)  # how often the ended thread was taken up again

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen to the thread."""
        return self.thread_status in {ThreadStatus.COMPLETED, ThreadStatus.FAILED}
