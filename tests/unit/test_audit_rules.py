"""The audit itself: it finds what is planted, and concerns itself with every field of the specification."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from orchestratex.steps.measure import measure
from tests.audit import RULES, Records, audit
from tests.contract.schema import FIELDS
from tests.support import World

Documents = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def documents() -> Documents:
    """Those of the first thread that is refined."""
    worlds = ((World(), f"Write a Python function that merges {number} sorted lists.") for number in range(2, 40))
    solved = ((world, world.solve(prompt, max_iterations=3, cost_limit=5)) for world, prompt in worlds)
    world, thread = next((world, thread) for world, thread in solved if world.store.criticisms_of(thread.id))
    measure(world.services)
    found = Records.of_thread(thread.id, world.store).documents
    return {name: [dict(document) for document in kept] for name, kept in found.items()}


def put(collection: str, path: str, value: object, **where: object) -> Callable[[Documents], None]:
    """Change a field of the first document that is so."""

    def change(documents: Documents) -> None:
        found = next(d for d in documents[collection] if all(d[name] == wanted for name, wanted in where.items()))
        *way, last = path.split(".")
        at: Any = found
        for name in way:
            at = at[int(name)] if name.isdigit() else at[name]
        at[last] = value(at[last]) if callable(value) else value

    return change


def drop(collection: str, name: str) -> Callable[[Documents], None]:
    return lambda documents: documents[collection][0].pop(name)


EVALUATOR = {"role": "evaluator", "status": "completed"}
ANSWER = {"role": "primary", "purpose": "answer"}
PLANTED: list[tuple[Callable[[Documents], None], str]] = [
    (drop("user_sessions", "user_id"), "user_sessions: user_id is there"),
    (put("user_sessions", "total_cost", lambda cost: cost + 1e-9), "user_sessions: its cost is that of its calls"),
    (put("user_sessions", "status", "over"), "user_sessions: status is one of its names"),
    (put("user_sessions", "settings.cost_limit", 1e-9), "user_sessions: its cost limit is never overspent"),
    (put("user_sessions", "held_nanos", 5), "user_sessions: nothing is held when nothing runs"),
    (
        put("conversation_threads", "total_tokens_used", lambda tokens: tokens + 1),
        "conversation_threads: its tokens are the sum of its calls",
    ),
    (
        put("conversation_threads", "final_response", "another"),
        "conversation_threads: its final response is the best responses text",
    ),
    (
        put("conversation_threads", "final_quality_score", 3.0),
        "conversation_threads: its final score is the mean of the best responses evaluations",
    ),
    (put("conversation_threads", "language", "English"), "conversation_threads: its language is a code"),
    (
        put("conversation_threads", "completed_at", None),
        "conversation_threads: completed_at is null exactly where nothing fills it",
    ),
    (
        put("conversation_threads", "best_response_id", ObjectId()),
        "conversation_threads: its best response is an answer of its own",
    ),
    (
        put("conversation_threads", "current_iteration", 9),
        "conversation_threads: its iteration is within what was allowed",
    ),
    (
        put("model_responses", "error_message", "late", **EVALUATOR),
        "model_responses: error_message is null exactly where nothing fills it",
    ),
    (
        put("model_responses", "response_text", None, **EVALUATOR),
        "model_responses: response_text is null exactly where nothing fills it",
    ),
    (
        put("model_responses", "selection_score", 2.0, **ANSWER),
        "model_responses: its score is the mean of its evaluations",
    ),
    (
        put("model_responses", "cost", lambda cost: cost + 1, **ANSWER),
        "model_responses: its cost is the sum of its attempts",
    ),
    (put("model_responses", "is_selected_best", True, **EVALUATOR), "model_responses: only an answer is selected best"),
    (put("model_responses", "context_provided", "x", **ANSWER), "model_responses: its context is the callers"),
    (
        put("model_responses", "confidence_score", 11.0, **EVALUATOR),
        "model_responses: confidence_score is within its range",
    ),
    (
        put("model_evaluations", "overall_score", lambda score: score - 0.01),
        "model_evaluations: its score is the weighted average of its criteria",
    ),
    (put("model_evaluations", "evaluation_prompt_used", ""), "model_evaluations: its prompt is what was sent"),
    (
        put("model_evaluations", "evaluated_response_id", ObjectId()),
        "model_evaluations: it evaluates an answer of its iteration",
    ),
    (
        put("model_selection_history", "selected_model", "nobody"),
        "model_selection_history: the model selected is a candidate",
    ),
    (
        put("model_selection_history", "selection_margin", lambda margin: margin + 1),
        "model_selection_history: its margin is the difference of the two",
    ),
    (
        put("criticism_responses", "improvement_score", 1.0),
        "criticism_responses: its improvement is five and a half plus the difference",
    ),
    (put("criticism_responses", "revised_answer", "x"), "criticism_responses: its revision is its responses text"),
    (put("orchestration_logs", "log_level", "fatal"), "orchestration_logs: log_level is one of its names"),
    (put("orchestration_logs", "message", " "), "orchestration_logs: it says something"),
    (
        put("ai_model_profiles", "performance_metrics.total_tokens_processed", 1),
        "ai_model_profiles: its tokens are those of its calls",
    ),
    (put("algorithm_metrics", "total_threads", 7), "algorithm_metrics: a thread counts where it completes"),
    (
        put("algorithm_metrics", "metric_date", lambda at: at + timedelta(minutes=1)),
        "algorithm_metrics: it starts where its period does",
    ),
]


@pytest.mark.parametrize(("plant", "name"), PLANTED, ids=[name for _, name in PLANTED])
def test_a_planted_fault_is_found(documents: Documents, plant: Callable[[Documents], None], name: str) -> None:
    planted = copy.deepcopy(documents)
    assert name not in audit(Records(documents)).broken
    plant(planted)

    assert name in audit(Records(planted)).broken


def test_every_field_of_the_specification_is_judged(documents: Documents) -> None:
    judged = audit(Records(documents)).judged
    presence = {f"{name}: {field.path} is there" for name, fields in FIELDS.items() for field in fields}

    assert presence <= {f"{rule.collection}: {rule.name}" for rule in RULES}
    assert presence <= set(judged)


def test_rules_are_named_once() -> None:
    names = [(rule.collection, rule.name) for rule in RULES]

    assert len(names) == len(set(names))


def test_a_document_that_cannot_be_judged_breaks_the_rule(documents: Documents) -> None:
    broken = copy.deepcopy(documents)
    for response in broken["model_responses"]:
        response["thread_id"] = ObjectId()

    assert "model_responses: its thread and session are there" in audit(Records(broken)).broken
