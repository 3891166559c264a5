from __future__ import annotations

from pydantic import Field

from orchestratex.domain.base import (
    MAX_ITERATIONS,
    Count,
    Document,
    Id,
    Millis,
    ModelName,
    Record,
    Score,
    SelectionPhase,
    Strategy,
    Usd,
    UtcDate,
    added,
)


class Candidate(Record):
    """A model considered."""

    model_name: ModelName
    domain_match_score: Score
    historical_performance: Score
    cost_efficiency: Score
    availability_score: Score
    specialty_alignment: Score
    final_score: Score  # of a final selection: the mean of the panel of its best response
    selection_reasoning: str  # how this score came about
    rated_answers: Count = added(0)  # its first answers in the domain that were rated by then
    exploration_bonus: float = added(0.0)  # points in final_score that were drawn for being little tried
    expected_cost: Usd | None = added(None)  # US dollars for the whole thread, rounds and panels, if it answers


class Selection(Document):
    """The recorded choice of a model and its reasons."""

    thread_id: Id
    session_id: Id
    iteration_number: int = Field(ge=1, le=MAX_ITERATIONS)  # the one that it opens; of a final one: the last answered
    selection_phase: SelectionPhase  # final: which response is shown
    algorithm_version: str
    selection_strategy: Strategy
    candidates_considered: list[Candidate]
    selected_model: ModelName
    selection_confidence: Score
    runner_up_model: ModelName | None = None  # None: only one candidate
    selection_margin: float | None = Field(default=None, ge=0)  # None: only one candidate
    primary_selection_factors: list[str]
    override_reasons: str = ""
    # until the thread ends, and where nothing was weighed: its model failed, or no evaluation came
    selection_success: bool | None = None  # see rules.selection.selection_outcome
    actual_performance: Score | None = None  # the aggregate of what it brought; of a final one: of the response shown
    selection_accuracy_score: float | None = Field(default=None, ge=0, le=1)
    timestamp: UtcDate
    selection_time: Millis  # measured, in every phase
    ordinal: Count = 0  # tells selections of one phase apart when a model had to be replaced
