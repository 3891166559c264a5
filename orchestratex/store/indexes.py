"""All indexes: the schema's fifteen, the unique ones that make retries safe, and what finds due work."""

from __future__ import annotations

from typing import Any, Final

from pymongo import ASCENDING as UP
from pymongo import DESCENDING as DOWN
from pymongo import IndexModel
from pymongo.database import Database

SCHEMA_INDEXES: Final[dict[str, list[list[tuple[str, int]]]]] = {
    "user_sessions": [[("user_id", UP), ("session_start", DOWN)], [("status", UP), ("created_at", DOWN)]],
    "conversation_threads": [
        [("session_id", UP), ("created_at", DOWN)],
        [("domain", UP), ("thread_status", UP)],
        [("best_model_id", UP), ("final_quality_score", DOWN)],
    ],
    "model_responses": [
        [("thread_id", UP), ("iteration_number", UP)],
        [("model_name", UP), ("timestamp", DOWN)],
        [("is_selected_best", UP), ("selection_score", DOWN)],
    ],
    "model_evaluations": [
        [("thread_id", UP), ("iteration_number", UP)],
        [("evaluator_model", UP), ("overall_score", DOWN)],
        [("evaluated_response_id", UP)],
    ],
    "model_selection_history": [
        [("thread_id", UP), ("iteration_number", UP)],
        [("selected_model", UP), ("selection_success", UP)],
    ],
    "criticism_responses": [[("thread_id", UP), ("iteration_number", UP)], [("original_response_id", UP)]],
}

UNIQUE_INDEXES: Final[dict[str, list[list[tuple[str, int]]]]] = {
    "ai_model_profiles": [[("model_name", UP)]],
    "model_responses": [
        [(name, UP) for name in ("thread_id", "iteration_number", "role", "model_name", "purpose", "ordinal")]
    ],
    "model_evaluations": [[("evaluated_response_id", UP), ("evaluator_model", UP)]],
    "model_selection_history": [
        [(name, UP) for name in ("thread_id", "iteration_number", "selection_phase", "ordinal")]
    ],
    "criticism_responses": [[(name, UP) for name in ("thread_id", "iteration_number", "responding_model")]],
    "algorithm_metrics": [[("time_period", UP), ("metric_date", UP)]],
}

# MongoDB takes a partial index only for a question that holds its condition, in these words: see test_query_plans.py
_IS_LEASED = {"lease_token": {"$type": "string"}}
WORK_INDEXES: Final[dict[str, list[tuple[list[tuple[str, int]], dict[str, Any]]]]] = {
    "user_sessions": [
        ([("held_nanos", UP)], {"held_nanos": {"$gt": 0}}),
        ([("is_cancelling", UP)], {"is_cancelling": True}),
        ([("session_start", UP)], {}),
        ([("session_end", UP)], {"session_end": {"$type": "date"}}),
    ],
    "budget_days": [([("held_nanos", UP)], {"held_nanos": {"$gt": 0}})],
    "conversation_threads": [
        ([("due_step", UP), ("dispatched_at", UP)], {"due_step": {"$type": "string"}}),
        ([("lease_token", UP)], _IS_LEASED),
        ([("completed_at", UP)], {"completed_at": {"$type": "date"}}),
        ([("is_queued", UP), ("dispatched_at", UP), ("_id", UP)], {"is_queued": True}),
        ([("created_at", DOWN), ("_id", DOWN)], {}),
        ([("user_id", UP), ("created_at", DOWN), ("_id", DOWN)], {}),
    ],
    "model_responses": [
        ([("status", UP), ("dispatched_at", UP)], {"status": "pending"}),
        ([("lease_token", UP)], _IS_LEASED),
        ([("timestamp", UP)], {}),
    ],
    "purged_sums": [([("hour", UP)], {})],
    "orchestration_logs": [([("thread_id", UP), ("timestamp", UP)], {}), ([("timestamp", UP)], {})],
}


def index_models() -> dict[str, list[IndexModel]]:
    """Every index, by collection."""
    models: dict[str, list[IndexModel]] = {}
    for name, keys in SCHEMA_INDEXES.items():
        models.setdefault(name, []).extend(IndexModel(key) for key in keys)
    for name, keys in UNIQUE_INDEXES.items():
        models.setdefault(name, []).extend(IndexModel(key, unique=True) for key in keys)
    for name, rows in WORK_INDEXES.items():
        for key, condition in rows:
            options = {"partialFilterExpression": condition} if condition else {}
            models.setdefault(name, []).append(IndexModel(key, **options))
    return models


def create_indexes(database: Database[dict[str, Any]]) -> None:
    """Create what is missing; indexes that are there already are left alone."""
    for name, models in index_models().items():
        database[name].create_indexes(models)
