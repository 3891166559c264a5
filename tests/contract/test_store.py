"""What the store promises, held against both that keep it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from bson import ObjectId

from orchestratex.domain.base import CostSource, SessionStatus, Step, ThreadStatus
from orchestratex.domain.evaluation import PROMPT_WITH_RESPONSE
from orchestratex.domain.log import LogEvent
from orchestratex.domain.response import AttemptCost, Completion, Response, Usage
from orchestratex.domain.thread import IterationScore, Thread
from orchestratex.errors import DocumentTooLargeError, NotFoundError
from orchestratex.store.base import MOST_BYTES, Store, ThreadTotals
from tests.make import (
    NOW,
    make_answer,
    make_criticism_response,
    make_evaluation,
    make_log,
    make_profile,
    make_response,
    make_selection,
    make_session,
    make_thread,
)

PassTime = Callable[[float], None]
Result = TypeVar("Result")
LONG = 600.0  # a lease that no test outlives
SHORT = 0.05


def at_once(calls: int, function: Callable[[int], Result], *, threads: int = 24) -> list[Result]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, range(calls)))


def add_session(store: Store, **fields: Any) -> ObjectId:
    session = make_session(**fields)
    store.insert_session(session)
    return session.id


def add_thread(store: Store, **fields: Any) -> Thread:
    thread = make_thread(**fields)
    store.insert_threads([thread])
    return store.get_thread(thread.id)


def add_response(store: Store, **fields: Any) -> Response:
    response = make_response(**fields)
    store.insert_responses([response])
    return store.get_response(response.id)


def claim(store: Store, response: Response, lease_s: float = LONG) -> Response:
    claimed = store.claim_response(response.id, lease_s=lease_s)
    assert claimed is not None
    return claimed


# -- reading and inserting


def test_a_store_answers_a_ping(store: Store) -> None:
    store.ping()


@pytest.mark.parametrize("verb", ["get_session", "get_thread", "get_response"])
def test_an_id_that_names_nothing_is_not_found(store: Store, verb: str) -> None:
    with pytest.raises(NotFoundError):
        getattr(store, verb)(ObjectId())


def test_documents_come_back_as_they_went_in(store: Store) -> None:
    session, thread, response = make_session(), make_thread(context="c"), make_answer()

    store.insert_session(session)
    store.insert_threads([thread])
    store.insert_responses([response])

    assert store.get_session(session.id) == session
    assert store.get_thread(thread.id).model_copy(update={"dispatched_at": None}) == thread
    assert store.get_response(response.id).model_copy(update={"dispatched_at": None}) == response


def test_inserted_work_is_dispatched_now(store: Store) -> None:
    thread, response = make_thread(), make_response()

    store.insert_threads([thread])
    store.insert_responses([response])

    assert store.get_thread(thread.id).dispatched_at is not None
    assert store.get_response(response.id).dispatched_at is not None


def test_inserting_nothing_is_harmless(store: Store) -> None:
    store.insert_threads([])
    store.insert_responses([])
    store.insert_logs([])
    store.insert_profiles([])

    assert store.profiles() == []


def test_an_id_that_is_there_already_is_left_as_it_is(store: Store) -> None:
    session, thread, response = make_session(), make_thread(), make_response()
    store.insert_session(session)
    store.insert_threads([thread])
    store.insert_responses([response])

    store.insert_session(session.model_copy(update={"user_id": "bob"}))
    store.insert_threads([thread.model_copy(update={"original_prompt": "other"})])
    store.insert_responses([response.model_copy(update={"context_provided": "other"})])

    assert store.get_session(session.id).user_id == "ann"
    assert store.get_thread(thread.id).original_prompt == thread.original_prompt
    assert store.get_response(response.id).context_provided == ""


def test_a_paid_call_is_inserted_once_under_its_unique_key(store: Store) -> None:
    first = make_response()
    again = first.model_copy(update={"id": ObjectId()})
    other = first.model_copy(update={"id": ObjectId(), "ordinal": 1})

    store.insert_responses([first])
    store.insert_responses([again, other])

    assert {response.id for response in store.responses_of(first.thread_id)} == {first.id, other.id}


def test_concurrent_inserts_of_one_call_leave_one(store: Store) -> None:
    call = make_response()

    at_once(12, lambda _: store.insert_responses([call.model_copy(update={"id": ObjectId()})]))

    assert len(store.responses_of(call.thread_id)) == 1


def test_a_selection_stands_under_its_key_whatever_its_id(store: Store) -> None:
    first = make_selection(selected_model="gpt4")
    again = first.model_copy(update={"id": ObjectId(), "selected_model": "claude"})

    given, kept = store.insert_selection(first), store.insert_selection(again)

    assert (given.id, kept.id, kept.selected_model) == (first.id, first.id, "gpt4")
    assert len(store.selections_of(first.thread_id)) == 1


def test_evaluations_and_criticisms_are_inserted_once(store: Store) -> None:
    evaluation, criticism = make_evaluation(), make_criticism_response()

    for _ in range(2):
        store.insert_evaluation(evaluation)
        store.insert_evaluation(evaluation.model_copy(update={"id": ObjectId()}))
        store.insert_criticism(criticism)
        store.insert_criticism(criticism.model_copy(update={"id": ObjectId()}))

    assert store.evaluations_of(evaluation.thread_id) == [evaluation]
    assert store.criticisms_of(criticism.thread_id) == [criticism]


def test_an_evaluation_shows_the_prompt_that_its_response_keeps(store: Store) -> None:
    ids = {"thread_id": ObjectId(), "session_id": ObjectId()}
    response = add_response(store, **ids, prompt_sent="Judge this answer: because.")
    theirs = make_evaluation(**ids, id=response.id, evaluator_model="a", evaluation_prompt_used=PROMPT_WITH_RESPONSE)
    older = make_evaluation(**ids, evaluator_model="b", evaluation_prompt_used="Judge.")  # of a version that kept both
    for evaluation in (theirs, older):
        store.insert_evaluation(evaluation)

    whole, brief = store.evaluations_of(ids["thread_id"]), store.evaluations_of(ids["thread_id"], brief=True)

    assert [each.evaluation_prompt_used for each in whole] == [response.prompt_sent, "Judge."]
    assert [each.evaluation_prompt_used for each in brief] == ["", ""]


def test_profiles_are_inserted_once_by_name_and_read_by_name(store: Store) -> None:
    store.insert_profiles([make_profile("qwen"), make_profile("claude")])

    store.insert_profiles([make_profile("qwen", strengths="new"), make_profile("gpt4")])

    assert [(p.model_name, p.strengths) for p in store.profiles()] == [("claude", ""), ("gpt4", ""), ("qwen", "")]


def test_log_events_that_are_sent_again_are_kept_once(store: Store) -> None:
    thread_id = ObjectId()
    late = make_log(thread_id=thread_id, timestamp=NOW + timedelta(seconds=1))
    early = make_log(thread_id=thread_id)
    store.insert_logs([late])

    store.insert_logs([late, early])

    assert store.logs_of(thread_id) == [early, late]


def test_lists_are_ordered_whatever_the_order_of_insertion(store: Store) -> None:
    ids = {"thread_id": ObjectId(), "session_id": ObjectId()}
    later = NOW + timedelta(seconds=1)
    store.insert_threads([make_thread(session_id=ids["session_id"], created_at=at) for at in (later, NOW)])
    store.insert_responses([make_response(**ids, iteration_number=2, timestamp=later), make_response(**ids)])
    for name in ("qwen", "claude"):
        store.insert_evaluation(make_evaluation(**ids, evaluator_model=name))
    store.insert_selection(make_selection(**ids, iteration_number=2))
    store.insert_selection(make_selection(**ids))
    store.insert_criticism(make_criticism_response(**ids, iteration_number=3))
    store.insert_criticism(make_criticism_response(**ids, iteration_number=2))

    thread_id = ids["thread_id"]
    assert [t.created_at for t in store.threads_of(ids["session_id"])] == [NOW, later]
    assert [r.timestamp for r in store.responses_of(thread_id)] == [NOW, later]
    assert [r.iteration_number for r in store.responses_of(thread_id, iteration=2)] == [2]
    assert [e.evaluator_model for e in store.evaluations_of(thread_id)] == ["claude", "qwen"]
    assert store.evaluations_of(thread_id, iteration=2) == []
    assert [s.iteration_number for s in store.selections_of(thread_id)] == [1, 2]
    assert [c.iteration_number for c in store.criticisms_of(thread_id)] == [2, 3]


def test_documents_between_two_times_come_without_the_end(store: Store) -> None:
    times = [NOW + timedelta(seconds=seconds) for seconds in (3, 1, 2, 0, 4)]
    store.insert_logs([make_log(timestamp=at, event_type=f"e{at.second % 2}") for at in times])

    found = store.scan_between(LogEvent, "timestamp", NOW + timedelta(seconds=1), NOW + timedelta(seconds=4))

    assert sorted(event.timestamp.second for event in found) == [1, 2, 3]
    odd = store.scan_between(LogEvent, "timestamp", NOW, NOW + timedelta(seconds=9), event_type="e1")
    assert sorted(event.timestamp.second for event in odd) == [1, 3]


def test_a_scan_has_no_end_of_its_own_and_may_be_left_early(store: Store) -> None:
    store.insert_logs([make_log(timestamp=NOW) for _ in range(1200)])

    scan = store.scan_between(LogEvent, "timestamp", NOW, NOW + timedelta(seconds=1))

    next(scan)
    assert sum(1 for _ in scan) == 1199
    next(store.scan_between(LogEvent, "timestamp", NOW, NOW + timedelta(seconds=1)))  # and no more of it


def test_documents_without_the_time_are_not_between(store: Store) -> None:
    add_thread(store)
    ended = add_thread(store, completed_at=NOW)

    found = store.scan_between(Thread, "completed_at", NOW, NOW + timedelta(seconds=1))

    assert [thread.id for thread in found] == [ended.id]


def test_responses_between_two_times_come_without_their_texts(store: Store) -> None:
    add_response(store, prompt_sent="p", response_text="r", self_assessment="s", completion={"text": "t"})

    (found,) = store.scan_between(Response, "timestamp", NOW, NOW + timedelta(seconds=1))

    assert (found.prompt_sent, found.response_text, found.self_assessment, found.completion) == (None,) * 4


# -- what is counted


def test_thread_totals_count_calls_that_cost_and_models_that_brought_something(store: Store) -> None:
    thread_id = ObjectId()
    usage = Usage(input_tokens=3, output_tokens=4, total_tokens=7)
    paid = {"thread_id": thread_id, "cost": 1e-9, "cost_nanos": 1, "tokens_used": usage}
    done = {**paid, "status": "completed"}
    store.insert_responses([make_answer(**done), make_response(**done), make_response(**done, model_name="claude")])
    store.insert_responses(
        [
            make_response(**paid, model_name="llama", status="failed"),
            make_response(**paid, model_name="grok", status="superseded"),
            make_response(thread_id=thread_id, model_name="qwen"),
        ]
    )

    assert store.thread_totals(thread_id) == ThreadTotals(models=2, tokens=35, cost_nanos=5)
    assert store.thread_totals(ObjectId()) == ThreadTotals()


def test_totals_of_large_amounts_are_exact(store: Store) -> None:
    thread_id = ObjectId()
    amounts = [2**53 + 1, 3, 2**31]
    store.insert_responses(
        [make_response(thread_id=thread_id, ordinal=n, cost=1, cost_nanos=nanos) for n, nanos in enumerate(amounts)]
    )

    assert store.thread_totals(thread_id).cost_nanos == sum(amounts)


# -- claims


def test_only_one_of_many_claims_a_thread(store: Store) -> None:
    thread = add_thread(store)

    claims = at_once(20, lambda _: store.claim_thread(thread.id, lease_s=LONG))

    (won,) = [found for found in claims if found is not None]
    assert (won.attempt, won.lease_token) == (1, store.get_thread(thread.id).lease_token)
    assert won.lease_until is not None


def test_only_one_of_many_claims_a_response(store: Store) -> None:
    response = add_response(store, sent_at=NOW)

    claims = at_once(20, lambda _: store.claim_response(response.id, lease_s=LONG))

    (won,) = [found for found in claims if found is not None]
    assert (won.attempt, won.sent_at) == (1, None)


@pytest.mark.parametrize("step", [Step.RESPOND, Step.EVALUATE, Step.REFINE, None])
def test_a_thread_that_is_due_a_call_or_has_ended_is_not_claimed(store: Store, step: Step | None) -> None:
    thread = add_thread(store, due_step=step)

    assert store.claim_thread(thread.id, lease_s=LONG) is None


@pytest.mark.parametrize("status", ["completed", "failed", "superseded"])
def test_a_response_that_is_not_pending_is_not_claimed(store: Store, status: str) -> None:
    response = add_response(store, status=status)

    assert store.claim_response(response.id, lease_s=LONG) is None


def test_what_does_not_exist_is_not_claimed(store: Store) -> None:
    assert store.claim_thread(ObjectId(), lease_s=LONG) is None
    assert store.claim_response(ObjectId(), lease_s=LONG) is None


def test_an_expired_lease_is_not_claimed_before_it_is_freed(store: Store, pass_time: PassTime) -> None:
    response = add_response(store)
    claim(store, response, SHORT)
    pass_time(SHORT)

    assert store.claim_response(response.id, lease_s=LONG) is None


def test_waiting_work_is_claimed_after_its_wait(store: Store, pass_time: PassTime) -> None:
    response, thread = add_response(store), add_thread(store)
    store.update_response(claim(store, response), {}, is_release=True, delay_s=1.0)
    held = store.claim_thread(thread.id, lease_s=LONG)
    assert held is not None
    store.release_thread(held, delay_s=1.0)

    early = (store.claim_response(response.id, lease_s=LONG), store.claim_thread(thread.id, lease_s=LONG))
    pass_time(1.0)
    late = (store.claim_response(response.id, lease_s=LONG), store.claim_thread(thread.id, lease_s=LONG))

    assert early == (None, None)
    assert None not in late


def test_a_released_thread_counts_the_error(store: Store) -> None:
    thread = add_thread(store)
    held = store.claim_thread(thread.id, lease_s=LONG)
    assert held is not None

    store.release_thread(held, delay_s=LONG)
    store.release_thread(held, delay_s=0)  # the lease is gone: nothing happens

    known = store.get_thread(thread.id)
    assert (known.errors, known.lease_token, known.lease_until, known.crashes) == (1, None, None, 0)
    assert store.claim_thread(thread.id, lease_s=LONG) is None


# -- leases


def test_renewed_leases_do_not_expire(store: Store, pass_time: PassTime) -> None:
    response, thread = claim(store, add_response(store), SHORT), add_thread(store)
    held = store.claim_thread(thread.id, lease_s=SHORT)
    assert held is not None
    pass_time(SHORT)
    tokens = [str(response.lease_token), str(held.lease_token), "unknown"]

    renewed = store.renew_leases(tokens, lease_s=LONG)

    assert renewed == set(tokens[:2])
    assert (store.expired_responses(limit=9), store.expired_threads(limit=9)) == ([], [])


def test_renewing_nothing_renews_nothing(store: Store) -> None:
    add_response(store)

    assert store.renew_leases([], lease_s=LONG) == set()


def test_expired_leases_are_found_and_freed_once(store: Store, pass_time: PassTime) -> None:
    lost, alive = claim(store, add_response(store), SHORT), claim(store, add_response(store))
    store.update_response(lost, {"sent_at": NOW})
    pass_time(SHORT)
    (expired,) = store.expired_responses(limit=9)

    freed = at_once(8, lambda _: store.free_response(expired, {"error_message": "died"}))

    (won,) = [found for found in freed if found is not None]
    assert (won.id, won.crashes, won.lease_token, won.sent_at, won.error_message) == (lost.id, 1, None, None, "died")
    assert store.free_response(alive, {}) is None


def test_an_expired_thread_is_freed_and_claimable(store: Store, pass_time: PassTime) -> None:
    thread = add_thread(store)
    store.claim_thread(thread.id, lease_s=SHORT)
    pass_time(SHORT)
    (expired,) = store.expired_threads(limit=9)

    freed = store.free_thread(expired)

    assert freed is not None
    assert (freed.crashes, freed.lease_token) == (1, None)
    assert store.free_thread(expired) is None
    again = store.claim_thread(thread.id, lease_s=LONG)
    assert again is not None
    assert (again.attempt, again.crashes) == (2, 1)


def test_a_lease_that_was_renewed_is_not_freed(store: Store, pass_time: PassTime) -> None:
    lost = claim(store, add_response(store), SHORT)
    pass_time(SHORT)
    store.renew_leases([str(lost.lease_token)], lease_s=LONG)

    assert store.free_response(lost, {}) is None


def test_assessments_may_be_kept_when_the_others_are_left_behind(store: Store) -> None:
    thread = add_thread(store)
    evaluation = add_response(store, thread_id=thread.id)
    assessment = add_response(store, thread_id=thread.id, role="primary", response_type="initial", purpose="assessment")

    kept = store.supersede_responses(thread.id, keeps_assessments=True)
    between = store.get_response(assessment.id).status
    rest = store.supersede_responses(thread.id)

    assert (kept, between, rest) == (1, "pending", 1)
    assert {store.get_response(each.id).status for each in (evaluation, assessment)} == {"superseded"}


def test_a_call_that_waits_for_its_model_may_be_called_before_its_time(store: Store) -> None:
    held = claim(store, add_response(store))
    store.update_response(held, {"seat_wanted_at": NOW}, is_release=True, delay_s=LONG)

    before = store.claim_response(held.id, lease_s=LONG)
    called = store.end_wait(held.id)

    assert before is None
    assert called is not None
    assert (called.thread_id, called.role, called.not_before) == (held.thread_id, held.role, None)
    claim(store, held)


def test_only_a_call_that_waits_for_its_model_is_called(store: Store) -> None:
    backing_off = claim(store, add_response(store))
    store.update_response(backing_off, {}, is_release=True, delay_s=LONG)
    leased = claim(store, add_response(store, seat_wanted_at=NOW))
    ended = add_response(store, status="superseded", seat_wanted_at=NOW)

    called = [store.end_wait(each) for each in (backing_off.id, leased.id, ended.id, ObjectId())]

    assert called == [None] * 4
    assert store.get_response(backing_off.id).not_before is not None


def test_no_more_than_the_limit_is_found(store: Store, pass_time: PassTime) -> None:
    for _ in range(3):
        claim(store, add_response(store), SHORT)
    pass_time(SHORT)

    assert len(store.expired_responses(limit=2)) == 2


def test_writes_of_a_freed_holder_lose(store: Store, pass_time: PassTime) -> None:
    stale = claim(store, add_response(store), SHORT)
    pass_time(SHORT)
    store.free_response(stale, {})
    fresh = claim(store, stale)

    assert store.update_response(stale, {"response_text": "late"}) is None
    assert store.complete_response(stale, {"status": "completed"}) is None
    assert store.renew_leases([str(stale.lease_token)], lease_s=LONG) == set()
    assert store.get_response(stale.id) == fresh


def test_writes_without_a_lease_lose(store: Store) -> None:
    response = add_response(store)

    assert store.update_response(response, {"response_text": "x"}) is None
    assert store.complete_response(response, {"status": "completed"}) is None
    assert store.update_response(make_response(lease_token="t"), {}) is None


def test_a_holder_completes_once_and_gives_the_lease_back(store: Store) -> None:
    held = claim(store, add_response(store))
    store.update_response(held, {"sent_at": NOW, "completion": Completion(text="$5 and $$NOW")})

    done = store.complete_response(held, {"status": "completed", "response_text": "$text"})

    assert done is not None
    assert (done.status, done.lease_token, done.response_text) == ("completed", None, "$text")
    stored = store.get_response(held.id)
    assert stored.completion == Completion(text="$5 and $$NOW")
    assert store.complete_response(held, {"status": "failed"}) is None
    assert stored.status == "completed"


def test_superseded_calls_keep_their_lease_but_cannot_complete(store: Store) -> None:
    thread_id = ObjectId()
    held = claim(store, add_response(store, thread_id=thread_id))
    add_response(store, thread_id=thread_id, model_name="claude")
    add_response(store, thread_id=thread_id, model_name="qwen", status="completed")
    add_response(store)

    count = store.supersede_responses(thread_id)

    assert (count, store.pending_of(thread_id), store.supersede_responses(thread_id)) == (2, [], 0)
    assert store.get_response(held.id).lease_token == held.lease_token
    assert store.complete_response(held, {"status": "completed"}) is None
    assert store.update_response(held, {"cost_nanos": 5}, is_release=True) is not None


def test_only_superseded_calls_that_were_sent_say_how_long_they_lasted(store: Store) -> None:
    thread_id = ObjectId()
    sent = add_response(store, thread_id=thread_id, prompt_sent="What?", timestamp=NOW)
    unsent = add_response(store, thread_id=thread_id, model_name="llama", timestamp=NOW)

    store.supersede_responses(thread_id)

    assert (store.get_response(sent.id).processing_duration or 0) > 0
    assert store.get_response(unsent.id).processing_duration is None


# -- moves


def test_a_move_is_won_once(store: Store) -> None:
    thread = add_thread(store, due_step="respond", errors=2, dispatches=3)

    moves = at_once(12, lambda _: store.move_thread(thread, {"due_step": Step.EVALUATE}))

    (won,) = [moved for moved in moves if moved is not None]
    assert (won.due_step, won.moves, won.errors, won.crashes, won.dispatches) == (Step.EVALUATE, 1, 0, 0, 0)
    assert store.get_thread(thread.id).updated_at > thread.updated_at
    assert (store.is_current(won), store.is_current(thread)) == (True, False)


def test_a_move_under_a_lost_lease_loses(store: Store, pass_time: PassTime) -> None:
    thread = add_thread(store)
    held = store.claim_thread(thread.id, lease_s=SHORT)
    assert held is not None
    pass_time(SHORT)
    store.free_thread(held)

    assert store.move_thread(held, {"due_step": Step.SELECT}) is None
    assert store.get_thread(thread.id).due_step is Step.ANALYSE


def test_a_move_by_somebody_without_the_lease_loses(store: Store) -> None:
    thread = add_thread(store)
    held = store.claim_thread(thread.id, lease_s=LONG)
    assert held is not None

    assert store.move_thread(thread, {"due_step": Step.SELECT}) is None
    moved = store.move_thread(held, {"due_step": Step.SELECT})
    assert moved is not None
    assert (moved.lease_token, moved.not_before) == (None, None)


def test_a_move_of_nothing_loses(store: Store) -> None:
    assert store.move_thread(make_thread(), {"due_step": None}) is None
    assert store.is_current(make_thread()) is False


def test_a_move_writes_records_and_texts_as_they_are(store: Store) -> None:
    thread = add_thread(store)
    score = IterationScore(iteration=1, response_id=ObjectId(), model_name="gpt4", score=7.5)

    store.move_thread(thread, {"scores": [score], "final_response": "$total {$add: 1}", "due_step": None})

    known = store.get_thread(thread.id)
    assert (known.scores, known.final_response, known.due_step) == ([score], "$total {$add: 1}", None)


def test_facts_are_recorded_without_a_move(store: Store) -> None:
    thread = add_thread(store)

    store.set_thread(thread.id, {"user_accepted": True, "total_cost_nanos": 3})
    store.set_thread(ObjectId(), {"user_accepted": True})

    known = store.get_thread(thread.id)
    assert (known.user_accepted, known.total_cost_nanos, known.moves) == (True, 3, 0)


# -- outcomes


def test_one_response_is_the_best(store: Store) -> None:
    thread_id = ObjectId()
    first = add_response(store, thread_id=thread_id, is_selected_best=True)
    second = add_response(store, thread_id=thread_id, model_name="claude")
    other = add_response(store, is_selected_best=True)

    store.mark_best(thread_id, second.id)

    marks = {response.id: response.is_selected_best for response in store.responses_of(thread_id)}
    assert marks == {first.id: False, second.id: True}
    assert store.get_response(other.id).is_selected_best
    store.mark_best(thread_id, None)
    assert not any(response.is_selected_best for response in store.responses_of(thread_id))


def test_outcomes_are_recorded(store: Store) -> None:
    selection, criticism = store.insert_selection(make_selection()), make_criticism_response()
    response = add_response(store)
    store.insert_criticism(criticism)

    store.update_selection(selection.id, {"selection_success": True, "actual_performance": 8.0})
    store.update_criticism(criticism.id, {"improvement_score": 6.0})
    store.update_evaluated(response.id, {"selection_score": 7.0})

    assert store.selections_of(selection.thread_id)[0].actual_performance == 8
    assert store.criticisms_of(criticism.thread_id)[0].improvement_score == 6
    assert store.get_response(response.id).selection_score == 7


def test_what_is_known_anew_about_a_model_is_recorded(store: Store) -> None:
    store.insert_profiles([make_profile("gpt4"), make_profile("claude")])

    store.update_profile("gpt4", {"is_available": False, "probes": 3})
    store.update_profile("nobody", {"is_available": False})

    claude, gpt4 = store.profiles()
    assert (gpt4.is_available, gpt4.probes, claude.is_available) == (False, 3, True)
    assert gpt4.updated_at > NOW


def test_a_session_ends_once(store: Store) -> None:
    session_id = add_session(store)
    ended_at = NOW + timedelta(minutes=1)

    ends = at_once(8, lambda _: store.end_session(session_id, SessionStatus.COMPLETED, ended_at))

    assert sum(ends) == 1
    assert store.end_session(session_id, SessionStatus.ERROR, NOW) is False
    known = store.get_session(session_id)
    assert (known.status, known.session_end) == (SessionStatus.COMPLETED, ended_at)
    assert store.end_session(ObjectId(), SessionStatus.ERROR, NOW) is False


def test_a_session_that_changed_meanwhile_is_not_ended_as_idle(store: Store) -> None:
    session_id = add_session(store)
    read_at = store.get_session(session_id).updated_at
    store.touch_session(session_id)
    touched_at = store.get_session(session_id).updated_at

    assert touched_at > read_at
    assert not store.end_session(session_id, SessionStatus.COMPLETED, NOW, unchanged_since=read_at)
    assert store.end_session(session_id, SessionStatus.COMPLETED, NOW, unchanged_since=touched_at)


def test_a_users_satisfaction_is_recorded(store: Store) -> None:
    session_id = add_session(store)

    store.set_session(session_id, {"user_satisfaction": 9.0})

    assert store.get_session(session_id).user_satisfaction == 9


# -- money


def test_money_is_held_then_charged_exactly(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=100)

    assert store.reserve(session_id, {"a_1": 60, "b_1": 40})
    assert store.settle(session_id, "a_1", 7)
    assert store.settle(session_id, "b_1", 0)

    known = store.get_session(session_id)
    assert (known.total_cost_nanos, known.held_nanos, known.reservations) == (7, 0, {})
    assert known.total_cost == 7e-9


def test_a_reservation_is_all_or_none(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=100)

    assert store.reserve(session_id, {"a_1": 60, "b_1": 41}) is False
    assert store.get_session(session_id).reservations == {}
    assert store.reserve(session_id, {"a_1": 100})
    assert store.reserve(session_id, {"b_1": 1}) is False
    assert store.get_session(session_id).held_nanos == 100


def test_a_reservation_that_is_held_is_not_added_again(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=100)
    store.reserve(session_id, {"a_1": 60})

    again = store.reserve(session_id, {"a_1": 60})
    partly = store.reserve(session_id, {"a_1": 60, "b_1": 40})
    beyond = store.reserve(session_id, {"a_1": 60, "c_1": 1})

    assert (again, partly, beyond) == (True, True, False)
    known = store.get_session(session_id)
    assert (known.held_nanos, known.reservations) == (100, {"a_1": 60, "b_1": 40})


def test_a_reservation_takes_the_place_of_another_in_one_write(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=100)
    store.reserve(session_id, {"a_1": 60, "t_panel": 30})

    beyond = store.reserve(session_id, {"b_1": 41}, in_place_of="t_panel")
    kept = store.get_session(session_id).reservations
    placed = store.reserve(session_id, {"b_1": 40}, in_place_of="t_panel")
    again = store.reserve(session_id, {"b_1": 40}, in_place_of="t_panel")

    known = store.get_session(session_id)
    assert (beyond, placed, again) == (False, True, True)
    assert kept == {"a_1": 60, "t_panel": 30}
    assert (known.held_nanos, known.reservations) == (100, {"a_1": 60, "b_1": 40})


def test_what_is_replaced_by_nothing_or_by_what_is_held_already_is_given_back(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=100)

    store.reserve(session_id, {"t_panel": 30})
    store.reserve(session_id, {}, in_place_of="t_panel")
    for_nothing = store.get_session(session_id)
    store.reserve(session_id, {"b_1": 40, "t_panel": 30})
    store.reserve(session_id, {"b_1": 40}, in_place_of="t_panel")
    for_held = store.get_session(session_id)

    assert (for_nothing.held_nanos, for_nothing.reservations) == (0, {})
    assert (for_held.held_nanos, for_held.reservations) == (40, {"b_1": 40})


@pytest.mark.parametrize("limit", [None, 100])
def test_a_day_takes_a_reservation_in_the_place_of_another(store: Store, limit: int | None) -> None:
    store.reserve("2026-01-01/all", {"t_panel": 90}, limit=limit)

    assert store.reserve("2026-01-01/all", {"b_1": 100}, limit=limit, in_place_of="t_panel")

    account = store.get_account("2026-01-01/all")
    assert (account.held_nanos, account.reservations) == (100, {"b_1": 100})


def test_charges_count_against_the_limit(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=100)
    store.reserve(session_id, {"a_1": 50})
    store.settle(session_id, "a_1", 50)

    assert store.reserve(session_id, {"b_1": 51}) is False
    assert store.reserve(session_id, {"b_1": 50}) is True


def test_what_costs_more_than_was_held_is_charged_and_ends_the_sessions_money(store: Store) -> None:
    session_id = add_session(store)
    store.reserve(session_id, {"a_1": 50, "b_1": 10})

    assert store.settle(session_id, "a_1", 80)
    assert store.settle(session_id, "a_1", 80) is False
    assert store.settle(session_id, "b_1", 4)

    known = store.get_session(session_id)
    assert (known.total_cost_nanos, known.excess_nanos, known.held_nanos) == (84, 30, 0)
    assert store.get_account(session_id).left == 0
    assert store.reserve(session_id, {"c_1": 1}) is False
    assert store.reserve(session_id, {})


def test_what_is_held_already_stays_held_when_a_call_costs_too_much(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=100)
    store.reserve(session_id, {"a_1": 50, "b_1": 10})
    store.settle(session_id, "a_1", 51)

    assert store.reserve(session_id, {"b_1": 10})
    assert store.get_session(session_id).reservations == {"b_1": 10}


def test_an_estimate_above_what_was_held_is_charged_and_no_excess(store: Store) -> None:
    session_id = add_session(store)
    store.reserve(session_id, {"a_1": 50})

    store.settle(session_id, "a_1", 80, is_estimate=True)

    known = store.get_session(session_id)
    assert (known.total_cost_nanos, known.excess_nanos) == (80, 0)
    assert store.reserve(session_id, {"b_1": 1})


def test_what_nothing_was_held_for_is_charged_once(store: Store) -> None:
    session_id = add_session(store)

    charged = [store.charge_unheld(session_id, "a_1", 30) for _ in range(2)]

    known = store.get_session(session_id)
    assert charged == [True, False]
    assert (known.total_cost_nanos, known.total_cost, known.excess_nanos) == (30, 3e-8, 30)
    assert store.reserve(session_id, {"b_1": 1}) is False


def test_a_late_truth_above_the_estimate_is_an_excess(store: Store) -> None:
    session_id = add_session(store)
    store.reserve(session_id, {"a_1": 50, "b_1": 50})
    store.settle(session_id, "a_1", 50, is_estimate=True)
    store.settle(session_id, "b_1", 50, is_estimate=True)

    assert store.amend_estimate(session_id, "a_1", 20)
    assert store.get_session(session_id).excess_nanos == 0
    assert store.amend_estimate(session_id, "b_1", 70)

    known = store.get_session(session_id)
    assert (known.total_cost_nanos, known.excess_nanos) == (90, 20)
    assert store.reserve(session_id, {"c_1": 1}) is False


def test_a_days_money_goes_on_after_a_call_that_cost_too_much(store: Store) -> None:
    assert store.reserve("2026-01-01/all", {"a_1": 5}, limit=100)
    store.settle("2026-01-01/all", "a_1", 9)

    assert store.reserve("2026-01-01/all", {"b_1": 91}, limit=100)
    assert store.reserve("2026-01-01/all", {"c_1": 1}, limit=100) is False


def test_free_calls_fit_into_a_limit_of_nothing(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=0)

    assert store.reserve(session_id, {"a_1": 0})
    assert store.reserve(session_id, {"b_1": 1}) is False
    assert store.settle(session_id, "a_1", 0)


def test_reserving_nothing_is_allowed(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=0)

    assert store.reserve(session_id, {})


def test_without_a_limit_everything_fits(store: Store) -> None:
    session_id = add_session(store)
    large = 2**40

    assert store.reserve(session_id, {"a_1": large, "b_1": large})
    assert store.settle(session_id, "a_1", large)

    known = store.get_session(session_id)
    assert (known.held_nanos, known.total_cost_nanos) == (large, large)


def test_money_of_an_unknown_session_is_refused(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.reserve(ObjectId(), {"a_1": 1})
    assert store.settle(ObjectId(), "a_1", 1) is False
    assert store.amend_estimate(ObjectId(), "a_1", 1) is False


def test_concurrent_reservations_never_exceed_the_limit(store: Store) -> None:
    session_id = add_session(store, cost_limit_nanos=1000)

    def call(number: int) -> bool:
        key = f"{number}_1"
        if not store.reserve(session_id, {key: 37}):
            return False
        if number % 2:
            store.settle(session_id, key, 30)
        known = store.get_session(session_id)
        assert known.total_cost_nanos + known.held_nanos <= 1000
        return True

    granted = at_once(200, call)

    known = store.get_session(session_id)
    assert 1000 // 37 <= sum(granted) <= 1000 // 30
    assert known.held_nanos == sum(known.reservations.values())
    assert known.total_cost_nanos % 30 == 0
    assert known.total_cost_nanos // 30 + len(known.reservations) == sum(granted)


def test_settling_twice_is_harmless_even_at_once(store: Store) -> None:
    session_id = add_session(store)
    store.reserve(session_id, {"a_1": 10, "b_1": 10})

    settled = at_once(12, lambda _: store.settle(session_id, "a_1", 4))

    assert sum(settled) == 1
    known = store.get_session(session_id)
    assert (known.total_cost_nanos, known.held_nanos, known.estimates) == (4, 10, {})


def test_an_estimate_is_replaced_by_the_true_cost_once(store: Store) -> None:
    session_id = add_session(store)
    store.reserve(session_id, {"a_1": 10, "b_1": 5})
    store.settle(session_id, "a_1", 10, is_estimate=True)
    store.settle(session_id, "b_1", 5)

    amended = at_once(8, lambda _: store.amend_estimate(session_id, "a_1", 3))

    assert sum(amended) == 1
    assert store.amend_estimate(session_id, "b_1", 1) is False
    known = store.get_session(session_id)
    assert (known.total_cost_nanos, known.total_cost, known.estimates) == (8, 8e-9, {})


def test_an_attempts_estimate_is_replaced_once(store: Store) -> None:
    guess = AttemptCost(nanos=100, source="estimated")
    sure = AttemptCost(nanos=20, source="computed")
    response = add_response(store, attempt_costs={"1": guess, "2": sure}, cost_nanos=120, cost=1.2e-7)

    assert store.amend_attempt(response.id, 1, sure) is True
    assert store.amend_attempt(response.id, 1, sure) is False
    assert store.amend_attempt(response.id, 2, guess) is False
    assert store.amend_attempt(response.id, 3, sure) is False
    assert store.amend_attempt(ObjectId(), 1, sure) is False

    known = store.get_response(response.id)
    assert (known.cost_nanos, known.cost, known.attempt_costs) == (40, 4e-8, {"1": sure, "2": sure})


def test_sessions_that_hold_money_are_found(store: Store) -> None:
    holding, empty = add_session(store), add_session(store)
    store.reserve(holding, {"a_1": 5})
    store.reserve(empty, {"a_1": 5})
    store.settle(empty, "a_1", 5)

    assert [account.id for account in store.accounts_with_reservations(limit=9)] == [holding]


def test_an_account_says_how_long_it_stands_unchanged_by_the_stores_clock(
    store: Store, pass_time: Callable[[float], None]
) -> None:
    session_id, day = add_session(store), f"2025-06-01/{ObjectId()}"
    store.reserve(session_id, {"a_1": 5})
    store.reserve(day, {"a_1": 5}, limit=10)
    pass_time(0.3)
    store.reserve(day, {"b_1": 5}, limit=10)

    idle = {account.id: account.idle_s for account in store.accounts_with_reservations(limit=100)}

    assert idle[session_id] >= 0.3
    assert 0 <= idle[day] < idle[session_id]


def test_held_calls_say_what_decides_about_their_money(store: Store) -> None:
    waiting, claimed = add_response(store), claim(store, add_response(store))
    answered = claim(store, add_response(store))
    cost = AttemptCost(nanos=7, source=CostSource.COMPUTED)
    store.complete_response(answered, {"completion": Completion(text="t", latency_ms=1)}, charge=cost)

    found = store.held_calls([waiting.id, claimed.id, answered.id, ObjectId()])

    assert set(found) == {waiting.id, claimed.id, answered.id}
    assert (found[waiting.id].attempt, found[waiting.id].lease_token) == (0, None)
    assert (found[claimed.id].attempt, found[claimed.id].lease_token) == (1, claimed.lease_token)
    assert (found[answered.id].has_completion, found[claimed.id].has_completion) == (True, False)
    assert found[answered.id].attempt_costs["1"].nanos == 7


# -- reconcile


def test_work_that_nobody_claimed_is_overdue(store: Store, pass_time: PassTime) -> None:
    thread, response = add_thread(store), add_response(store)
    leased, ended = add_thread(store), add_thread(store, due_step=None)
    store.claim_thread(leased.id, lease_s=LONG)
    add_response(store, status="completed", ordinal=1)

    fresh = (
        store.overdue_threads(resend_s=LONG, doubles=False, limit=9),
        store.overdue_responses(resend_s=LONG, doubles=False, limit=9),
    )
    pass_time(SHORT)

    assert fresh == ([], [])
    assert [t.id for t in store.overdue_threads(resend_s=SHORT, doubles=False, limit=9)] == [thread.id]
    assert [r.id for r in store.overdue_responses(resend_s=SHORT, doubles=False, limit=9)] == [response.id]
    assert ended.due_step is None


def test_the_wait_doubles_with_every_sending(store: Store, pass_time: PassTime) -> None:
    once = add_thread(store)
    often = add_thread(store, dispatches=12)
    pass_time(SHORT)

    doubled = store.overdue_threads(resend_s=SHORT, doubles=True, limit=9)
    plain = store.overdue_threads(resend_s=SHORT, doubles=False, limit=9)

    assert [thread.id for thread in doubled] == [once.id]
    assert {thread.id for thread in plain} == {once.id, often.id}


def test_the_wait_doubles_six_times_at_the_most(store: Store, pass_time: PassTime) -> None:
    often = add_thread(store, dispatches=50)
    pass_time(0.002 * 64)

    found = store.overdue_threads(resend_s=0.002, doubles=True, limit=9)

    assert [thread.id for thread in found] == [often.id]


def test_waiting_work_is_overdue_only_after_its_wait(store: Store, pass_time: PassTime) -> None:
    response = add_response(store)
    store.update_response(claim(store, response), {}, is_release=True, delay_s=0.3)
    before = store.overdue_responses(resend_s=0.001, doubles=False, limit=9)

    pass_time(0.35)

    assert before == []
    assert len(store.overdue_responses(resend_s=0.001, doubles=False, limit=9)) == 1


def test_one_of_many_sends_again(store: Store) -> None:
    thread, response = add_thread(store), add_response(store)

    threads = at_once(8, lambda _: store.mark_thread_sent(thread))
    responses = at_once(8, lambda _: store.mark_response_sent(response))

    assert (sum(threads), sum(responses)) == (1, 1)
    assert store.get_thread(thread.id).dispatches == 1
    assert store.get_response(response.id).dispatches == 1


def test_panels_past_their_deadline_are_found(store: Store, pass_time: PassTime) -> None:
    late, early = add_thread(store, due_step="respond"), add_thread(store, due_step="respond")
    gone = add_thread(store, due_step="respond")
    store.move_thread(late, {"due_step": Step.EVALUATE}, deadlines_s={"panel_deadline": SHORT})
    store.move_thread(early, {"due_step": Step.EVALUATE}, deadlines_s={"panel_deadline": LONG})
    store.move_thread(gone, {"due_step": Step.WEIGH}, deadlines_s={"panel_deadline": SHORT})
    add_thread(store, due_step="respond")

    pass_time(SHORT)

    assert [thread.id for thread in store.overdue_panels(limit=9)] == [late.id]


def test_panels_and_threads_past_their_other_deadlines_are_found(store: Store, pass_time: PassTime) -> None:
    short = add_thread(store, due_step="respond", options={"deadline_s": SHORT})
    long = add_thread(store, due_step="respond")
    store.move_thread(long, {"due_step": Step.EVALUATE}, deadlines_s={"quorum_deadline": SHORT, "deadline_at": LONG})
    add_thread(store, due_step="evaluate")
    ended = add_thread(store, options={"deadline_s": SHORT}, due_step=None)

    pass_time(SHORT)

    assert [thread.id for thread in store.threads_past_deadline(limit=9)] == [short.id]
    assert [thread.id for thread in store.straggling_panels(limit=9)] == [long.id]
    assert ended.due_step is None


def test_threads_without_a_deadline_of_their_own_get_the_installations(store: Store, pass_time: PassTime) -> None:
    own, other = make_thread(options={"deadline_s": LONG}), make_thread()

    store.insert_threads([own, other], deadline_s=SHORT)
    pass_time(SHORT)

    assert [thread.id for thread in store.threads_past_deadline(limit=9)] == [other.id]


def test_a_superseded_lease_is_not_prolonged(store: Store) -> None:
    response = add_response(store)
    claimed = claim(store, response)

    store.supersede_responses(response.thread_id)

    assert store.renew_leases([str(claimed.lease_token)], lease_s=LONG) == set()


def test_a_superseded_response_takes_only_writes_that_do_not_need_it_pending(store: Store) -> None:
    response = add_response(store)
    claimed = claim(store, response)
    store.supersede_responses(response.thread_id)

    wanted = store.update_response(claimed, {"error_message": "a"}, is_pending=True)
    unwanted = store.update_response(claimed, {"error_message": "b"}, is_release=True)

    assert wanted is None
    assert unwanted is not None
    assert store.get_response(response.id).error_message == "b"


def test_a_call_that_was_saved_meanwhile_is_not_freed(store: Store, pass_time: PassTime) -> None:
    response = add_response(store)
    claimed = store.claim_response(response.id, lease_s=SHORT)
    assert claimed is not None
    pass_time(SHORT)
    (expired,) = store.expired_responses(limit=9)

    store.update_response(claimed, {"completion": Completion(text="paid for")})
    stale = store.free_response(expired, {})
    (again,) = store.expired_responses(limit=9)

    assert stale is None
    assert store.free_response(again, {}) is not None


def test_a_call_that_was_sent_meanwhile_is_not_freed_as_unsent(store: Store, pass_time: PassTime) -> None:
    response = add_response(store)
    claimed = store.claim_response(response.id, lease_s=SHORT)
    assert claimed is not None
    pass_time(SHORT)
    (expired,) = store.expired_responses(limit=9)

    store.update_response(claimed, {"sent_at": NOW})

    assert store.free_response(expired, {}) is None


def test_what_is_learnt_of_an_earlier_attempt_survives_the_next_ones_charge(store: Store, pass_time: PassTime) -> None:
    def cost(nanos: int, source: str) -> AttemptCost:
        usage = Usage(input_tokens=nanos, total_tokens=nanos)
        return AttemptCost.model_validate({"nanos": nanos, "source": source, "usage": usage})

    response = add_response(store)
    first = store.claim_response(response.id, lease_s=SHORT)
    assert first is not None
    pass_time(SHORT)
    freed = store.free_response(first, {}, charge=cost(100, "estimated"))
    second = claim(store, response)

    store.amend_attempt(response.id, 1, cost(7, "computed"))
    store.update_response(second, {}, charge=cost(5, "computed"))
    found = store.get_response(response.id)

    assert freed is not None
    assert (freed.cost_nanos, freed.cost_source) == (100, "estimated")
    assert (found.cost_nanos, found.cost, found.cost_source) == (12, 12e-9, "computed")
    assert {attempt: each.nanos for attempt, each in found.attempt_costs.items()} == {"1": 7, "2": 5}
    assert found.tokens_used == Usage(input_tokens=12, total_tokens=12)


def test_superseded_and_failed_calls_are_reopened_unless_they_brought_a_completion(store: Store) -> None:
    superseded = add_response(store, status="superseded", attempt=1, reserved_nanos=5)
    failed = add_response(store, status="failed", errors=4, crashes=4, is_quarantined=True, ordinal=1)
    unreadable = add_response(store, status="failed", completion={"text": "?"}, ordinal=2)
    completed = add_response(store, status="completed", ordinal=3)
    ids = [response.id for response in (superseded, failed, unreadable, completed)]

    reopened = store.reopen_responses(ids)

    found = [store.get_response(each) for each in ids]
    assert reopened == 2
    assert [r.status.value for r in found] == ["pending", "pending", "failed", "completed"]
    assert [r.attempt for r in found[:2]] == [2, 1]
    assert (found[0].reserved_nanos, found[1].errors, found[1].crashes, found[1].is_quarantined) == (0, 0, 0, False)


def test_a_session_that_has_to_be_cancelled_is_found_until_it_is_reopened(store: Store) -> None:
    session_id = add_session(store)
    add_session(store)

    store.end_session(session_id, SessionStatus.TERMINATED, NOW, is_cancelling=True)
    found = [session.id for session in store.cancelling_sessions(limit=9)]
    store.reopen_session(session_id)

    session = store.get_session(session_id)
    assert found == [session_id]
    assert store.cancelling_sessions(limit=9) == []
    assert (session.status, session.session_end) == (SessionStatus.ACTIVE, None)


def test_a_panel_without_a_deadline_is_never_overdue(store: Store) -> None:
    add_thread(store, due_step="evaluate")

    assert store.overdue_panels(limit=9) == []


def test_leases_may_be_freed_while_reconcile_runs_on_time(store: Store) -> None:
    assert [store.note_reconcile(gap_s=LONG, amnesty_s=LONG) for _ in range(3)] == [True] * 3


def test_after_a_gap_no_lease_is_freed_for_a_while(store: Store, pass_time: PassTime) -> None:
    store.note_reconcile(gap_s=LONG, amnesty_s=LONG)
    pass_time(0.05)

    after_gap = store.note_reconcile(gap_s=0.02, amnesty_s=0.3)
    soon_after = store.note_reconcile(gap_s=LONG, amnesty_s=LONG)
    pass_time(0.35)
    later = store.note_reconcile(gap_s=LONG, amnesty_s=LONG)

    assert (after_gap, soon_after, later) == (False, False, True)


def test_idle_sessions_are_active_unchanged_and_without_running_threads(store: Store) -> None:
    idle, busy, over = add_session(store), add_session(store), add_session(store, status="completed")
    add_thread(store, session_id=busy)
    ended = {"due_step": None, "thread_status": ThreadStatus.COMPLETED}
    add_thread(store, session_id=idle, **ended)

    assert [session.id for session in store.idle_sessions(idle_s=60, limit=9)] == [idle]
    assert store.idle_sessions(idle_s=10 * 365 * 86_400, limit=9) == []
    assert store.get_session(over).status is SessionStatus.COMPLETED


def test_busy_sessions_do_not_crowd_out_idle_ones(store: Store) -> None:
    for _ in range(3):
        add_thread(store, session_id=add_session(store))
    idle = add_session(store, created_at=NOW + timedelta(seconds=1))

    assert [session.id for session in store.idle_sessions(idle_s=60, limit=2)] == [idle]


def test_the_latest_sample_is_shared(store: Store) -> None:
    store.put_sample("queue_length", 3)
    store.put_sample("queue_length", 0)

    assert store.get_sample("queue_length") == 0
    assert store.get_sample("other") is None


@pytest.mark.parametrize("half", [9_000_000, 17_000_000])  # too much together, and by itself
def test_a_document_that_would_pass_16_mb_is_refused_and_left_as_it_was(store: Store, half: int) -> None:
    response = add_response(store)
    claimed = store.claim_response(response.id, lease_s=30)
    assert claimed is not None
    if half < MOST_BYTES:
        assert store.update_response(claimed, {"prompt_sent": "x" * half}) is not None
    before = store.get_response(response.id)

    with pytest.raises(DocumentTooLargeError):
        store.update_response(claimed, {"completion": Completion(text="é" * (half // 2))})
    with pytest.raises(DocumentTooLargeError):
        store.complete_response(claimed, {"response_text": "x" * half, "status": "completed"})

    assert store.get_response(response.id) == before


def test_a_document_that_is_inserted_too_large_is_not_there(store: Store) -> None:
    response = make_response(prompt_sent="x" * MOST_BYTES)
    evaluation = make_evaluation(evaluation_prompt_used="x" * MOST_BYTES)
    criticism = make_criticism_response(revised_answer="x" * MOST_BYTES)

    with pytest.raises(DocumentTooLargeError):
        store.insert_responses([response])
    with pytest.raises(DocumentTooLargeError):
        store.insert_evaluation(evaluation)
    with pytest.raises(DocumentTooLargeError):
        store.insert_criticism(criticism)

    assert store.responses_of(response.thread_id) == []
    assert store.evaluations_of(evaluation.thread_id) == []
    assert store.criticisms_of(criticism.thread_id) == []
