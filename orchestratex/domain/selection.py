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
    final_score: Score
    selection_reasoning: str
    rated_answers: Count = added(0)  # its first answers in the domain that were rated by then
    exploration_bonus: float = added(0.0)  # points in final_score that were drawn for being little tried
    expected_cost: Usd | None = added(None)  # US dollars for the whole thread, rounds and panels, if it answers


class Selection(Document):
    """The recorded choice of a model and its reasons."""

    thread_id: Id
    session_id: Id
    iteration_number: int = Field(ge=1, le=MAX_ITERATIONS)
    selection_phase: SelectionPhase
    algorithm_version: str
    selection_strategy: Strategy
    candidates_considered: list[Candidate]
    selected_model: ModelName
    selection_confidence: Score
    runner_up_model: ModelName | None = None  # None: only one candidate
    selection_margin: float | None = Field(default=None, ge=0)  # None: only one candidate
    primary_selection_factors: list[str]
    override_reasons: str = ""
    selection_success: bool | None = None  # until the thread ends
    actual_performance: Score | None = None  # until the thread ends, and where nothing was weighed
    selection_accuracy_score: float | None = Field(default=None, ge=0, le=1)
    timestamp: UtcDate
    selection_time: Millis
    ordinal: Count = 0  # tells selections of one phase apart when a model had to be replaced
