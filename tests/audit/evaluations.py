from __future__ import annotations

import math

from orchestratex.domain.base import CRITERIA
from tests.audit.engine import Document, is_close, rule
from tests.audit.records import Records, is_answer

EVALUATIONS = "model_evaluations"


@rule(EVALUATIONS)
def it_was_read_from_its_response(evaluation: Document, records: Records) -> bool:
    response = records.responses[evaluation["_id"]]
    names = ("thread_id", "session_id", "iteration_number")
    return bool(
        response["role"] == "evaluator"
        and response["status"] in {"completed", "superseded"}
        and response["model_name"] == evaluation["evaluator_model"]
        and all(response[name] == evaluation[name] for name in names)
    )


@rule(EVALUATIONS)
def what_it_evaluates_is_what_its_response_was_asked_about(evaluation: Document, records: Records) -> bool:
    return records.responses[evaluation["_id"]]["parent_response_id"] == evaluation["evaluated_response_id"]


@rule(EVALUATIONS)
def it_evaluates_an_answer_of_its_iteration(evaluation: Document, records: Records) -> bool:
    answer = records.responses[evaluation["evaluated_response_id"]]
    names = ("thread_id", "iteration_number")
    return is_answer(answer) and all(answer[name] == evaluation[name] for name in names)


@rule(EVALUATIONS)
def nobody_evaluates_itself(evaluation: Document, records: Records) -> bool:
    return records.responses[evaluation["evaluated_response_id"]]["model_name"] != evaluation["evaluator_model"]


@rule(EVALUATIONS)
def each_evaluator_evaluates_an_answer_once(evaluation: Document, records: Records) -> bool:
    panel = records.evaluations_of[evaluation["evaluated_response_id"]]
    return sum(each["evaluator_model"] == evaluation["evaluator_model"] for each in panel) == 1


@rule(EVALUATIONS)
def it_has_the_eight_criteria(evaluation: Document, _records: Records) -> bool:
    return set(evaluation["evaluation_criteria"]) == set(CRITERIA)


@rule(EVALUATIONS)
def its_weights_are_shares_of_its_criteria(evaluation: Document, _records: Records) -> bool:
    weights = evaluation["scoring_weights"]
    is_share = all(0 <= weight <= 1 for weight in weights.values())
    return set(weights) <= set(CRITERIA) and is_share and is_close(math.fsum(weights.values()), 1)


@rule(EVALUATIONS)
def its_weights_are_those_of_its_domain(evaluation: Document, records: Records) -> bool:
    domain = records.thread_of(evaluation)["domain"]
    same = [each for each in records.evaluations.values() if records.thread_of(each)["domain"] == domain]
    return same[0]["scoring_weights"] == evaluation["scoring_weights"]


@rule(EVALUATIONS)
def its_score_is_the_weighted_average_of_its_criteria(evaluation: Document, _records: Records) -> bool:
    weights, criteria = evaluation["scoring_weights"], evaluation["evaluation_criteria"]
    total = math.fsum(criteria[name] * weight for name, weight in weights.items())
    return is_close(evaluation["overall_score"], total / math.fsum(weights.values()))


@rule(EVALUATIONS)
def it_says_in_words_what_it_criticises(evaluation: Document, _records: Records) -> bool:
    points = [each["point"] for each in evaluation["criticisms"]]
    return bool(evaluation["criticism_text"]) == bool(points) and all(
        point.strip() in evaluation["criticism_text"] for point in points
    )


@rule(EVALUATIONS)
def an_evaluator_knows_a_domain_equally_well_each_time(evaluation: Document, records: Records) -> bool:
    domain, model = records.thread_of(evaluation)["domain"], evaluation["evaluator_model"]
    same = next(
        each
        for each in records.evaluations.values()
        if each["evaluator_model"] == model and records.thread_of(each)["domain"] == domain
    )
    return same["evaluator_speciality_match"] == evaluation["evaluator_speciality_match"]


@rule(EVALUATIONS)
def its_prompt_is_what_was_sent(evaluation: Document, records: Records) -> bool:
    return evaluation["evaluation_prompt_used"] == records.responses[evaluation["_id"]]["prompt_sent"]


@rule(EVALUATIONS)
def its_time_is_its_responses(evaluation: Document, records: Records) -> bool:
    return evaluation["evaluation_time"] == records.responses[evaluation["_id"]]["response_time"]


@rule(EVALUATIONS)
def its_tokens_are_its_responses(evaluation: Document, records: Records) -> bool:
    tokens = records.responses[evaluation["_id"]]["tokens_used"]
    return evaluation["tokens_used"] == tokens["total_tokens"]


@rule(EVALUATIONS)
def its_cost_is_its_responses(evaluation: Document, records: Records) -> bool:
    return evaluation["cost"] == records.responses[evaluation["_id"]]["cost"]


@rule(EVALUATIONS)
def it_comes_after_its_call_began(evaluation: Document, records: Records) -> bool:
    return evaluation["timestamp"] >= records.responses[evaluation["_id"]]["timestamp"]


@rule(EVALUATIONS)
def it_is_told(evaluation: Document, records: Records) -> bool | None:
    if records.responses[evaluation["_id"]]["status"] != "completed":
        return None
    told = records.events_of[evaluation["thread_id"], "evaluation_completed"]
    names = {(event["model_involved"], event["iteration_number"]) for event in told}
    return (evaluation["evaluator_model"], evaluation["iteration_number"]) in names
