from __future__ import annotations

from datetime import timedelta

from tests.audit.engine import Document, is_close, rule
from tests.audit.records import ANSWERS, ENDED, Records, is_answer, is_sent, to_usd

RESPONSES = "model_responses"
_TYPES = {"primary": "initial", "evaluator": "evaluation", "refiner": "improvement", "critic": "criticism"}
_CLOCKS = timedelta(milliseconds=50)  # by which two processes' readings of one machine's clock may cross


@rule(RESPONSES)
def its_thread_and_session_are_there(response: Document, records: Records) -> bool:
    return records.thread_of(response)["session_id"] == response["session_id"]


@rule(RESPONSES)
def its_key_is_its_own(response: Document, records: Records) -> bool:
    names = ("iteration_number", "role", "model_name", "purpose", "ordinal")
    mine = [response[name] for name in names]
    same = [each for each in records.responses_in[response["thread_id"]] if [each[name] for name in names] == mine]
    return len(same) == 1


@rule(RESPONSES)
def its_type_is_that_of_its_role(response: Document, _records: Records) -> bool:
    return response["response_type"] == _TYPES[response["role"]]


@rule(RESPONSES)
def its_model_is_known(response: Document, records: Records) -> bool:
    return response["model_name"] in records.profiles


@rule(RESPONSES)
def a_first_answer_is_of_the_first_iteration(response: Document, _records: Records) -> bool | None:
    return None if response["role"] != "primary" else response["iteration_number"] == 1


@rule(RESPONSES)
def a_refinement_is_of_a_later_iteration(response: Document, _records: Records) -> bool | None:
    return None if response["role"] != "refiner" else response["iteration_number"] > 1


@rule(RESPONSES)
def a_completed_call_has_its_completion(response: Document, _records: Records) -> bool | None:
    return None if response["status"] != "completed" else response["completion"] is not None


@rule(RESPONSES)
def an_answer_is_not_empty(response: Document, _records: Records) -> bool | None:
    return bool(response["response_text"]) if is_answer(response) else None


@rule(RESPONSES)
def what_was_sent_has_its_prompt(response: Document, _records: Records) -> bool | None:
    is_owed = response["sent_at"] is not None or response["completion"] is not None
    return bool(response["prompt_sent"]) if is_owed else None


@rule(RESPONSES)
def its_prompt_is_not_empty(response: Document, _records: Records) -> bool | None:
    return None if response["prompt_sent"] is None else bool(response["prompt_sent"].strip())


@rule(RESPONSES)
def its_context_is_the_callers(response: Document, records: Records) -> bool:
    return response["context_provided"] == (records.thread_of(response)["context"] or "")


@rule(RESPONSES)
def its_parent_is_an_answer_of_its_thread(response: Document, records: Records) -> bool | None:
    if response["parent_response_id"] is None:
        return None
    parent = records.responses[response["parent_response_id"]]
    return parent["thread_id"] == response["thread_id"] and is_answer(parent)


@rule(RESPONSES)
def a_refinement_improves_an_earlier_iteration(response: Document, records: Records) -> bool | None:
    if response["role"] != "refiner" or response["purpose"] not in ANSWERS:
        return None
    parent = records.responses[response["parent_response_id"]]
    return parent["iteration_number"] < response["iteration_number"]


@rule(RESPONSES)
def who_judges_does_so_in_the_answers_iteration(response: Document, records: Records) -> bool | None:
    if response["role"] != "evaluator" and response["purpose"] != "assessment":
        return None
    parent = records.responses[response["parent_response_id"]]
    return parent["iteration_number"] == response["iteration_number"]


@rule(RESPONSES)
def nobody_evaluates_itself(response: Document, records: Records) -> bool | None:
    if response["role"] != "evaluator":
        return None
    return records.responses[response["parent_response_id"]]["model_name"] != response["model_name"]


@rule(RESPONSES)
def an_assessment_is_the_authors_own(response: Document, records: Records) -> bool | None:
    if response["purpose"] != "assessment":
        return None
    return records.responses[response["parent_response_id"]]["model_name"] == response["model_name"]


@rule(RESPONSES)
def only_refinements_address_criticisms(response: Document, _records: Records) -> bool:
    is_refinement = response["role"] == "refiner" and response["purpose"] in ANSWERS
    return bool(response["criticism_addressed"]) == is_refinement


@rule(RESPONSES)
def the_criticisms_addressed_are_its_parents(response: Document, records: Records) -> bool | None:
    if not response["criticism_addressed"]:
        return None
    found = [records.evaluations[each] for each in response["criticism_addressed"]]
    return all(each["evaluated_response_id"] == response["parent_response_id"] for each in found)


@rule(RESPONSES)
def its_http_call_is_not_longer_than_the_whole(response: Document, _records: Records) -> bool | None:
    if response["response_time"] is None or response["processing_duration"] is None:
        return None
    return response["response_time"] <= response["processing_duration"] + 50


@rule(RESPONSES)
def a_completed_calls_time_is_its_completions(response: Document, _records: Records) -> bool | None:
    if response["status"] != "completed":
        return None
    return abs(response["response_time"] - response["completion"]["latency_ms"]) <= 1


@rule(RESPONSES)
def its_tokens_add_up(response: Document, _records: Records) -> bool | None:
    tokens = response["tokens_used"]
    return None if tokens is None else tokens["total_tokens"] >= tokens["input_tokens"] + tokens["output_tokens"]


@rule(RESPONSES)
def its_tokens_are_the_sum_of_its_attempts(response: Document, _records: Records) -> bool | None:
    if response["tokens_used"] is None:
        return None
    usages = [attempt["usage"]["total_tokens"] for attempt in response["attempt_costs"].values()]
    return response["tokens_used"]["total_tokens"] == sum(usages)


@rule(RESPONSES)
def its_cost_is_the_sum_of_its_attempts(response: Document, _records: Records) -> bool | None:
    if response["cost"] is None:
        return None
    return response["cost"] == to_usd(sum(attempt["nanos"] for attempt in response["attempt_costs"].values()))


@rule(RESPONSES)
def its_cost_says_where_it_comes_from(response: Document, _records: Records) -> bool:
    return (response["cost"] is None) == (response["cost_source"] is None)


@rule(RESPONSES)
def a_call_that_was_sent_and_is_over_is_charged(response: Document, _records: Records) -> bool | None:
    if response["sent_at"] is None or response["status"] == "pending":
        return None
    return response["cost"] is not None and response["tokens_used"] is not None


@rule(RESPONSES)
def no_attempt_costs_more_than_was_reserved(response: Document, _records: Records) -> bool | None:
    costs = [attempt["nanos"] for attempt in response["attempt_costs"].values()]
    return None if not costs else to_usd(max(costs)) <= (response["worst_case"] or 0.0) + 1e-12


@rule(RESPONSES)
def what_was_never_sent_costs_nothing(response: Document, _records: Records) -> bool | None:
    return None if is_sent(response) else not response["cost"]


@rule(RESPONSES)
def an_evaluators_confidence_is_that_of_its_evaluation(response: Document, records: Records) -> bool | None:
    if response["role"] != "evaluator" or response["status"] != "completed":
        return None
    return records.evaluations[response["_id"]]["evaluator_confidence"] == response["confidence_score"]


@rule(RESPONSES)
def evaluators_do_not_assess_themselves(response: Document, _records: Records) -> bool | None:
    return None if response["role"] != "evaluator" else response["self_assessment"] is None


@rule(RESPONSES)
def an_answer_has_confidence_and_assessment_together(response: Document, _records: Records) -> bool | None:
    if response["role"] == "evaluator":
        return None
    return (response["confidence_score"] is None) == (response["self_assessment"] is None)


@rule(RESPONSES)
def only_answers_speak_of_themselves(response: Document, _records: Records) -> bool | None:
    return None if response["self_assessment"] is None else is_answer(response)


@rule(RESPONSES)
def only_an_answer_is_selected_best(response: Document, _records: Records) -> bool | None:
    return is_answer(response) if response["is_selected_best"] else None


@rule(RESPONSES)
def its_score_is_the_mean_of_its_evaluations(response: Document, records: Records) -> bool | None:
    if response["selection_score"] is None:
        return None
    return any(is_close(response["selection_score"], score) for score in records.scores_of(response))


@rule(RESPONSES)
def its_failure_is_told(response: Document, _records: Records) -> bool | None:
    return None if response["status"] != "failed" else bool(response["error_message"])


@rule(RESPONSES)
def it_is_made_within_its_threads_life(response: Document, records: Records) -> bool:
    thread = records.thread_of(response)
    is_before_the_end = thread["completed_at"] is None or response["timestamp"] <= thread["completed_at"] + _CLOCKS
    return response["timestamp"] >= thread["created_at"] - _CLOCKS and is_before_the_end


@rule(RESPONSES)
def it_is_sent_after_it_is_made(response: Document, _records: Records) -> bool | None:
    return None if response["sent_at"] is None else response["sent_at"] >= response["timestamp"] - _CLOCKS


@rule(RESPONSES)
def it_comes_after_its_parent(response: Document, records: Records) -> bool | None:
    if response["parent_response_id"] is None:
        return None
    return response["timestamp"] >= records.responses[response["parent_response_id"]]["timestamp"]


@rule(RESPONSES)
def its_domain_is_its_threads(response: Document, records: Records) -> bool:
    return response["domain"] == records.thread_of(response)["domain"]


@rule(RESPONSES)
def nobody_holds_it_when_its_thread_has_ended(response: Document, records: Records) -> bool | None:
    if records.thread_of(response)["thread_status"] not in ENDED:
        return None
    return response["lease_token"] is None


@rule(RESPONSES)
def a_completed_evaluation_is_recorded(response: Document, records: Records) -> bool | None:
    if response["role"] != "evaluator" or response["status"] != "completed":
        return None
    return response["_id"] in records.evaluations


@rule(RESPONSES)
def a_completed_refinement_is_recorded(response: Document, records: Records) -> bool | None:
    if response["role"] != "refiner" or not is_answer(response):
        return None
    return response["_id"] in records.criticisms


@rule(RESPONSES)
def a_revision_that_changes_nothing_is_not_evaluated(response: Document, records: Records) -> bool | None:
    if response["role"] != "refiner" or not is_answer(response):
        return None
    if response["response_text"] != records.responses[response["parent_response_id"]]["response_text"]:
        return None
    panel = [each for each in records.responses_in[response["thread_id"]] if each["role"] == "evaluator"]
    return not any(each["parent_response_id"] == response["_id"] and is_sent(each) for each in panel)


@rule(RESPONSES)
def a_superseded_call_that_was_sent_is_told(response: Document, records: Records) -> bool | None:
    if response["status"] != "superseded" or not is_sent(response):
        return None
    told = records.events_of[response["thread_id"], "call_superseded"]
    return any(event["details"].get("response_id") == str(response["_id"]) for event in told)
