from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.audit.engine import Document, is_close, rule
from tests.audit.records import Records

SELECTIONS = "model_selection_history"
_FINISH = timedelta(seconds=1)  # the final choice and the end are written by one step, one after the other


def _candidates(selection: Document) -> dict[str, Any]:
    return {each["model_name"]: each for each in selection["candidates_considered"]}


@rule(SELECTIONS)
def its_thread_and_session_are_there(selection: Document, records: Records) -> bool:
    return records.thread_of(selection)["session_id"] == selection["session_id"]


@rule(SELECTIONS)
def its_key_is_its_own(selection: Document, records: Records) -> bool:
    names = ("iteration_number", "selection_phase", "ordinal")
    mine = [selection[name] for name in names]
    same = [each for each in records.selections_in[selection["thread_id"]] if [each[n] for n in names] == mine]
    return len(same) == 1


@rule(SELECTIONS)
def its_phase_is_that_of_its_iteration(selection: Document, _records: Records) -> bool | None:
    if selection["selection_phase"] == "final":
        return None
    return (selection["selection_phase"] == "initial") == (selection["iteration_number"] == 1)


@rule(SELECTIONS)
def its_algorithm_has_a_version(selection: Document, _records: Records) -> bool:
    return bool(selection["algorithm_version"])


@rule(SELECTIONS)
def its_strategy_is_its_threads(selection: Document, records: Records) -> bool:
    return records.thread_of(selection)["options"]["selection_strategy"] == selection["selection_strategy"]


@rule(SELECTIONS)
def each_candidate_is_considered_once(selection: Document, _records: Records) -> bool:
    return 1 <= len(selection["candidates_considered"]) == len(_candidates(selection))


@rule(SELECTIONS)
def every_candidate_is_known_and_not_excluded(selection: Document, records: Records) -> bool:
    excluded = records.thread_of(selection)["options"]["excluded_models"]
    return all(name in records.profiles and name not in excluded for name in _candidates(selection))


@rule(SELECTIONS)
def the_model_selected_is_a_candidate(selection: Document, _records: Records) -> bool:
    return selection["selected_model"] in _candidates(selection)


@rule(SELECTIONS)
def the_model_selected_scores_highest_unless_overridden(selection: Document, _records: Records) -> bool | None:
    if selection["override_reasons"]:
        return None
    candidates = _candidates(selection)
    best = max(each["final_score"] for each in candidates.values())
    return candidates[selection["selected_model"]]["final_score"] >= best - 1e-9


@rule(SELECTIONS)
def the_second_choice_is_another_candidate(selection: Document, _records: Records) -> bool | None:
    second = selection["runner_up_model"]
    return None if second is None else second in _candidates(selection) and second != selection["selected_model"]


@rule(SELECTIONS)
def no_candidate_beats_the_second_choice_but_the_first(selection: Document, _records: Records) -> bool | None:
    second = selection["runner_up_model"]
    if second is None or selection["override_reasons"]:
        return None
    candidates = _candidates(selection)
    others = [each["final_score"] for name, each in candidates.items() if name != selection["selected_model"]]
    return candidates[second]["final_score"] >= max(others) - 1e-9


@rule(SELECTIONS)
def its_margin_is_the_difference_of_the_two(selection: Document, _records: Records) -> bool | None:
    if selection["selection_margin"] is None or selection["override_reasons"]:
        return None
    candidates = _candidates(selection)
    first, second = candidates[selection["selected_model"]], candidates[selection["runner_up_model"]]
    return is_close(selection["selection_margin"], first["final_score"] - second["final_score"])


@rule(SELECTIONS)
def it_names_what_decided(selection: Document, _records: Records) -> bool:
    factors = selection["primary_selection_factors"]
    return bool(factors) and all(isinstance(each, str) and each for each in factors)


@rule(SELECTIONS)
def every_candidates_score_is_explained(selection: Document, _records: Records) -> bool:
    return all(each["selection_reasoning"].strip() for each in selection["candidates_considered"])


@rule(SELECTIONS)
def the_final_scores_are_explained_by_themselves(selection: Document, records: Records) -> bool | None:
    """Another score than an earlier selection's needs other words."""
    if selection["selection_phase"] != "final":
        return None
    earlier = [
        (each["model_name"], each["selection_reasoning"], each["final_score"])
        for other in records.selections_in[selection["thread_id"]]
        if other["selection_phase"] != "final"
        for each in other["candidates_considered"]
    ]
    return not any(
        mine["model_name"] == name and mine["selection_reasoning"] == words and mine["final_score"] != score
        for mine in selection["candidates_considered"]
        for name, words, score in earlier
    )


@rule(SELECTIONS)
def it_took_some_time(selection: Document, _records: Records) -> bool:
    return 0 < selection["selection_time"] < 60_000


@rule(SELECTIONS)
def it_is_made_within_its_threads_life(selection: Document, records: Records) -> bool:
    thread = records.thread_of(selection)
    end = thread["completed_at"]
    is_before_the_end = end is None or selection["timestamp"] <= end + _FINISH
    return thread["created_at"] <= selection["timestamp"] and is_before_the_end


@rule(SELECTIONS)
def what_is_shown_was_selected_last(selection: Document, records: Records) -> bool | None:
    thread = records.thread_of(selection)
    finals = [s for s in records.selections_in[thread["_id"]] if s["selection_phase"] == "final"]
    if not finals or finals[-1] is not selection or thread["thread_status"] != "completed":
        return None
    return selection["selected_model"] == thread["best_model_id"]


@rule(SELECTIONS)
def its_performance_is_the_score_that_came_of_it(selection: Document, records: Records) -> bool | None:
    """The final choice's is what the user was shown; another's is its model's answer of its iteration."""
    thread = records.thread_of(selection)
    if selection["selection_phase"] == "final":
        return bool(selection["actual_performance"] == thread["final_quality_score"]) if not thread["retries"] else None
    if any(other is not selection and _stands_for(other, selection) for other in records.selections_in[thread["_id"]]):
        return None  # the same model was selected for the same iteration again
    mine = [
        answer["selection_score"]
        for answer in records.answers_in(thread)
        if answer["iteration_number"] == selection["iteration_number"]
        and answer["model_name"] == selection["selected_model"]
        and not answer["stands_by"]
    ]
    return selection["actual_performance"] == (mine[-1] if mine else None)


def _stands_for(one: Document, other: Document) -> bool:
    names = ("iteration_number", "selected_model")
    return one["selection_phase"] != "final" and all(one[name] == other[name] for name in names)


@rule(SELECTIONS)
def its_accuracy_is_higher_where_it_succeeded(selection: Document, records: Records) -> bool | None:
    """Nothing that did not succeed was more accurate than the best that did."""
    score = selection["selection_accuracy_score"]
    if score is None or selection["selection_success"]:
        return None
    good = [each["selection_accuracy_score"] for each in records.documents[SELECTIONS] if each["selection_success"]]
    return score <= max(good, default=1.0)


@rule(SELECTIONS)
def it_is_told(selection: Document, records: Records) -> bool:
    name = "final_selected" if selection["selection_phase"] == "final" else "model_selected"
    told = records.events_of[selection["thread_id"], name]
    return any(event["model_involved"] == selection["selected_model"] for event in told)
