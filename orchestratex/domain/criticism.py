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
    original_response_id: Id  # the best response when the criticism was made
    criticism_evaluation_ids: list[Id]
    responding_model: ModelName
    iteration_number: int = Field(ge=1, le=MAX_ITERATIONS)  # the one that the revision opens
    acknowledgment: str  # the objections that the model accepts
    disagreement: str  # those that it disputes; empty where none is
    clarifications: str  # empty where the model gives none
    specific_improvements: list[Improvement]
    revised_answer: str  # one that repeats an answer which was weighed is not evaluated again, and ends the thread
    explanation_of_changes: str
    confidence_in_revision: Score | None = None  # None: its author was not asked, or did not say
    rebuttal_points: str  # empty where nothing is disputed
    alternative_interpretations: str  # empty where the model gives none
    criticism_processing_time: Millis  # reading and merging the criticisms and building the prompt
    response_generation_time: Millis  # of the call that brought the revision
    total_tokens_used: Count
    cost: Usd
    # until weighed, and where the revision's panel brought nothing or was not asked
    improvement_score: Score | None = None  # 5.5 + (new - old aggregate), within 1-10
    addresses_criticism: bool | None = None  # at least half of the severe criticisms are no longer raised
    maintains_strengths: bool | None = None  # no criterion fell by more than 1
    timestamp: UtcDate
