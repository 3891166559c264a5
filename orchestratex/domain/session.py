from __future__ import annotations

from typing import Annotated

from pydantic import Field

from orchestratex.domain.base import (
    MAX_ITERATIONS,
    Count,
    Document,
    Effort,
    ModelName,
    Nanos,
    Record,
    Score,
    SessionStatus,
    Strategy,
    Usd,
    UtcDate,
    added,
)


class SessionSettings(Record):
    """What a user asked for, for all threads of the session."""

    preferred_models: list[ModelName] = []
    excluded_models: list[ModelName] = []
    cost_limit: Usd | None = None  # US dollars for the whole session; None = no limit
    quality_threshold: Score | None = None  # a thread stops as soon as its score reaches this
    selection_strategy: Strategy = Strategy.HYBRID
    evaluators: list[ModelName] | None = None  # the panel; None = a few cheap others, of different providers
    deadline_s: Annotated[float, Field(gt=0)] | None = added(None)  # of each thread; None = the installation's
    effort: Effort | None = added(None)  # how hard models think; None = the installation's


class Session(Document):
    """A user's sitting: the account that its threads draw on."""

    user_id: str = Field(min_length=1, max_length=200)
    session_start: UtcDate
    session_end: UtcDate | None = None
    max_iterations: int = Field(default=3, ge=1, le=MAX_ITERATIONS)
    status: SessionStatus = SessionStatus.ACTIVE
    total_cost: Usd = 0.0  # US dollars, total_cost_nanos for people
    user_satisfaction: Score | None = None
    settings: SessionSettings = SessionSettings()
    purged_threads: Count = added(0)  # of its threads, how many were deleted while it stayed
    purged_nanos: Nanos = added(0)  # what those had cost
    is_cancelling: bool = added(False)  # ended with threads that still have to be cancelled
    created_at: UtcDate
    updated_at: UtcDate

    # the account: exact, moved by reserving and settling alone
    cost_limit_nanos: Nanos | None = None
    total_cost_nanos: Nanos = 0
    held_nanos: Nanos = 0  # sum of `reservations`
    excess_nanos: Nanos = added(0)  # what calls cost beyond what was set aside for them: above 0 no further one is paid
    # worst case of each call that may still be charged, by <response>_<attempt>; of a panel to come, by <thread>_panel
    reservations: dict[str, Nanos] = {}
    unheld: dict[str, Nanos] = added({})  # what calls cost that were to cost nothing, by <response>_<attempt>
    estimates: dict[str, Nanos] = {}  # charged at the worst case because nobody knows better yet, by the same key
