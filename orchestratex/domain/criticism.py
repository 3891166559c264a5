from __future__ import annotations

from pydantic import Field

from orchestratex.domain.base import MAX_ITERATIONS, Count, Document, Id, Millis, ModelName, Record, Score, Usd, UtcDate


class Improvement(Record):
    """The record of one change: a point of the criticism and what was done about it."""

    criticism_point: str
    improvement_made: str
    justification: str
    accepted: bool = True  # False: the model disputes the point


class CriticismResponse(Document):
    """How a model answered the criticism. Its id is that of the response that it was read from."""

    thread_id: Id
    session_id: Id
    original_response_id: Id
    criticism_evaluation_ids: list[Id]
    responding_model: ModelName
    iteration_number: int = Field(ge=1, le=MAX_ITERATIONS)
    acknowledgment: str
    disagreement: str
    clarifications: str
    specific_improvements: list[Improvement]
    revised_answer: str
    explanation_of_changes: str
    confidence_in_revision: Score | None = None  # None: the model left it out after a re-ask
    rebuttal_points: str
    alternative_interpretations: str
    criticism_processing_time: Millis
    response_generation_time: Millis
    total_tokens_used: Count
    cost: Usd
    improvement_score: Score | None = None  # until weighed
    addresses_criticism: bool | None = None  # until weighed
    maintains_strengths: bool | None = None  # until weighed
    timestamp: UtcDate
