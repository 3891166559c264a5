"""Valid records with sensible fields; a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from orchestratex.domain.base import CRITERIA
from orchestratex.domain.criticism import CriticismResponse, Improvement
from orchestratex.domain.evaluation import Criteria, Criticism, Evaluation
from orchestratex.domain.log import LogEvent
from orchestratex.domain.metrics import CostEfficiency, Metrics, QualityMetrics, SystemHealth
from orchestratex.domain.profile import Profile, RateLimits
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Candidate, Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.rules.scoring import scoring_weights

NOW = datetime(2025, 6, 1, tzinfo=UTC)  # before every clock that tests use


def make_session(**fields: Any) -> Session:
    return Session.model_validate(
        {"user_id": "ann", "session_start": NOW, "created_at": NOW, "updated_at": NOW, **fields}
    )


def make_thread(**fields: Any) -> Thread:
    values = {"session_id": ObjectId(), "original_prompt": "Why is the sky blue?", "created_at": NOW, "updated_at": NOW}
    return Thread.model_validate({**values, **fields})


def make_response(**fields: Any) -> Response:
    values = {
        "thread_id": ObjectId(),
        "session_id": ObjectId(),
        "iteration_number": 1,
        "model_name": "gpt4",
        "role": "evaluator",
        "response_type": "evaluation",
        "purpose": "evaluation",
        "timestamp": NOW,
    }
    return Response.model_validate({**values, **fields})


def make_answer(**fields: Any) -> Response:
    return make_response(**{"role": "primary", "response_type": "initial", "purpose": "answer", **fields})


def make_criteria(score: float = 7, **scores: float) -> Criteria:
    return Criteria.model_validate({**dict.fromkeys(CRITERIA, score), **scores})


def make_criticism(point: str = "the date is wrong", severity: str = "major", evidence: str = "") -> Criticism:
    return Criticism.model_validate({"point": point, "severity": severity, "evidence": evidence})


def make_evaluation(**fields: Any) -> Evaluation:
    values = {
        "thread_id": ObjectId(),
        "session_id": ObjectId(),
        "evaluated_response_id": ObjectId(),
        "evaluator_model": "claude",
        "iteration_number": 1,
        "evaluation_criteria": make_criteria(),
        "overall_score": 7,
        "scoring_weights": scoring_weights("general"),  # type: ignore[arg-type]
        "criticism_text": "",
        "positive_aspects": "",
        "suggested_improvements": "",
        "alternative_approaches": "",
        "evaluator_confidence": 8,
        "evaluator_speciality_match": 5,
        "evaluation_prompt_used": "judge",
        "evaluation_time": 10,
        "tokens_used": 100,
        "cost": 0.001,
        "timestamp": NOW,
    }
    return Evaluation.model_validate({**values, **fields})


def make_candidate(model_name: str = "gpt4", **fields: Any) -> Candidate:
    values = {
        "model_name": model_name,
        "domain_match_score": 5,
        "historical_performance": 5,
        "cost_efficiency": 5,
        "availability_score": 5,
        "specialty_alignment": 5,
        "final_score": 5,
        "selection_reasoning": "fits",
    }
    return Candidate.model_validate({**values, **fields})


def make_selection(**fields: Any) -> Selection:
    values = {
        "thread_id": ObjectId(),
        "session_id": ObjectId(),
        "iteration_number": 1,
        "selection_phase": "initial",
        "algorithm_version": "1",
        "selection_strategy": "hybrid",
        "candidates_considered": [make_candidate()],
        "selected_model": "gpt4",
        "selection_confidence": 6,
        "primary_selection_factors": ["price"],
        "timestamp": NOW,
        "selection_time": 1,
    }
    return Selection.model_validate({**values, **fields})


def make_criticism_response(**fields: Any) -> CriticismResponse:
    change = Improvement(criticism_point="date", improvement_made="put right", justification="it was wrong")
    values = {
        "thread_id": ObjectId(),
        "session_id": ObjectId(),
        "original_response_id": ObjectId(),
        "criticism_evaluation_ids": [ObjectId()],
        "responding_model": "gpt4",
        "iteration_number": 2,
        "acknowledgment": "",
        "disagreement": "",
        "clarifications": "",
        "specific_improvements": [change],
        "revised_answer": "better",
        "explanation_of_changes": "",
        "rebuttal_points": "",
        "alternative_interpretations": "",
        "criticism_processing_time": 1,
        "response_generation_time": 2,
        "total_tokens_used": 3,
        "cost": 0.01,
        "timestamp": NOW,
    }
    return CriticismResponse.model_validate({**values, **fields})


def make_log(**fields: Any) -> LogEvent:
    values = {
        "log_level": "info",
        "component": "api",
        "event_type": "model_selected",
        "message": "chose",
        "memory_usage": 10,
        "active_requests": 0,
        "timestamp": NOW,
    }
    return LogEvent.model_validate({**values, **fields})


def make_metrics(**fields: Any) -> Metrics:
    nothing = (CostEfficiency, QualityMetrics, SystemHealth)
    cost, quality, health = (dict.fromkeys(kind.model_fields) for kind in nothing)
    values = {
        "metric_date": NOW,
        "time_period": "hourly",
        "total_sessions": 0,
        "successful_sessions": 0,
        "failed_sessions": 0,
        "average_session_duration": None,
        "total_threads": 0,
        "average_iterations_per_thread": None,
        "max_iterations_reached_count": 0,
        "early_termination_count": 0,
        "model_usage_stats": {
            "gpt4": {"times_selected": 1, "success_rate": 1, "average_score": 7, "total_cost": 0.1},
        },
        "domain_performance": {
            "coding": {
                "total_requests": 1,
                "average_satisfaction": None,
                "preferred_models": ["gpt4"],
                "average_iterations": 1.5,
            }
        },
        "cost_efficiency": {**cost, "total_cost": 0},
        "quality_metrics": quality,
        "system_health": {**health, "peak_concurrent_sessions": 0},
        "updated_at": NOW,
    }
    return Metrics.model_validate({**values, **fields})


def make_profile(model_name: str = "gpt4", **fields: Any) -> Profile:
    values = {
        "model_name": model_name,
        "provider": "openai",
        "model_version": f"{model_name}-1",
        "specialties": ["coding"],
        "supported_languages": ["en"],
        "max_context_length": 8000,
        "strengths": "",
        "weaknesses": "",
        "best_use_cases": [],
        "api_endpoint": "https://example.org/v1",
        "cost_per_input_token": 1e-6,
        "cost_per_output_token": 2e-6,
        "rate_limits": RateLimits(requests_per_minute=10, tokens_per_minute=1000),
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Profile.model_validate({**values, **fields})
