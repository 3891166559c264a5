"""The specification as data: its fields and indexes, and what documents of a run lack of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TEXT: Final = Path(__file__).parents[1].joinpath("data", "orchestratex_schema.md").read_text(encoding="utf-8")

Document = Mapping[str, Any]
Condition = Callable[[Document], bool]
AllowedNulls = Mapping[str, Mapping[str, Condition]]

_BLOCK = re.compile(r"```javascript\n// (\w+)\n\{\n(.*?)\n\}\n```", re.DOTALL)
_LINE = re.compile(r'^\s*(?P<quote>"?)(?P<name>\w+)"?: (?P<rest>.*)$')
_INDEX = re.compile(r"^db\.(\w+)\.createIndex\((\{.*\})\)$", re.MULTILINE)


@dataclass(frozen=True)
class SchemaField:
    """A field by its path: `[]` stands for each item of an array, `*` for each key of an open object."""

    path: str
    text: str

    @property
    def choices(self) -> list[str]:
        """The enumeration as written."""
        found = re.search(r"\b[\w-]+(?:\|[\w-]+)+", self.text)
        if found:
            return [choice for choice in found[0].split("|") if choice != "etc"]
        listed = re.match(r"Array - ([\w, ]+)$", self.text)
        return listed[1].split(", ") if listed else []

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The range as written."""
        found = re.match(r"Number (\d+)-(\d+)", self.text)
        return (float(found[1]), float(found[2])) if found else None


def parse_fields() -> dict[str, list[SchemaField]]:
    """Every field of the nine collections, nested ones and those of objects in arrays too."""
    return {name: list(_parse_block(block)) for name, block in _BLOCK.findall(TEXT)}


def parse_indexes() -> list[tuple[str, list[tuple[str, int]]]]:
    """The createIndex lines: collection and ordered keys."""
    return [(name, list(json.loads(keys).items())) for name, keys in _INDEX.findall(TEXT)]


def _parse_block(block: str) -> Iterator[SchemaField]:
    stack: list[str] = []
    for line in block.splitlines():
        if line.strip().rstrip(",") in {"}", "}]"}:
            stack.pop()
            continue
        found = _LINE.match(line)
        if found is None or "same structure" in line:
            continue
        name = "*" if found["quote"] else found["name"]
        rest = found["rest"].rstrip(",")
        path = ".".join([*stack, name])
        if rest in {"{", "[{"}:
            stack.append(name + ("[]" if rest == "[{" else ""))
        if name != "*":
            yield SchemaField(path, rest.strip('"[]'))


FIELDS: Final = parse_fields()


def _always(_: Document) -> bool:
    return True


def _unless_completed(document: Document) -> bool:
    return bool(document["status"] != "completed")


def _is_before_analysis(thread: Document) -> bool:
    return thread["due_step"] == "analyse" or (
        thread["thread_status"] == "failed" and thread["best_response_id"] is None
    )


def _is_running(thread: Document) -> bool:
    return thread["thread_status"] not in {"completed", "failed"}


def _is_unanswered(thread: Document) -> bool:
    return thread["thread_status"] in {"initializing", "model_selection", "responding", "failed"}


def _is_unweighed(thread: Document) -> bool:
    return all(score["score"] is None for score in thread["scores"])


def _has_no_rival(selection: Document) -> bool:
    return len(selection["candidates_considered"]) <= 1


# What FIELDS.md, and the schema's own words, allow to be null.
ALLOWED_NULLS: Final[AllowedNulls] = {
    "user_sessions": {
        "session_end": lambda session: session["status"] == "active",
        "user_satisfaction": _always,
        "settings.cost_limit": _always,
        "settings.quality_threshold": _always,
    },
    "conversation_threads": {
        **dict.fromkeys(
            ("processed_prompt", "domain", "complexity_level", "estimated_difficulty", "language"), _is_before_analysis
        ),
        "context": _always,
        "best_model_id": _is_unanswered,
        "best_response_id": _is_unanswered,
        "failure_reason": lambda thread: thread["thread_status"] != "failed",
        "final_response": lambda thread: thread["thread_status"] != "completed",
        "final_quality_score": _is_unweighed,
        "user_accepted": _always,
        "completed_at": _is_running,
    },
    "ai_model_profiles": {
        "last_health_check": lambda profile: profile["probes"] == 0,
        "performance_metrics.average_response_time": lambda p: not p["performance_metrics"]["success_rate"],
        "performance_metrics.success_rate": lambda p: p["performance_metrics"]["average_response_time"] is None,
        "performance_metrics.average_quality_rating": _always,  # a model that only evaluated has none
        "performance_metrics.uptime_percentage": lambda profile: profile["probes"] == 0,
    },
    "model_responses": {
        **dict.fromkeys(
            ("response_text", "prompt_sent", "response_time", "tokens_used", "cost", "processing_duration"),
            _unless_completed,
        ),
        "parent_response_id": lambda response: response["role"] == "primary",
        "confidence_score": lambda response: response["role"] != "evaluator" or response["status"] != "completed",
        "self_assessment": lambda response: response["role"] == "evaluator" or response["confidence_score"] is None,
        "selection_score": _always,  # evaluators', and where nothing was weighed
        "error_message": lambda response: response["status"] != "failed",
    },
    "model_evaluations": {},
    "model_selection_history": {
        "runner_up_model": _has_no_rival,
        "selection_margin": _has_no_rival,
        "selection_success": _always,  # until the thread ends, and where nothing was weighed
        "actual_performance": _always,
        "selection_accuracy_score": _always,
    },
    "criticism_responses": {
        "confidence_in_revision": _always,  # the model left it out after a re-ask
        "improvement_score": _always,  # until weighed
        "addresses_criticism": _always,
        "maintains_strengths": _always,
    },
    "orchestration_logs": {
        **dict.fromkeys(
            ("session_id", "thread_id", "iteration_number", "model_involved", "processing_time", "queue_length"),
            _always,
        ),
        "error_stack": _always,  # most errors are told, not thrown
    },
    "algorithm_metrics": {
        "average_session_duration": lambda metrics: metrics["total_sessions"] == 0,
        "average_iterations_per_thread": lambda metrics: metrics["total_threads"] == 0,
        "model_usage_stats.*.success_rate": _always,
        "model_usage_stats.*.average_score": _always,
        "domain_performance.*.average_satisfaction": _always,
        "domain_performance.*.average_iterations": _always,
        "cost_efficiency.cost_per_session": lambda metrics: metrics["total_sessions"] == 0,
        "cost_efficiency.cost_per_successful_response": _always,
        "cost_efficiency.most_cost_effective_model": _always,
        **{
            f"quality_metrics.{field.path.partition('.')[2]}": _always
            for field in FIELDS["algorithm_metrics"]
            if field.path.startswith("quality_metrics.")
        },
        "system_health.average_response_time": _always,
        "system_health.error_rate": _always,
        "system_health.uptime_percentage": _always,
    },
}


def missing_fields(collection_name: str, document: Document) -> list[str]:
    """The paths of the schema's fields that a document does not have; below a null nothing is missing."""
    return [
        field.path
        for field in FIELDS[collection_name]
        if any(value is _MISSING for value in _values(document, field.path.split(".")))
    ]


def unexpected_nulls(collection_name: str, document: Document, allowed: AllowedNulls = ALLOWED_NULLS) -> list[str]:
    """The paths of the schema's fields that are null in a document although nothing allows it."""
    table = allowed[collection_name]
    return [
        field.path
        for field in FIELDS[collection_name]
        if any(value is None for value in _values(document, field.path.split(".")))
        and not (field.path in table and table[field.path](document))
    ]


_MISSING: Final = object()


def _values(document: Any, path: list[str]) -> Iterator[Any]:
    """All values at a path."""
    if not path:
        yield document
        return
    if document is None:
        return
    name, rest = path[0], path[1:]
    if name == "*":
        for value in document.values():
            yield from _values(value, rest)
    elif name.endswith("[]"):
        for item in document.get(name[:-2], []):
            yield from _values(item, rest)
    elif name not in document:
        yield _MISSING
    else:
        yield from _values(document[name], rest)
