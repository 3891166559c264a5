"""Presence, type, range, enumeration and nullness of every field that the specification names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from bson import ObjectId

from tests.audit.engine import Check, Document, add_rule
from tests.audit.records import ENDED, Records, is_answer, is_sent
from tests.contract.schema import FIELDS, SchemaField

Condition = Callable[[Any, Records], bool]

# Known sets that are open where the world is open.
_OPEN: Final = frozenset({"model_name", "provider", "language", "event_type", "supported_languages"})
_COUNTS: Final = frozenset(
    {
        "max_iterations",
        "current_iteration",
        "iteration_number",
        "total_models_involved",
        "total_tokens_used",
        "max_context_length",
        "requests_per_minute",
        "tokens_per_minute",
        "total_requests",
        "total_tokens_processed",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "active_requests",
        "queue_length",
        "total_sessions",
        "successful_sessions",
        "failed_sessions",
        "total_threads",
        "max_iterations_reached_count",
        "early_termination_count",
        "times_selected",
        "peak_concurrent_sessions",
    }
)
_SHARES: Final = frozenset(
    {
        "success_rate",
        "user_satisfaction_rate",
        "criticism_improvement_rate",
        "selection_accuracy",
        "error_rate",
        "selection_accuracy_score",
    }
)


def _always(_document: Any, _records: Records) -> bool:
    return True


def _is_ended(thread: Any, _records: Records) -> bool:
    return thread["thread_status"] in ENDED


def _is_unanalysed(thread: Any, records: Records) -> bool:
    """Whether nobody can say that it was: one that ends between analysis and choice has no selection."""
    return thread["_id"] not in records.selections_in


def _is_unanswered(thread: Any, records: Records) -> bool:
    return not records.answers_in(thread)


def _is_unweighed_thread(thread: Any, records: Records) -> bool:
    return not any(records.is_scored(each) for each in records.answers_in(thread))


def _is_not(status: str) -> Condition:
    return lambda response, _: response["status"] != status


def _is_unsent(response: Any, _records: Records) -> bool:
    return not is_sent(response)


def _is_pending_or_unsent(response: Any, _records: Records) -> bool:
    return response["status"] == "pending" or not is_sent(response)


def _is_first_answer(response: Any, _records: Records) -> bool:
    return response["role"] == "primary" and response["purpose"] in {"answer", "re_ask"}


def _has_no_score(response: Any, records: Records) -> bool:
    return not is_answer(response) or not records.is_scored(response)


def _has_no_confidence(response: Any, _records: Records) -> bool:
    """Only a call that brought an answer or an evaluation speaks of its confidence; an answer's may be unknown."""
    if response["role"] == "evaluator":
        return response["status"] != "completed" or response["purpose"] == "assessment"
    return True


def _has_no_rival(selection: Any, _records: Records) -> bool:
    return len(selection["candidates_considered"]) <= 1


def _is_unjudged(selection: Any, _records: Records) -> bool:
    return selection["actual_performance"] is None


def _is_one_sided(criticism: Any, records: Records) -> bool:
    """Whether the original or the revision has no evaluation, so that nothing tells them apart."""
    both = (criticism["original_response_id"], criticism["_id"])
    return not all(records.is_scored(records.responses[each]) for each in both)


def _is_unprobed(profile: Any, _records: Records) -> bool:
    return not profile["probes"]


def _has_none(path: str) -> Condition:
    """Whether a count beside a mean is nothing."""
    return lambda document, _: not document[path]


# When a field IS null, exactly.
NULL_EXACTLY: Final[dict[str, dict[str, Condition]]] = {
    "user_sessions": {"session_end": lambda session, _: session["status"] == "active"},
    "conversation_threads": {
        "best_model_id": _is_unanswered,
        "best_response_id": _is_unanswered,
        "failure_reason": lambda thread, _: thread["thread_status"] != "failed",
        "final_response": lambda thread, _: thread["thread_status"] != "completed",
        "completed_at": lambda thread, records: not _is_ended(thread, records),
    },
    "ai_model_profiles": {
        "last_health_check": _is_unprobed,
        "performance_metrics.uptime_percentage": _is_unprobed,
    },
    "model_responses": {
        "response_text": _is_not("completed"),
        "error_message": _is_not("failed"),
        "parent_response_id": _is_first_answer,
        "response_time": _is_pending_or_unsent,
        "processing_duration": _is_pending_or_unsent,
    },
    "model_selection_history": {
        "runner_up_model": _has_no_rival,
        "selection_margin": _has_no_rival,
        "selection_success": _is_unjudged,
        "selection_accuracy_score": _is_unjudged,
    },
    "algorithm_metrics": {
        "average_session_duration": _has_none("total_sessions"),
        "average_iterations_per_thread": _has_none("total_threads"),
        "cost_efficiency.cost_per_session": _has_none("total_sessions"),
    },
}
# Where a field MAY be null; every other field never is.
NULL_PERHAPS: Final[dict[str, dict[str, Condition]]] = {
    "user_sessions": dict.fromkeys(("user_satisfaction", "settings.cost_limit", "settings.quality_threshold"), _always),
    "conversation_threads": {
        "context": _always,
        "user_accepted": _always,
        "final_quality_score": _is_unweighed_thread,
        **dict.fromkeys(
            ("processed_prompt", "domain", "complexity_level", "estimated_difficulty", "language"), _is_unanalysed
        ),
    },
    "ai_model_profiles": dict.fromkeys(
        (
            "performance_metrics.average_response_time",
            "performance_metrics.success_rate",
            "performance_metrics.average_quality_rating",
        ),
        _always,  # a model without traffic, or one that only evaluated
    ),
    "model_responses": {
        "prompt_sent": _is_not("completed"),
        "tokens_used": _is_unsent,
        "cost": _is_unsent,
        "confidence_score": _has_no_confidence,
        "selection_score": _has_no_score,
        "self_assessment": _always,
    },
    "model_selection_history": {"actual_performance": _always},
    "criticism_responses": {
        "confidence_in_revision": _always,
        **dict.fromkeys(("improvement_score", "addresses_criticism", "maintains_strengths"), _is_one_sided),
    },
    "orchestration_logs": dict.fromkeys(
        (
            "session_id",
            "thread_id",
            "error_stack",
            "iteration_number",
            "model_involved",
            "processing_time",
            "queue_length",
        ),
        _always,
    ),
    "algorithm_metrics": dict.fromkeys(
        (
            "model_usage_stats.*.success_rate",
            "model_usage_stats.*.average_score",
            "domain_performance.*.average_satisfaction",
            "domain_performance.*.average_iterations",
            "cost_efficiency.cost_per_successful_response",
            "cost_efficiency.most_cost_effective_model",
            "quality_metrics.average_final_score",
            "quality_metrics.user_satisfaction_rate",
            "quality_metrics.criticism_improvement_rate",
            "quality_metrics.selection_accuracy",
            "system_health.average_response_time",
            "system_health.error_rate",
            "system_health.uptime_percentage",
        ),
        _always,
    ),
}
_MISSING: Final = object()


def values_at(document: Any, path: str) -> Iterator[Any]:
    """All values at a path; nothing below a null, a mark where a field is missing."""
    name, _, rest = path.partition(".")
    if document is None:
        return
    if name == "*":
        below = list(document.values())
    elif name.endswith("[]"):
        below = document.get(name[:-2]) or []
    elif name not in document:
        yield _MISSING
        return
    else:
        below = [document[name]]
    for value in below:
        if rest:
            yield from values_at(value, rest)
        else:
            yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_count(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int)


def _is_share(value: Any) -> bool:
    return _is_number(value) and value <= 1


def _is_kind(kind: type | tuple[type, ...]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _find_type(collection: str, field: SchemaField) -> tuple[str, Callable[[Any], bool]]:
    """What values of a field are, told by the words of the specification."""
    name = field.path.rpartition(".")[2]
    paths = [each.path for each in FIELDS[collection]]
    if any(path.startswith(f"{field.path}[]") for path in paths) or field.text.startswith("Array"):
        return "a list", _is_kind(list)
    if any(path.startswith(f"{field.path}.") for path in paths) or field.text.startswith("Object -"):
        return "an object", _is_kind(dict)
    if name in _COUNTS:
        return "a count", _is_count
    if name in _SHARES:
        return "a share", _is_share
    kinds: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "Number": ("a number that is not negative", _is_number),
        "String": ("a text", _is_kind(str)),
        "Boolean": ("true or false", _is_kind(bool)),
        "Date": ("a date", _is_kind(datetime)),
        "ObjectId": ("an id", _is_kind(ObjectId)),
    }
    return next(kinds[word] for word in kinds if field.text.startswith(word))


def _check_type(path: str, is_right: Callable[[Any], bool]) -> Check:
    def check(document: Document, _records: Records) -> bool | None:
        known = [value for value in values_at(document, path) if value is not None and value is not _MISSING]
        return all(map(is_right, known)) if known else None

    return check


def _check_presence(path: str) -> Check:
    return lambda document, _: all(value is not _MISSING for value in values_at(document, path))


def _check_null_exactly(path: str, condition: Condition) -> Check:
    return lambda document, records: (next(values_at(document, path)) is None) == condition(document, records)


def _check_null_perhaps(path: str, condition: Condition) -> Check:
    def check(document: Document, records: Records) -> bool | None:
        values = list(values_at(document, path))
        return (all(value is not None for value in values) or condition(document, records)) if values else None

    return check


def _check_bounds(path: str, low: float, high: float) -> Check:
    return _check_type(path, lambda value: low <= value <= high)


def _check_choices(path: str, choices: list[str]) -> Check:
    return _check_type(
        path, lambda value: all(each in choices for each in (value if isinstance(value, list) else [value]))
    )


def _never(_document: Any, _records: Records) -> bool:
    return False


def _add_rules_of(collection: str, field: SchemaField) -> None:
    path = field.path
    add_rule(collection, f"{path} is there", _check_presence(path))
    words, is_right = _find_type(collection, field)
    add_rule(collection, f"{path} is {words}", _check_type(path, is_right))
    if path in NULL_EXACTLY.get(collection, {}):
        exactly = NULL_EXACTLY[collection][path]
        add_rule(collection, f"{path} is null exactly where nothing fills it", _check_null_exactly(path, exactly))
    else:
        perhaps = NULL_PERHAPS.get(collection, {}).get(path, _never)
        add_rule(collection, f"{path} is null only where that is allowed", _check_null_perhaps(path, perhaps))
    if field.bounds:
        add_rule(collection, f"{path} is within its range", _check_bounds(path, *field.bounds))
    if field.choices and path.rpartition(".")[2] not in _OPEN:
        add_rule(collection, f"{path} is one of its names", _check_choices(path, field.choices))


for _collection, _fields in FIELDS.items():
    for _field in _fields:
        _add_rules_of(_collection, _field)
