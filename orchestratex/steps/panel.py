"""The panel of evaluators: opened when a response is complete, closed by its last evaluation."""

from __future__ import annotations

import time
from typing import Any

from orchestratex.domain.base import Component, LogLevel, Purpose, ResponseStatus, ResponseType, Role, Step, StopReason
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.thread import IterationScore, Thread
from orchestratex.faultpoints import FaultPoint
from orchestratex.rules.panel import affordable_subset, choose_evaluators, wanted_evaluators
from orchestratex.rules.prompts import evaluate_prompt
from orchestratex.steps import budget, gates
from orchestratex.steps.assess import ask_assessment
from orchestratex.steps.calls import call_worst_case
from orchestratex.steps.moves import Move, stop
from orchestratex.steps.provision import provision_key
from orchestratex.steps.select import pending_response
from orchestratex.steps.services import Services
from orchestratex.steps.superseded import report_superseded

_RESERVE_TRIES = 5  # other threads of the session draw on the same account meanwhile


def open_panel(thread: Thread, answer: Response, services: Services) -> Thread | None:
    """Set the evaluators of a completed response to work and move the thread on.

    Their worst cases are reserved in one update; where the budget allows only some of them, the cheapest evaluate, and
    where it allows none the thread stops with its best response. None when somebody else moved the thread.
    """
    best = _first_best(thread, answer)
    usable, author = services.usable_profiles(), answer.model_name
    earlier_authors = {score.model_name for score in thread.scores}
    seats = services.settings.panel_size
    evaluators = choose_evaluators(usable, thread.options, author=author, earlier_authors=earlier_authors, size=seats)
    wanted = wanted_evaluators(usable, thread.options, author=author, earlier_authors=earlier_authors, size=seats)
    size = max(wanted, len(evaluators))
    # after a crash between insert and move the panel is there already, and its money may have been spent
    known = services.store.panel_of(thread.id, iteration=thread.current_iteration)
    started = time.monotonic()
    pending = known or _reserve(thread, answer, evaluators, services)
    if pending and not known:
        services.store.insert_responses(pending)
        if not _is_held(thread, pending, started, services):
            services.store.supersede_responses(thread.id, up_to=thread.current_iteration)
            report_superseded(thread, pending, services)
            pending = []
    if evaluators and not pending:
        unscored = IterationScore(
            iteration=thread.current_iteration, response_id=answer.id, model_name=author, score=None, asked=size
        )
        halt = stop(StopReason.COST_LIMIT, "the cost limit leaves nothing for an evaluation")
        earlier = [score for score in thread.scores if score.iteration != unscored.iteration]
        changes = {**halt.changes, **best, "scores": [*earlier, unscored]}
        return services.store.move_thread(thread, Move(Step.FINISH, changes).fields(thread))
    if known and thread.retries:  # it was left behind when the thread ended
        services.store.reopen_responses([response.id for response in known])
    services.faults.reach(FaultPoint.PANEL_INSERTED)
    moved = services.store.move_thread(
        thread,
        Move(Step.EVALUATE, {**best, "panel_size": size}).fields(thread),
        deadlines_s=panel_deadlines(services),
    )
    if moved is not None:
        _report_opened(moved, answer, pending, services)
        ask_assessment(moved, answer, pending, services)
    return moved


def panel_deadlines(services: Services) -> dict[str, float]:
    """When a quorum of a panel that opens now is enough, and when whatever has come is; seconds by field."""
    settings = services.settings
    quorum_s = min(settings.quorum_deadline_s, settings.panel_deadline_s)
    return {"quorum_deadline": quorum_s, "panel_deadline": settings.panel_deadline_s}


def find_stragglers(thread: Thread, services: Services) -> list[Response]:
    """The evaluations under way that the thread may leave behind: when a quorum has come and none still waits its turn.

    Evaluations that nobody has begun are no stragglers: under load the panel is slow, not its members.
    """
    panel = services.store.panel_of(thread.id, iteration=thread.current_iteration)
    members = {response.model_name for response in panel}
    done = {response.model_name for response in panel if response.status is ResponseStatus.COMPLETED}
    pending = [response for response in panel if response.status is ResponseStatus.PENDING]
    is_quorum = len(done) >= services.settings.quorum * len(members)
    is_begun = all(response.attempt and not waits_its_turn(response) for response in pending)
    return pending if is_quorum and done and is_begun else []


def waits_its_turn(response: Response) -> bool:
    """Whether a call has not left yet because its model takes no more calls at once."""
    return response.status is ResponseStatus.PENDING and response.seat_wanted_at is not None


def close_panel(thread: Thread, services: Services) -> Thread | None:
    """Move the thread on to weigh when no evaluation is pending; None when one is, or somebody else did."""
    if thread.due_step is not Step.EVALUATE or services.store.is_panel_open(thread):
        return None
    return services.store.move_thread(thread, Move(Step.WEIGH).fields(thread))


def leave_behind(thread: Thread, services: Services, *, keeps_assessments: bool = False) -> None:
    """Supersede what is still pending of the thread, and give up the slots that waiting calls have booked.

    Assessments may come until the thread's end.

    Nobody who cancels waits for Redis, which may hang: the slots of a cancelled thread lapse by themselves.
    """
    if not services.store.is_current(thread):
        return  # others went on meanwhile: what is pending now is theirs
    pending = services.store.pending_of(thread.id)
    if keeps_assessments:
        pending = [response for response in pending if response.purpose is not Purpose.ASSESSMENT]
    unclaimed = [response for response in pending if response.lease_token is None]
    services.store.supersede_responses(thread.id, up_to=thread.current_iteration, keeps_assessments=keeps_assessments)
    report_superseded(thread, pending, services)
    for response in unclaimed:
        if response.purpose is Purpose.ASSESSMENT:  # one at the end of most threads; reconcile sees to the others
            _let_money_go(response, services)
    waiting = [response for response in unclaimed if response.not_before is not None]
    for response in waiting if thread.stop_reason is not StopReason.CANCELLED else ():
        if not gates.forget_booking(response, services):
            break  # Redis is away: asking for each of them would hold up the thread


def _let_money_go(response: Response, services: Services) -> None:
    """Settle what is held for a superseded call that nobody has begun."""
    if not response.reserved_nanos:
        return
    now = services.store.get_response(response.id, brief=True)  # it may have been claimed before it was superseded
    if now.lease_token is None:
        budget.settle(now.model_copy(update={"attempt": now.attempt + 1}), 0, services)


def _first_best(thread: Thread, answer: Response) -> dict[str, Any]:
    if thread.best_response_id is not None:
        return {}
    return {"best_response_id": answer.id, "best_model_id": answer.model_name}


def _reserve(thread: Thread, answer: Response, evaluators: list[Profile], services: Services) -> list[Response]:
    """The pending evaluations that the budget allows, their worst cases reserved."""
    messages = evaluate_prompt(thread, answer.response_text or "", nonce=services.nonce())
    by_key: dict[str, Response] = {}
    amounts: dict[str, int] = {}
    for profile in evaluators:
        amount = call_worst_case(profile, Role.EVALUATOR, messages, services, effort=thread.options.effort)
        response = pending_response(
            thread,
            profile.model_name,
            Role.EVALUATOR,
            ResponseType.EVALUATION,
            Purpose.EVALUATION,
            services,
            parent=answer.id,
            reserved_nanos=amount,
        )
        key = f"{response.id}_1"
        by_key[key], amounts[key] = response, amount
    provision = provision_key(thread)
    for _ in range(_RESERVE_TRIES):
        hold = budget.reserve(thread.session_id, thread.user_id, amounts, services, in_place_of=provision)
        if hold.is_granted:
            return [by_key[key].model_copy(update={"days": list(hold.days)}) for key in amounts]
        left = budget.available(thread.session_id, thread.user_id, services, with_key=provision)
        fitting = affordable_subset(amounts, left)
        _report_dropped(thread, [by_key[key] for key in amounts if key not in fitting], services)
        amounts = {key: amounts[key] for key in fitting}
        if not amounts:
            break
    return []


def _is_held(thread: Thread, pending: list[Response], started: float, services: Services) -> bool:
    """Whether the panel's money is held, and is held again where it was lost; False: others have it now.

    A process that stood still between reserving and inserting may have lost it: nobody knew for whom it was.
    """
    if time.monotonic() - started <= services.settings.lease_s / 2:
        return True
    amounts = {f"{response.id}_1": response.reserved_nanos for response in pending}
    return budget.reserve(thread.session_id, thread.user_id, amounts, services).is_granted


def _report_opened(thread: Thread, answer: Response, panel: list[Response], services: Services) -> None:
    evaluators = sorted(response.model_name for response in panel)
    services.journal.write(
        Component.EVALUATOR,
        "panel_opened",
        f"{answer.model_name}'s answer goes to {', '.join(evaluators) or 'nobody: no evaluator is there'}",
        thread=thread,
        model=answer.model_name,
        response_id=str(answer.id),
        evaluators=evaluators,
        asked=thread.panel_size,
        reserved_nanos=sum(response.reserved_nanos for response in panel),
    )


def _report_dropped(thread: Thread, dropped: list[Response], services: Services) -> None:
    if dropped:
        names = ", ".join(response.model_name for response in dropped)
        message = f"the cost limit leaves no room for {names} on the panel"
        services.journal.write(
            Component.EVALUATOR, "budget_refused", message, thread=thread, level=LogLevel.WARNING, dropped=names
        )
