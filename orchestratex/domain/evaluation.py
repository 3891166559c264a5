from __future__ import annotations

from typing import Final

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
    Severity,
    Usd,
    UtcDate,
)

PROMPT_WITH_RESPONSE: Final = "prompt_sent of the response with this _id"  # what stands for the prompt when stored


class Criteria(Record):
    """The eight named dimensions, 1 (worst) to 10 (best)."""

    accuracy: Score
    relevance: Score
    clarity: Score
    completeness: Score
    creativity: Score
    efficiency: Score
    safety: Score
    domain_expertise: Score


class Criticism(Record):
    """One objection of an evaluator."""

    point: str = Field(min_length=1)
    severity: Severity
    evidence: str = ""


class Evaluation(Document):
    """What one model thinks of another's response. Its id is that of the response that it was read from."""

    thread_id: Id
    session_id: Id
    evaluated_response_id: Id
    evaluator_model: ModelName
    iteration_number: int = Field(ge=1, le=MAX_ITERATIONS)
    evaluation_criteria: Criteria
    overall_score: Score  # the weighted average of the criteria
    scoring_weights: dict[str, float]
    criticism_text: str
    positive_aspects: str
    suggested_improvements: str
    alternative_approaches: str
    evaluator_confidence: Score
    evaluator_speciality_match: Score
    evaluation_prompt_used: str  # the response's prompt_sent; kept there alone, and filled in by the store when read
    evaluation_time: Millis
    tokens_used: Count
    cost: Usd
    timestamp: UtcDate

    criticisms: list[Criticism] = []  # the objections behind criticism_text
    calibrated_score: Score | None = None  # None: no calibration in force
