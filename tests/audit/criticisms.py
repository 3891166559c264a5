from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from orchestratex.domain.base import CRITERIA
from tests.audit.engine import Document, is_close, rule
from tests.audit.records import Records, is_answer, mean

CRITICISMS = "criticism_responses"
_MERGING_MS = 2_000  # merging criticisms and building a prompt is work of milliseconds, on a busy machine of more


def _panels(criticism: Document, records: Records) -> tuple[list[Any], list[Any]] | None:
    """The evaluations before and after; None where one is missing, or it is not known which of them counted."""
    ids = (criticism["original_response_id"], criticism["_id"])
    before, after = (records.evaluations_of.get(each, []) for each in ids)
    is_clear = all(records.responses[each["_id"]]["status"] == "completed" for each in (*before, *after))
    return (before, after) if before and after and is_clear else None


def _severe(panel: Iterable[Document]) -> set[str]:
    points = [point for each in panel for point in each["criticisms"] if point["severity"] != "minor"]
    return {" ".join(point["point"].casefold().split()) for point in points}


@rule(CRITICISMS)
def it_was_read_from_its_response(criticism: Document, records: Records) -> bool:
    response = records.responses[criticism["_id"]]
    names = ("thread_id", "session_id", "iteration_number")
    return bool(
        response["role"] == "refiner"
        and response["model_name"] == criticism["responding_model"]
        and all(response[name] == criticism[name] for name in names)
    )


@rule(CRITICISMS)
def what_was_criticised_is_its_responses_parent(criticism: Document, records: Records) -> bool:
    return records.responses[criticism["_id"]]["parent_response_id"] == criticism["original_response_id"]


@rule(CRITICISMS)
def what_was_criticised_is_an_earlier_answer(criticism: Document, records: Records) -> bool:
    original = records.responses[criticism["original_response_id"]]
    return is_answer(original) and bool(original["iteration_number"] < criticism["iteration_number"])


@rule(CRITICISMS)
def it_addresses_what_its_response_addresses(criticism: Document, records: Records) -> bool:
    return records.responses[criticism["_id"]]["criticism_addressed"] == criticism["criticism_evaluation_ids"]


@rule(CRITICISMS)
def it_addresses_evaluations_of_the_original(criticism: Document, records: Records) -> bool:
    found = [records.evaluations[each] for each in criticism["criticism_evaluation_ids"]]
    return bool(found) and all(each["evaluated_response_id"] == criticism["original_response_id"] for each in found)


@rule(CRITICISMS)
def its_revision_is_its_responses_text(criticism: Document, records: Records) -> bool | None:
    response = records.responses[criticism["_id"]]
    return None if response["status"] != "completed" else response["response_text"] == criticism["revised_answer"]


@rule(CRITICISMS)
def its_revision_is_not_empty(criticism: Document, _records: Records) -> bool:
    return bool(criticism["revised_answer"].strip())


@rule(CRITICISMS)
def every_improvement_names_its_point(criticism: Document, _records: Records) -> bool | None:
    points = [each["criticism_point"] for each in criticism["specific_improvements"]]
    return all(point.strip() for point in points) if points else None


@rule(CRITICISMS)
def what_it_disputes_is_told(criticism: Document, _records: Records) -> bool | None:
    disputed = [each for each in criticism["specific_improvements"] if not each["accepted"]]
    return bool(criticism["disagreement"]) == bool(disputed) if criticism["specific_improvements"] else None


@rule(CRITICISMS)
def its_processing_time_is_merging_and_building(criticism: Document, _records: Records) -> bool:
    return 0 < criticism["criticism_processing_time"] < _MERGING_MS


@rule(CRITICISMS)
def its_generation_time_is_its_calls(criticism: Document, records: Records) -> bool:
    return records.responses[criticism["_id"]]["response_time"] == criticism["response_generation_time"]


@rule(CRITICISMS)
def its_tokens_are_its_calls(criticism: Document, records: Records) -> bool:
    tokens = records.responses[criticism["_id"]]["tokens_used"]
    return tokens["total_tokens"] == criticism["total_tokens_used"]


@rule(CRITICISMS)
def its_cost_is_its_calls(criticism: Document, records: Records) -> bool:
    return records.responses[criticism["_id"]]["cost"] == criticism["cost"]


@rule(CRITICISMS)
def its_improvement_is_five_and_a_half_plus_the_difference(criticism: Document, records: Records) -> bool | None:
    panels = _panels(criticism, records)
    if panels is None or criticism["improvement_score"] is None:
        return None
    old, new = (mean([each["overall_score"] for each in panel]) for panel in panels)
    return is_close(criticism["improvement_score"], min(10.0, max(1.0, 5.5 + new - old)))


@rule(CRITICISMS)
def it_addresses_criticism_where_half_of_the_severe_is_gone(criticism: Document, records: Records) -> bool | None:
    panels = _panels(criticism, records)
    if panels is None or criticism["addresses_criticism"] is None:
        return None
    before, after = map(_severe, panels)
    return criticism["addresses_criticism"] == (2 * len(before - after) >= len(before))


@rule(CRITICISMS)
def it_maintains_strengths_where_no_criterion_fell_by_more_than_1(criticism: Document, records: Records) -> bool | None:
    panels = _panels(criticism, records)
    if panels is None or criticism["maintains_strengths"] is None:
        return None
    old, new = ([_criterion(panel, name) for name in CRITERIA] for panel in panels)
    falls = [before - after for before, after in zip(old, new, strict=True)]
    if any(math.isclose(fall, 1, abs_tol=1e-9) for fall in falls):
        return None
    return criticism["maintains_strengths"] == all(fall <= 1 for fall in falls)


def _criterion(panel: Iterable[Document], name: str) -> float:
    return mean([each["evaluation_criteria"][name] for each in panel])


@rule(CRITICISMS)
def it_comes_after_the_original(criticism: Document, records: Records) -> bool:
    return criticism["timestamp"] >= records.responses[criticism["original_response_id"]]["timestamp"]


@rule(CRITICISMS)
def it_comes_after_the_criticisms(criticism: Document, records: Records) -> bool:
    found = [records.evaluations[each]["timestamp"] for each in criticism["criticism_evaluation_ids"]]
    return all(criticism["timestamp"] >= each for each in found)
