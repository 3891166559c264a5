"""How prompts come in: everything is checked first, then written, then announced. Bad input changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from bson import ObjectId
from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from orchestratex.domain.base import (
    MAX_PROMPT_CHARS,
    Component,
    Effort,
    SessionStatus,
    StopReason,
    Strategy,
    to_nanos,
)
from orchestratex.domain.inputs import (
    MOST_MISTAKES,
    CostLimit,
    DeadlineS,
    Iterations,
    Metadata,
    ModelNames,
    Reference,
    Strict,
    UserId,
    WantedScore,
    describe_problem,
    dump_metadata,
)
from orchestratex.domain.log import LogEvent
from orchestratex.domain.session import Session, SessionSettings
from orchestratex.domain.thread import Thread, ThreadOptions
from orchestratex.errors import ConflictError, InputError, StoreUnavailableError, join_mistakes
from orchestratex.faultpoints import FaultPoint
from orchestratex.rules.cleaning import VISIBLE, is_blank
from orchestratex.steps import places
from orchestratex.steps.announce import announce_thread
from orchestratex.steps.halt import halt
from orchestratex.steps.pool import check_pool, list_names
from orchestratex.steps.services import Services

_log = logging.getLogger(__name__)
_Check = Callable[[], None]


def _require_visible(prompt: str) -> str:
    if is_blank(prompt):
        raise ValueError("is empty; write what you want to know")
    return prompt


class Options(Strict):
    """What a caller may ask for; None leaves the session's setting, or the default."""

    model_config = ConfigDict(frozen=True)

    max_iterations: Iterations | None = Field(default=None, description="1-10 rounds")
    quality_threshold: WantedScore | None = Field(default=None, description="stop at this score, 1-10")
    preferred_models: ModelNames | None = None
    excluded_models: ModelNames | None = None
    selection_strategy: Strategy | None = None
    evaluators: ModelNames | None = Field(
        default=None, min_length=1, description="the panel; a few cheap others by default"
    )
    deadline_s: DeadlineS | None = Field(
        default=None, description="seconds from submission after which a thread has to end"
    )
    effort: Effort | None = Field(
        default=None, description="how hard models think, where they let one say; the nearest that a model takes"
    )


class SessionRequest(Options):
    """A new session."""

    user_id: UserId = "local"
    cost_limit: CostLimit | None = Field(default=None, description="US dollars for the whole session")


class ThreadRequest(Options):
    """A new thread: a prompt and what is asked for it alone."""

    # not blank: written so that generators of test data need no second for each text of this length
    prompt: Annotated[str, AfterValidator(_require_visible)] = Field(
        max_length=MAX_PROMPT_CHARS, json_schema_extra={"minLength": 1, "pattern": f"(?={VISIBLE})"}
    )
    context: str | None = Field(default=None, max_length=MAX_PROMPT_CHARS)
    reference: Reference | None = Field(default=None, description="the caller's own name for it; given back with it")
    metadata: Metadata | None = Field(default=None, description="the caller's own notes; given back with it")


def parse_request(kind: type[Strict], data: object) -> Any:
    """Validate a caller's data. Raises InputError naming each field that is wrong, and its limit."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        found = (describe_problem(each) for each in error.errors()[:MOST_MISTAKES])
        raise join_mistakes([InputError(field or "request", problem) for field, problem in found]) from error


def find_mistakes(fields: Mapping[str, Any], services: Services) -> list[InputError]:
    """What only the installation knows to be wrong with options that are well-formed by themselves."""
    options = Options.model_construct(**{name: fields[name] for name in Options.model_fields if name in fields})
    return _collect(_checks_of(options, services))


def open_session(request: SessionRequest, services: Services) -> Session:
    """Start a session. Raises InputError; then nothing was written."""
    session = plan_session(request, services)
    _insert_session(session, services)
    return session


def plan_session(request: SessionRequest, services: Services) -> Session:
    """The session that a request asks for, not yet written: threads can be checked against it first.

    Raises InputError naming the field and its limit.
    """
    _require_all(_checks_of(request, services))
    now = services.clock()
    limit = request.cost_limit
    session = Session(
        user_id=request.user_id,
        session_start=now,
        max_iterations=request.max_iterations or Session.model_fields["max_iterations"].default,
        settings=SessionSettings(
            preferred_models=request.preferred_models or [],
            excluded_models=request.excluded_models or [],
            cost_limit=limit,
            quality_threshold=request.quality_threshold,
            selection_strategy=request.selection_strategy or Strategy.HYBRID,
            evaluators=request.evaluators,
            deadline_s=request.deadline_s,
            effort=request.effort,
        ),
        cost_limit_nanos=None if limit is None else to_nanos(limit),
        created_at=now,
        updated_at=now,
    )
    _check_session(session, services)
    return session


def submit(session_id: ObjectId, requests: Sequence[ThreadRequest], services: Services) -> list[Thread]:
    """Add threads to a session and announce them: all or none.

    Raises InputError, and CapacityError where as many are in flight as may be; then nothing was written.

    A broker that is away is no error: the threads stand in the store and start when reconcile announces them.
    """
    session = services.store.get_session(session_id)
    if session.status is not SessionStatus.ACTIVE:
        raise ConflictError("session_id", f"session {session_id} is {session.status.value}; open a new one")
    return _take_in(session, requests, services)


def submit_new(request: SessionRequest, requests: Sequence[ThreadRequest], services: Services) -> list[Thread]:
    """Open a session for threads and submit them: both or neither. See submit."""
    return _take_in(plan_session(request, services), requests, services, is_new=True)


def _require_active(session_id: ObjectId, threads: list[Thread], services: Services) -> None:
    """Cancel threads whose session was ended while they were inserted. Raises InputError then."""
    status = services.store.get_session(session_id).status
    if status is SessionStatus.ACTIVE:
        return
    for thread in threads:
        announce_thread(halt(thread.id, StopReason.CANCELLED, "its session was ended", services), services)
    raise ConflictError("session_id", f"session {session_id} is {status.value}; open a new one")


def check_thread(request: ThreadRequest, session: Session, services: Services) -> Thread:
    """The thread that a request asks for. Raises InputError naming the field and its limit."""
    _require_all(
        [
            lambda: _check_text("prompt", request.prompt),
            lambda: _check_text("context", request.context or ""),
            *_checks_of(request, services),
        ]
    )
    options = _resolve(request, session, services)
    check_pool(options, services)
    now = services.clock()
    return Thread(
        session_id=session.id,
        user_id=session.user_id,
        original_prompt=request.prompt,
        context=request.context,
        reference=request.reference,
        metadata=None if request.metadata is None else dump_metadata(request.metadata),
        options=options,
        created_at=now,
        updated_at=now,
    )


def _take_in(
    session: Session, requests: Sequence[ThreadRequest], services: Services, *, is_new: bool = False
) -> list[Thread]:
    entry = places.take([check_thread(request, session, services) for request in requests], services)
    if is_new:
        _insert_session(session, services)
    services.store.insert_threads(entry.threads, deadline_s=services.settings.thread_deadline_s)
    services.journal.write_all([_note_submitted(thread, services) for thread in entry.threads])
    services.faults.reach(FaultPoint.SUBMITTED)
    try:
        services.store.touch_session(session.id)  # who ends idle sessions sees it, or is seen in the next line
        _require_active(session.id, entry.threads, services)
        places.enter(entry, services)
    except StoreUnavailableError as error:  # they are taken in: who heard otherwise would submit, and pay, twice
        _log.warning("threads of session %s wait for reconcile: %s", session.id, error)
    return entry.threads


def _note_submitted(thread: Thread, services: Services) -> LogEvent:
    return services.journal.note(
        Component.API,
        "thread_submitted",
        f"a prompt of {len(thread.original_prompt)} characters comes in" + (" and waits in line" * thread.is_queued),
        thread=thread,
        characters=len(thread.original_prompt),
        strategy=thread.options.selection_strategy,
        max_iterations=thread.options.max_iterations,
    )


def _insert_session(session: Session, services: Services) -> None:
    services.store.insert_session(session)
    message = f"session of {session.user_id} opened"
    services.journal.write(Component.API, "session_opened", message, session_id=session.id)


def _resolve(request: ThreadRequest, session: Session, services: Services) -> ThreadOptions:
    def pick(mine: Any, default: Any) -> Any:
        return default if mine is None else mine

    settings = session.settings
    return ThreadOptions(
        max_iterations=pick(request.max_iterations, session.max_iterations),
        quality_threshold=pick(request.quality_threshold, settings.quality_threshold),
        preferred_models=pick(request.preferred_models, settings.preferred_models),
        excluded_models=pick(request.excluded_models, settings.excluded_models),
        selection_strategy=pick(request.selection_strategy, settings.selection_strategy),
        evaluators=pick(request.evaluators, settings.evaluators),
        deadline_s=pick(request.deadline_s, settings.deadline_s),
        effort=pick(request.effort, pick(settings.effort, _default_effort(services))),
    )


def _default_effort(services: Services) -> Effort | None:
    wanted = services.settings.effort
    return None if wanted is None else Effort(wanted)


def _check_session(session: Session, services: Services) -> None:
    settings = session.settings
    options = ThreadOptions(
        preferred_models=settings.preferred_models,
        excluded_models=settings.excluded_models,
        evaluators=settings.evaluators,
    )
    check_pool(options, services)


def _require_all(checks: Sequence[_Check]) -> None:
    """Raise InputError for all that is wrong at once: who mends one mistake should not find the next behind it."""
    found = _collect(checks)
    if found:
        raise join_mistakes(found)


def _collect(checks: Sequence[_Check]) -> list[InputError]:
    found: list[InputError] = []
    for check in checks:
        try:
            check()
        except InputError as error:
            found.append(error)
    return found


def _checks_of(options: Options, services: Services) -> list[_Check]:
    lists = ("preferred_models", "excluded_models", "evaluators")
    checks: list[_Check] = [partial(_check_models, field, options, services) for field in lists]
    return [*checks, lambda: _check_deadline(options, services)]


def _check_models(field: str, options: Options, services: Services) -> None:
    known = {profile.model_name for profile in services.cache.all()}
    unknown = sorted(set(getattr(options, field) or ()) - known)
    if unknown:
        raise InputError(field, f"unknown: {list_names(unknown)}; known are {list_names(sorted(known)) or 'none'}")


def _check_deadline(options: Options, services: Services) -> None:
    most_s = services.settings.thread_deadline_s
    if options.deadline_s is not None and options.deadline_s > most_s:
        raise InputError("deadline_s", f"must be at most {most_s:g}, the installation's own deadline")


def _check_text(field: str, text: str) -> None:
    """A half of a surrogate pair can come in through JSON, and no database or provider takes it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(field, f"is not valid Unicode at character {error.start}") from error
