from __future__ import annotations

import time
from collections.abc import Sequence

from bson import ObjectId

from orchestratex.domain.base import (
    Component,
    Domain,
    LogLevel,
    Purpose,
    ResponseStatus,
    ResponseType,
    Role,
    SelectionPhase,
    Step,
    StopReason,
    derive_id,
)
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.sums import BILLION
from orchestratex.domain.thread import Thread
from orchestratex.rules.evidence import History
from orchestratex.rules.flow import refinement_outcomes
from orchestratex.rules.outlay import expect_thread_cost
from orchestratex.rules.panel import choose_evaluators
from orchestratex.rules.pricing import prompt_tokens
from orchestratex.rules.selection import (
    ALGORITHM_VERSION,
    Facts,
    NoCandidateError,
    Question,
    Ranking,
    rank,
    refinement_bonus,
)
from orchestratex.rules.shortfall import Kind, longer_limit
from orchestratex.steps.counting import counted_evaluations
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.pool import judged_authors
from orchestratex.steps.services import Services
from orchestratex.steps.standby import MOST_MODELS, fall_back, room_needed

_SELECTIONS_PER_RETRY = 1000  # more than there are models
_REASON = 200  # characters of a failure that a selection repeats


def select(thread: Thread, services: Services) -> Move:
    """Choose the model that answers or refines, record why, and note its call as pending."""
    started = time.perf_counter()
    try:
        _refuse_one_too_many(thread, services)
        ranking = _rank(thread, services)
    except NoCandidateError as error:
        if fall_back(thread, services) is not None:
            return Move(_answer_step(thread))
        why = str(error) if thread.current_iteration == 1 else f"no further model is asked: {error}"
        services.journal.write(
            Component.SELECTOR, "no_candidate", why, thread=thread, level=LogLevel.ERROR, error=error
        )
        return stop(StopReason.FAILED, why)
    selection = services.store.insert_selection(_record(thread, ranking, started, services))
    response = _with_room(_pending(thread, selection.selected_model, services), thread, services)
    services.store.insert_responses([response])
    if thread.retries:  # the model may have failed before the thread was taken up again
        services.store.reopen_responses([response.id])
    services.journal.write(
        Component.SELECTOR,
        "model_selected",
        f"{selection.selected_model} is to {'answer' if thread.current_iteration == 1 else 'refine'}",
        thread=thread,
        model=selection.selected_model,
        processing_time=selection.selection_time,
        confidence=selection.selection_confidence,
        runner_up=selection.runner_up_model,
        margin=selection.selection_margin,
    )
    return Move(_answer_step(thread))


def _refuse_one_too_many(thread: Thread, services: Services) -> None:
    """Pay no further model for a revision when several replied and none could be used. Raises NoCandidateError.

    A first answer is worth asking every model for; without a revision there still is an answer.
    """
    if thread.current_iteration == 1 or not thread.failed_models:
        return
    answers = services.store.answers_of(thread.id, iteration=thread.current_iteration)
    spent = {
        each.model_name for each in answers if each.status is ResponseStatus.FAILED and each.completion is not None
    }
    if len(spent) >= MOST_MODELS:
        raise NoCandidateError(f"{', '.join(sorted(spent))} replied, and none brought a revision that can be used")


def _answer_step(thread: Thread) -> Step:
    return Step.RESPOND if thread.current_iteration == 1 else Step.REFINE


def _rank(thread: Thread, services: Services) -> Ranking:
    profiles = services.usable_profiles()
    is_first = thread.current_iteration == 1
    # only first answers teach what a model is worth
    exploration = services.settings.exploration if is_first else 0.0
    question = Question(
        domain=thread.domain or Domain.GENERAL,
        language=thread.language,
        strategy=thread.options.selection_strategy,
        seed=thread.original_prompt,
        exploration=exploration,
    )
    bonus = {}
    if thread.best_model_id is not None and not is_first:
        bonus = refinement_bonus(thread.best_model_id, refinement_outcomes(thread))
    facts = Facts(costs=_expect_costs(thread, profiles, services), history=_read_history(services), bonus=bonus)
    return rank(
        profiles,
        question,
        facts,
        preferred=thread.options.preferred_models,
        excluded=thread.options.excluded_models,
        unavailable=_find_unavailable(thread, profiles, services),
    )


def _expect_costs(thread: Thread, profiles: Sequence[Profile], services: Services) -> dict[str, float]:
    """What the thread would cost, rounds and panels, by who answers it."""
    tokens = prompt_tokens(f"{thread.original_prompt}\n{thread.context or ''}")
    rounds, size, now = thread.options.max_iterations, services.settings.panel_size, services.clock()
    costs = {}
    for author in profiles:
        panel = choose_evaluators(profiles, thread.options, author=author.model_name, size=size)
        cost = expect_thread_cost(author, panel, prompt_tokens=tokens, max_iterations=rounds, at=now)
        costs[author.model_name] = cost
    return costs


def _read_history(services: Services) -> History:
    """Rated first answers as they were last rolled up: so much is read, however long the history is."""
    return {
        (name, Domain(domain)): (scores.count, scores.total / BILLION)
        for name, stats in services.store.model_stats().items()
        for domain, scores in stats.first_answers.items()
    }


def _find_unavailable(thread: Thread, profiles: Sequence[Profile], services: Services) -> dict[str, str]:
    """The models that are not to be asked in this thread, with the reason."""
    judges = dict.fromkeys(_only_judges(thread, profiles), "it is the only one that is to evaluate")
    if not thread.failed_models:
        return judges
    too_short, _ = room_needed(thread, services)
    short = {each.model_name for each in profiles if too_short and each.max_output_tokens <= too_short}
    why = f"its output limit is not above the {too_short} tokens at which an answer was cut off"
    answers = services.store.answers_of(thread.id, iteration=thread.current_iteration)
    failures = {each.model_name: each.error_message for each in answers if each.error_message}
    said = {name: failures.get(name) or "its call failed in this thread" for name in thread.failed_models}
    return {**judges, **dict.fromkeys(short, why), **{name: text[:_REASON] for name, text in said.items()}}


def _only_judges(thread: Thread, profiles: Sequence[Profile]) -> set[str]:
    """The models whose answer nobody would evaluate, where the caller's list leaves nobody else, unless all are such.

    A model that has failed in the thread is no alternative.
    """
    if thread.options.evaluators is None:
        return set()
    out = {*thread.options.excluded_models, *thread.failed_models}
    left = {profile.model_name for profile in profiles} - out
    judged = judged_authors(profiles, thread.options) & left
    return left - judged if judged else set()


def _record(thread: Thread, ranking: Ranking, started: float, services: Services) -> Selection:
    phase = SelectionPhase.INITIAL if thread.current_iteration == 1 else SelectionPhase.REFINEMENT
    # a model that had to be replaced makes the next selection another one, and so does a retry
    ordinal = len(thread.failed_models) + thread.retries * _SELECTIONS_PER_RETRY
    return Selection(
        id=derive_id("selection", thread.id, thread.current_iteration, phase, ordinal),
        thread_id=thread.id,
        session_id=thread.session_id,
        iteration_number=thread.current_iteration,
        selection_phase=phase,
        algorithm_version=ALGORITHM_VERSION,
        selection_strategy=thread.options.selection_strategy,
        candidates_considered=ranking.candidates,
        selected_model=ranking.selected,
        selection_confidence=ranking.confidence,
        runner_up_model=ranking.runner_up,
        selection_margin=ranking.margin,
        primary_selection_factors=ranking.factors,
        override_reasons=ranking.override_reasons,
        timestamp=services.clock(),
        selection_time=(time.perf_counter() - started) * 1000,
        ordinal=ordinal,
    )


def _pending(thread: Thread, model: str, services: Services) -> Response:
    if thread.current_iteration == 1:
        return pending_response(thread, model, Role.PRIMARY, ResponseType.INITIAL, Purpose.ANSWER, services)
    best = next(score for score in thread.scores if score.response_id == thread.best_response_id)
    evaluations = counted_evaluations(thread, services, iteration=best.iteration)
    return pending_response(
        thread,
        model,
        Role.REFINER,
        ResponseType.IMPROVEMENT,
        Purpose.ANSWER,
        services,
        parent=best.response_id,
        criticisms=[evaluation.id for evaluation in evaluations],
    )


def _with_room(response: Response, thread: Thread, services: Services) -> Response:
    """Where another model's reply was cut off, this one may be longer."""
    _, cut_off_at = room_needed(thread, services)
    profile = services.profile(response.model_name)
    if not cut_off_at or profile is None:
        return response
    wanted = longer_limit(cut_off_at, Kind.CUT_OFF, most=profile.max_output_tokens)
    return response.model_copy(update={"output_wanted": wanted})


def pending_response(
    thread: Thread,
    model: str,
    role: Role,
    response_type: ResponseType,
    purpose: Purpose,
    services: Services,
    *,
    parent: ObjectId | None = None,
    criticisms: Sequence[ObjectId] = (),
    ordinal: int = 0,
    reserved_nanos: int = 0,
) -> Response:
    """A call's ledger entry before anybody claims it; its id follows from its unique key."""
    return Response(
        id=derive_id("response", thread.id, thread.current_iteration, role, model, purpose, ordinal),
        thread_id=thread.id,
        session_id=thread.session_id,
        iteration_number=thread.current_iteration,
        model_name=model,
        role=role,
        response_type=response_type,
        context_provided=thread.context or "",
        parent_response_id=parent,
        criticism_addressed=list(criticisms),
        timestamp=services.clock(),
        purpose=purpose,
        ordinal=ordinal,
        domain=thread.domain,
        reserved_nanos=reserved_nanos,
    )
