"""A thread's documents as a tree for people."""

from __future__ import annotations

from typing import Final

from rich.tree import Tree

from orchestratex.cli.documents import ThreadDocuments
from orchestratex.cli.output import format_cost, format_score, shorten
from orchestratex.cli.result import describe_partial, describe_score
from orchestratex.domain.base import FILTERED, FinishReason, Purpose, Role, SelectionPhase, StopReason
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.evaluation import Evaluation
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.thread import IterationScore
from orchestratex.rules.flow import describe_panel
from orchestratex.terminal import escape

EXCERPT: Final = 160


def draw_trace(documents: ThreadDocuments, waiting: str | None = None) -> Tree:
    """Draw iteration by iteration what was chosen, answered, objected and decided, then the events.

    `waiting` says what it waits for.
    """
    thread = documents.thread
    stop = f", stopped: {thread.stop_reason.value}" if thread.stop_reason else ""
    tree = Tree(f"Thread {thread.id}: {thread.thread_status.value}{stop}, score {describe_score(thread)}")
    _draw_head(tree, documents)
    if waiting:
        tree.add(f"waiting: {escape(waiting)}")
    for iteration in range(1, _last_iteration(documents) + 1):
        _draw_iteration(tree, iteration, documents)
    for selection in documents.selections:
        if selection.selection_phase is SelectionPhase.FINAL:
            _draw_selection(tree, selection)
    _draw_events(tree, documents)
    return tree


def _last_iteration(documents: ThreadDocuments) -> int:
    """The last iteration in which anything was done: one that brought no answer does not count in the thread."""
    asked = [response.iteration_number for response in documents.responses]
    return max([*asked, *(selection.iteration_number for selection in documents.selections)], default=0)


def _draw_head(tree: Tree, documents: ThreadDocuments) -> None:
    thread, session = documents.thread, documents.session
    tree.add(f"prompt: {shorten(thread.original_prompt, EXCERPT)}")
    if thread.domain and thread.complexity_level:
        difficulty = format_score(thread.estimated_difficulty)
        tree.add(f"{thread.domain.value}, {thread.complexity_level.value}, difficulty {difficulty}, {thread.language}")
    cost = format_cost(sum(response.cost_nanos for response in documents.responses))
    limit = "no limit" if session.cost_limit_nanos is None else f"limit {format_cost(session.cost_limit_nanos)}"
    tree.add(f"session {session.id} of {escape(session.user_id)}: {session.status.value}, {limit}")
    if session.excess_nanos:
        excess = format_cost(session.excess_nanos)
        tree.add(f"note: calls cost {excess} more than was set aside for them; the session pays for no further call")
    tree.add(f"cost {cost}, {thread.total_tokens_used:,} tokens, {thread.total_time_spent / 1000:.1f} s")
    if any(response.is_simulated for response in documents.responses):
        tree.add("note: the sandbox played models of it: their texts and costs are made up")
    if thread.is_final_partial:
        tree.add(f"note: {describe_partial(thread)}")
    if thread.failure_reason:
        tree.add(f"failure: {escape(thread.failure_reason)}")


def _draw_iteration(tree: Tree, iteration: int, documents: ThreadDocuments) -> None:
    branch = tree.add(f"Iteration {iteration}")
    for selection in documents.selections:
        if selection.iteration_number == iteration and selection.selection_phase is not SelectionPhase.FINAL:
            _draw_selection(branch, selection)
    for response in documents.responses:
        if response.iteration_number == iteration and response.role is not Role.EVALUATOR:
            _draw_response(branch, response)
    for criticism in documents.criticisms:
        if criticism.iteration_number == iteration:
            _draw_criticism(branch, criticism)
    _draw_panel(branch, iteration, documents)
    for score in documents.thread.scores:
        if score.iteration == iteration:
            branch.add(_describe_score(score, documents.thread.stop_reason))


def _describe_score(score: IterationScore, stop_reason: StopReason | None) -> str:
    panel = describe_panel(score, stop_reason)
    if score.score is None:
        return panel
    noise = "" if score.standard_error is None else f" ± {score.standard_error:.2f}"
    trust = "" if score.confidence is None else f" (confidence {score.confidence:.2f})"
    better = ", better than the best before it" if score.improved else ""
    return f"score {score.score:.2f}{noise} of {panel}{trust}, {score.severe} severe objections{better}"


def _draw_selection(tree: Tree, selection: Selection) -> None:
    margin = "" if selection.selection_margin is None else f", margin {selection.selection_margin:.2f}"
    branch = tree.add(
        f"selection ({selection.selection_phase.value}): {selection.selected_model} by "
        f"{selection.selection_strategy.value}, confidence {format_score(selection.selection_confidence)}{margin}"
    )
    if selection.primary_selection_factors:
        branch.add(f"because: {escape('; '.join(selection.primary_selection_factors))}")
    if selection.override_reasons:
        branch.add(f"overridden: {escape(selection.override_reasons)}")
    for candidate in selection.candidates_considered:
        reasoning = shorten(candidate.selection_reasoning, EXCERPT)
        branch.add(f"{candidate.model_name} {format_score(candidate.final_score)}: {reasoning}")


def _draw_response(tree: Tree, response: Response) -> None:
    if response.purpose is Purpose.ASSESSMENT:
        _draw_assessment(tree, response)
        return
    best = ", the best" if response.is_selected_best else ""
    branch = tree.add(
        f"{response.response_type.value} response of {response.model_name}: {_describe_call(response)}, "
        f"score {format_score(response.selection_score)}{best}"
    )
    if response.asked_again_for:
        branch.add(f"asked again: the reply before it {shorten(response.asked_again_for, EXCERPT)}")
    if response.response_text:
        branch.add(shorten(response.response_text, EXCERPT))
    if response.self_assessment:
        confidence = format_score(response.confidence_score)
        branch.add(f"its author, confidence {confidence}: {shorten(response.self_assessment, EXCERPT)}")
    if response.retried_for:
        branch.add(f"an attempt failed: {shorten(response.retried_for, EXCERPT)}")
    if response.error_message:
        branch.add(f"error: {shorten(response.error_message, EXCERPT)}")


def _draw_assessment(tree: Tree, response: Response) -> None:
    error = f": {shorten(response.error_message, EXCERPT)}" if response.error_message else ""
    tree.add(f"assessment of its answer by {response.model_name}: {_describe_call(response)}{error}")


def _draw_panel(tree: Tree, iteration: int, documents: ThreadDocuments) -> None:
    by_id = {evaluation.id: evaluation for evaluation in documents.evaluations}
    for response in documents.responses:
        if response.iteration_number != iteration or response.role is not Role.EVALUATOR:
            continue
        evaluation = by_id.get(response.id)
        if evaluation is not None:
            _draw_evaluation(tree, evaluation, response)
        else:
            error = f": {shorten(response.error_message, EXCERPT)}" if response.error_message else ""
            tree.add(f"evaluation by {response.model_name}: {_describe_call(response)}{error}")


def _draw_evaluation(tree: Tree, evaluation: Evaluation, response: Response) -> None:
    branch = tree.add(
        f"evaluation by {evaluation.evaluator_model}: {format_score(evaluation.overall_score)}, "
        f"confidence {format_score(evaluation.evaluator_confidence)}, {_describe_call(response)}"
    )
    for criticism in evaluation.criticisms:
        branch.add(f"{criticism.severity.value}: {shorten(criticism.point, EXCERPT)}")


def _draw_criticism(tree: Tree, criticism: CriticismResponse) -> None:
    branch = tree.add(
        f"answer of {criticism.responding_model} to the criticism: improvement "
        f"{format_score(criticism.improvement_score)}"
    )
    for improvement in criticism.specific_improvements:
        verdict = shorten(improvement.improvement_made, EXCERPT) if improvement.accepted else "disputed"
        branch.add(f"{shorten(improvement.criticism_point, EXCERPT)} → {verdict}")


def _draw_events(tree: Tree, documents: ThreadDocuments) -> None:
    branch = tree.add(f"Events ({len(documents.logs)})")
    for event in documents.logs:
        since = (event.timestamp - documents.thread.created_at).total_seconds()
        level = "" if event.log_level.value == "info" else f" {event.log_level.value.upper()}"
        message = shorten(event.message, EXCERPT)
        branch.add(f"{since:+8.3f} s{level} {event.component.value} {event.event_type}: {message}")


def _describe_call(response: Response) -> str:
    parts = [response.status.value]
    if response.response_time is not None:
        parts.append(f"{response.response_time / 1000:.1f} s")
    if response.tokens_used is not None:
        parts.append(f"{response.tokens_used.total_tokens} tokens")
    parts.append(format_cost(response.cost_nanos) + (" (simulated)" if response.is_simulated else ""))
    if response.attempt > 1:
        parts.append(f"{response.attempt} attempts")
    if response.refusals:
        parts.append(f"{response.refusals} refused connections")
    if response.seat_wait_ms > 0:
        parts.append(f"waited {response.seat_wait_ms / 1000:.1f} s for its turn")
    elif response.seat_wanted_at is not None:
        parts.append("waits its turn")
    if response.is_pending and response.waits_for:
        parts.append(f"waits: {shorten(response.waits_for, EXCERPT)}")
    return ", ".join([*parts, *describe_end(response)])


def describe_end(response: Response) -> list[str]:
    """How a reply ended, where that is not by itself; older documents tell it in their raw completion alone."""
    completion = response.completion
    reason = response.finish_reason or (completion.finish_reason if completion else None)
    limit = f" of {response.output_limit} tokens" if response.output_limit else ""
    ended = {
        FinishReason.LENGTH: f"reached the output limit{limit}",
        **dict.fromkeys(FILTERED, "ended by the provider's filter"),
        FinishReason.OTHER: "ended for a reason that the provider does not explain",
    }
    said = [ended[reason]] if reason in ended else []
    return [*said, "not whole"] if response.is_partial else said
