from __future__ import annotations

import time
from collections.abc import Sequence

from bson import ObjectId

from orchestratex.domain.base import (
    Component,
    Domain,
    Purpose,
    ResponseType,
    Role,
    SelectionPhase,
    Step,
    StopReason,
    derive_id,
)
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.thread import Thread
from orchestratex.rules.flow import refinement_outcomes
from orchestratex.rules.pricing import prompt_tokens
from orchestratex.rules.selection import ALGORITHM_VERSION, NoCandidateError, Ranking, rank, refinement_bonus
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.services import Services

_SELECTIONS_PER_RETRY = 1000  # more than there are models
_EXPECTED_OUTPUT_TOKENS = 600  # of an answer, for comparing what models would cost


def select(thread: Thread, services: Services) -> Move:
    """Choose the model that answers or refines, record why, and note its call as pending."""
    started = time.perf_counter()
    try:
        ranking = _rank(thread, services)
    except NoCandidateError as error:
        return stop(StopReason.FAILED, f"no model is left to ask: {error}")
    selection = services.store.insert_selection(_record(thread, ranking, started, services))
    response = _pending(thread, selection.selected_model, services)
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
    return Move(Step.RESPOND if thread.current_iteration == 1 else Step.REFINE)


def _rank(thread: Thread, services: Services) -> Ranking:
    domain = thread.domain or Domain.GENERAL
    bonus = {}
    if thread.best_model_id is not None and thread.current_iteration > 1:
        bonus = refinement_bonus(thread.best_model_id, refinement_outcomes(thread))
    return rank(
        services.usable_profiles(),
        domain=domain,
        language=thread.language,
        strategy=thread.options.selection_strategy,
        expected_tokens=(prompt_tokens(thread.original_prompt), _EXPECTED_OUTPUT_TOKENS),
        preferred=thread.options.preferred_models,
        excluded=thread.options.excluded_models,
        unavailable=dict.fromkeys(thread.failed_models, "its call failed in this thread"),
        bonus=bonus,
        domain_quality=services.store.domain_quality(domain),
    )


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
    evaluations = services.store.evaluations_of(thread.id, iteration=best.iteration, brief=True)
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
    reserved_nanos: int = 0,
) -> Response:
    """A call's ledger entry before anybody claims it; its id follows from its unique key."""
    return Response(
        id=derive_id("response", thread.id, thread.current_iteration, role, model, purpose, 0),
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
        domain=thread.domain,
        reserved_nanos=reserved_nanos,
    )
