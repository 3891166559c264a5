from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from tests.audit.engine import Document, is_close, rule
from tests.audit.records import ENDED, Records, is_answer, is_sent, to_usd

THREADS = "conversation_threads"
_ORDER = ("simple", "moderate", "complex", "expert")
_STATUSES = {
    "analyse": {"initializing"},
    "select": {"model_selection", "refining"},
    "respond": {"responding"},
    "evaluate": {"evaluating"},
    "weigh": {"criticism"},
    "refine": {"refining"},
}

_CUT_SHORT = {"cancelled", "deadline"}


@rule(THREADS)
def its_session_is_there(thread: Document, records: Records) -> bool:
    return thread["session_id"] in records.sessions


@rule(THREADS)
def its_prompt_is_not_empty(thread: Document, _records: Records) -> bool:
    return bool(thread["original_prompt"].strip())


@rule(THREADS)
def its_processed_prompt_is_normalised(thread: Document, _records: Records) -> bool | None:
    text = thread["processed_prompt"]
    if text is None:
        return None
    return (
        bool(text)
        and text == text.rstrip()
        and len(text) <= len(unicodedata.normalize("NFD", thread["original_prompt"]))
    )


@rule(THREADS)
def its_language_is_a_code(thread: Document, _records: Records) -> bool | None:
    language = thread["language"]
    return None if language is None else re.fullmatch(r"[a-z]{2}|und", language) is not None


@rule(THREADS)
def harder_threads_are_more_complex(thread: Document, records: Records) -> bool | None:
    level = thread["complexity_level"]
    if level is None:
        return None
    mine = thread["estimated_difficulty"]
    easier = [
        each["estimated_difficulty"]
        for each in records.threads.values()
        if each["complexity_level"] is not None and _ORDER.index(each["complexity_level"]) < _ORDER.index(level)
    ]
    return all(difficulty <= mine for difficulty in easier)


@rule(THREADS)
def nothing_is_due_exactly_when_it_has_ended(thread: Document, _records: Records) -> bool:
    return (thread["due_step"] is None) == (thread["thread_status"] in ENDED)


@rule(THREADS)
def its_status_is_that_of_the_step_due(thread: Document, _records: Records) -> bool | None:
    step = thread["due_step"]
    return None if step is None or step == "finish" else thread["thread_status"] in _STATUSES[step]


@rule(THREADS)
def its_iteration_is_within_what_was_allowed(thread: Document, _records: Records) -> bool:
    return 1 <= thread["current_iteration"] <= thread["options"]["max_iterations"] <= 10


@rule(THREADS)
def its_iteration_is_the_last_that_has_an_answer(thread: Document, records: Records) -> bool | None:
    if thread["thread_status"] not in ENDED:
        return None
    answered = [each["iteration_number"] for each in records.answers_in(thread)]
    return thread["current_iteration"] == max(answered, default=1)


@rule(THREADS)
def max_iterations_are_reached_exactly_where_the_last_has_an_answer(thread: Document, records: Records) -> bool | None:
    answered = {each["iteration_number"] for each in records.answers_in(thread)}
    if not answered or thread["thread_status"] not in ENDED:
        return None
    return thread["max_iterations_reached"] == (thread["options"]["max_iterations"] in answered)


@rule(THREADS)
def it_completes_exactly_where_it_has_an_answer(thread: Document, records: Records) -> bool | None:
    if thread["thread_status"] not in ENDED:
        return None
    return (thread["thread_status"] == "completed") == bool(records.answers_in(thread))


@rule(THREADS)
def its_best_response_is_an_answer_of_its_own(thread: Document, records: Records) -> bool | None:
    best = records.best_of(thread)
    if thread["best_response_id"] is None:
        return None
    return best is not None and best["thread_id"] == thread["_id"] and is_answer(best)


@rule(THREADS)
def its_best_model_wrote_its_best_response(thread: Document, records: Records) -> bool | None:
    best = records.best_of(thread)
    return None if best is None else best["model_name"] == thread["best_model_id"]


@rule(THREADS)
def its_best_response_has_the_highest_score(thread: Document, records: Records) -> bool | None:
    best = records.best_of(thread)
    scores = [score for each in records.answers_in(thread) for score in records.scores_of(each)[:1]]
    if best is None or not scores or thread["thread_status"] not in ENDED:
        return None
    return any(score >= max(scores) - 1e-9 for score in records.scores_of(best))


@rule(THREADS)
def its_final_response_is_the_best_responses_text(thread: Document, records: Records) -> bool | None:
    best = records.best_of(thread)
    if thread["final_response"] is None or best is None:
        return None
    return thread["final_response"] == best["response_text"]


@rule(THREADS)
def its_final_score_is_the_mean_of_the_best_responses_evaluations(thread: Document, records: Records) -> bool | None:
    best, score = records.best_of(thread), thread["final_quality_score"]
    if best is None or score is None:
        return None
    return any(is_close(score, each) for each in records.scores_of(best))


@rule(THREADS)
def its_final_score_is_not_below_its_first_answers(thread: Document, records: Records) -> bool | None:
    first = [each for each in records.answers_in(thread) if each["iteration_number"] == 1]
    scores = records.scores_of(first[0]) if first else []
    if not scores or thread["final_quality_score"] is None:
        return None
    return thread["final_quality_score"] >= min(scores) - 1e-9


@rule(THREADS)
def its_failure_is_told(thread: Document, _records: Records) -> bool | None:
    return None if thread["thread_status"] != "failed" else bool(thread["failure_reason"])


@rule(THREADS)
def it_says_why_it_stopped_exactly_when_it_has(thread: Document, _records: Records) -> bool:
    return (thread["stop_reason"] is not None) == (thread["thread_status"] in ENDED)


def _stopped_for(reason: str) -> Callable[[Callable[[Document, Records], bool]], Callable[..., object]]:
    """A rule about threads that stopped for one reason."""

    def take_in(check: Callable[[Document, Records], bool]) -> Callable[..., object]:
        def asked(thread: Document, records: Records) -> bool | None:
            return check(thread, records) if thread["stop_reason"] == reason else None

        asked.__name__ = check.__name__
        return rule(THREADS)(asked)

    return take_in


@_stopped_for("quality_threshold")
def stopped_at_the_quality_threshold_it_has_reached_it(thread: Document, _records: Records) -> bool:
    return thread["final_quality_score"] >= thread["options"]["quality_threshold"]


@_stopped_for("max_iterations")
def stopped_at_max_iterations_it_has_reached_them(thread: Document, _records: Records) -> bool:
    return thread["max_iterations_reached"] and thread["current_iteration"] == thread["options"]["max_iterations"]


@_stopped_for("cost_limit")
def stopped_at_a_cost_limit_its_session_has_one(thread: Document, records: Records) -> bool:
    return records.sessions[thread["session_id"]]["settings"]["cost_limit"] is not None


@_stopped_for("deadline")
def stopped_at_a_deadline_it_has_passed(thread: Document, _records: Records) -> bool:
    return thread["completed_at"] >= thread["deadline_at"]


@_stopped_for("no_improvement")
def stopped_without_improvement_it_has_tried(thread: Document, _records: Records) -> bool:
    return thread["current_iteration"] >= 2


@_stopped_for("nothing_severe")
def stopped_with_nothing_severe_no_two_evaluators_agree_on_any(thread: Document, records: Records) -> bool:
    panel = records.evaluations_in_time(records.responses[thread["best_response_id"]])
    severe = [each for each in panel if any(point["severity"] != "minor" for point in each["criticisms"])]
    worst = [_marked_down_most(each["evaluation_criteria"]) for each in severe]
    if len(panel) == 1:
        return not severe
    return all(one.isdisjoint(other) for number, one in enumerate(worst) for other in worst[:number])


def _marked_down_most(criteria: Document) -> set[str]:
    """An evaluator's lowest criteria, each within a point of the lowest."""
    lowest = min(criteria.values())
    return {name for name, score in criteria.items() if score <= lowest + 1}


@_stopped_for("failed")
def stopped_by_a_failure_it_gives_a_reason_or_shows_an_answer(thread: Document, _records: Records) -> bool:
    return bool(thread["failure_reason"] or thread["final_response"])


@rule(THREADS)
def it_goes_on_only_while_its_threshold_is_not_reached(thread: Document, records: Records) -> bool | None:
    threshold = thread["options"]["quality_threshold"]
    if threshold is None or thread["retries"]:
        return None
    earlier = [each for each in records.answers_in(thread) if each["iteration_number"] < thread["current_iteration"]]
    return all(min(records.scores_of(each), default=0.0) < threshold for each in earlier)


@rule(THREADS)
def models_involved_are_those_with_a_completed_call(thread: Document, records: Records) -> bool | None:
    if thread["thread_status"] not in ENDED:
        return None
    calls = records.responses_in.get(thread["_id"], [])
    return thread["total_models_involved"] == len({c["model_name"] for c in calls if c["status"] == "completed"})


@rule(THREADS)
def its_tokens_are_the_sum_of_its_calls(thread: Document, records: Records) -> bool:
    calls = [call["tokens_used"] for call in records.responses_in.get(thread["_id"], ()) if call["tokens_used"]]
    return thread["total_tokens_used"] == sum(tokens["total_tokens"] for tokens in calls)


@rule(THREADS)
def its_cost_is_the_sum_of_its_calls(thread: Document, records: Records) -> bool:
    nanos = sum(call["cost_nanos"] for call in records.responses_in.get(thread["_id"], ()))
    return thread["total_cost"] == to_usd(nanos)


@rule(THREADS)
def its_time_is_from_created_to_completed(thread: Document, _records: Records) -> bool | None:
    if thread["completed_at"] is None:
        return None
    spent_s = (thread["completed_at"] - thread["created_at"]).total_seconds()
    return abs(thread["total_time_spent"] - spent_s * 1000) <= 1


@rule(THREADS)
def its_times_are_in_order(thread: Document, _records: Records) -> bool:
    is_ended_later = thread["completed_at"] is None or thread["completed_at"] >= thread["created_at"]
    return thread["updated_at"] >= thread["created_at"] and is_ended_later


@rule(THREADS)
def it_completes_after_its_calls_began(thread: Document, records: Records) -> bool | None:
    calls = records.responses_in.get(thread["_id"])
    return (
        None if thread["completed_at"] is None or not calls else bool(thread["completed_at"] >= calls[-1]["timestamp"])
    )


@rule(THREADS)
def only_a_shown_response_is_accepted_or_rejected(thread: Document, _records: Records) -> bool | None:
    return None if thread["user_accepted"] is None else thread["final_response"] is not None


@rule(THREADS)
def excluded_models_are_never_asked_to_answer(thread: Document, records: Records) -> bool | None:
    excluded = set(thread["options"]["excluded_models"])
    calls = records.responses_in.get(thread["_id"], ())
    return None if not excluded else not any(call["model_name"] in excluded for call in calls)


@rule(THREADS)
def only_the_named_evaluators_evaluate(thread: Document, records: Records) -> bool | None:
    named = thread["options"]["evaluators"]
    panel = [call for call in records.responses_in.get(thread["_id"], ()) if call["role"] == "evaluator"]
    return None if not named else all(call["model_name"] in named for call in panel)


@rule(THREADS)
def one_response_is_marked_best_where_it_has_one(thread: Document, records: Records) -> bool | None:
    if thread["thread_status"] not in ENDED:
        return None
    marked = [call["_id"] for call in records.responses_in.get(thread["_id"], ()) if call["is_selected_best"]]
    return marked == ([] if thread["best_response_id"] is None else [thread["best_response_id"]])


@rule(THREADS)
def no_call_is_pending_when_it_has_ended(thread: Document, records: Records) -> bool | None:
    if thread["thread_status"] not in ENDED:
        return None
    return all(call["status"] != "pending" for call in records.responses_in.get(thread["_id"], ()))


@rule(THREADS)
def each_of_its_iterations_has_one_answer_at_most(thread: Document, records: Records) -> bool:
    numbers = [each["iteration_number"] for each in records.answers_in(thread) if not each["stands_by"]]
    return len(numbers) == len(set(numbers))


@rule(THREADS)
def every_iteration_before_the_last_has_an_answer(thread: Document, records: Records) -> bool | None:
    numbers = {each["iteration_number"] for each in records.answers_in(thread)}
    return None if not numbers else numbers == set(range(1, max(numbers) + 1))


@rule(THREADS)
def it_has_a_final_selection_exactly_where_it_completed(thread: Document, records: Records) -> bool | None:
    if thread["thread_status"] not in ENDED or thread["retries"]:
        return None
    phases = [each["selection_phase"] for each in records.selections_in.get(thread["_id"], ())]
    return phases.count("final") == (thread["thread_status"] == "completed")


@rule(THREADS)
def it_has_an_initial_selection_before_any_call(thread: Document, records: Records) -> bool | None:
    if thread["_id"] not in records.responses_in:
        return None
    return any(each["selection_phase"] == "initial" for each in records.selections_in.get(thread["_id"], ()))


@rule(THREADS)
def its_end_is_told(thread: Document, records: Records) -> bool | None:
    if thread["thread_status"] not in ENDED:
        return None
    return bool(records.events_of[thread["_id"], f"thread_{thread['thread_status']}"])


@rule(THREADS)
def its_submission_is_told_once(thread: Document, records: Records) -> bool:
    return len(records.events_of[thread["_id"], "thread_submitted"]) == 1


@rule(THREADS)
def the_opening_of_each_panel_is_told(thread: Document, records: Records) -> bool | None:
    """A panel whose thread ended before it was opened never asked anybody: nothing was opened."""
    calls = [call for call in records.responses_in[thread["_id"]] if call["role"] == "evaluator"]
    is_whole = thread["stop_reason"] not in _CUT_SHORT and not thread["retries"]
    panels = {call["iteration_number"] for call in calls if is_whole or is_sent(call)}
    told = {event["iteration_number"] for event in records.events_of[thread["_id"], "panel_opened"]}
    return panels <= told if panels else None


@rule(THREADS)
def its_acceptance_is_told(thread: Document, records: Records) -> bool | None:
    if thread["user_accepted"] is None:
        return None
    name = "response_accepted" if thread["user_accepted"] else "response_rejected"
    return bool(records.events_of[thread["_id"], name])
