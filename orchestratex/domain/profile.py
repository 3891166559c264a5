from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import Field

from orchestratex.domain.base import (
    Count,
    Document,
    Millis,
    ModelName,
    Percent,
    Record,
    Score,
    Share,
    Specialty,
    Usd,
    UtcDate,
    added,
)
from orchestratex.domain.capabilities import Capabilities, Refusals, Stated
from orchestratex.domain.prices import PriceSchedule, base_rates


class RateLimits(Record):
    """What the provider allows, for all workers together."""

    requests_per_minute: int = Field(ge=1)
    tokens_per_minute: int = Field(ge=1)
    max_concurrent_calls: Annotated[int, Field(ge=1)] | None = added(None)  # under way at once; None: no limit


class PerformanceMetrics(Record):
    """What the model has shown so far. A mean over nothing is None, a count is 0."""

    average_response_time: Millis | None = None
    success_rate: Share | None = None
    average_quality_rating: Score | None = None
    total_requests: Count = 0
    total_tokens_processed: Count = 0
    uptime_percentage: Percent | None = None


class Profile(Document):
    """What we know about a model."""

    model_name: ModelName
    provider: str = Field(min_length=1)
    model_version: str = Field(min_length=1)
    specialties: list[Specialty]
    supported_languages: list[str]
    max_context_length: int = Field(ge=1)  # tokens
    strengths: str
    weaknesses: str
    best_use_cases: list[str]
    api_endpoint: str
    api_key_required: bool = True
    cost_per_input_token: Usd
    cost_per_output_token: Usd
    rate_limits: RateLimits
    is_active: bool = True
    is_available: bool = True
    last_health_check: UtcDate | None = None
    performance_metrics: PerformanceMetrics = PerformanceMetrics()
    created_at: UtcDate
    updated_at: UtcDate

    dialect: str = "openai"  # the wire format its provider speaks; a key of providers.dialects.DIALECTS
    supports_json_schema: bool = False  # whether its provider can hold a reply to a JSON schema
    cost_per_cached_input_token: Usd | None = None  # None: the same as any input token
    cost_per_reasoning_token: Usd | None = None  # None: the same as any output token
    max_output_tokens: int = Field(default=4096, ge=1)  # per call
    prices_as_of: str | None = None  # the day on which its prices were looked up, YYYY-MM-DD
    # What its sources say that it costs: where they disagree, each call counts at the dearest. Empty: the fields above
    # are all there is. Else those are the price of a short request today, for people and other programs.
    prices: list[PriceSchedule] = added([])
    probes: Count = 0
    probes_passed: Count = 0
    out_of_reach: str | None = added(None)  # why it is not available, as it was last found; None: it is
    capabilities: Capabilities = added(Capabilities())  # what it takes in a request
    stated: Stated | None = added(None)  # what its provider's list says that it takes; None: not read yet
    refusals: Refusals | None = added(None)  # what it refused
    served_version: str | None = added(None)  # the version that its last reply named


# What running records about a model, and what an operator switches: no file of profiles and no edit sets it.
STATE_FIELDS: Final = frozenset(
    {
        "id",
        "is_active",
        "is_available",
        "last_health_check",
        "performance_metrics",
        "created_at",
        "updated_at",
        "probes",
        "probes_passed",
        "out_of_reach",
        "stated",
        "refusals",
        "served_version",
    }
)


def todays_costs(schedules: Sequence[PriceSchedule], moment: datetime) -> dict[str, Any]:
    """The fields of a profile that its prices give at a moment: the price of a short request, per token."""
    rates = base_rates(schedules, moment)
    by_field = {
        "cost_per_input_token": rates.input,
        "cost_per_output_token": rates.output,
        "cost_per_cached_input_token": rates.cached_input,
        "cost_per_reasoning_token": rates.reasoning,
    }
    return {name: None if rate is None else float(Decimal(str(rate)).scaleb(-6)) for name, rate in by_field.items()}


def priced_today(profile: Profile, moment: datetime) -> Profile:
    """The profile with the price of the moment in its fields, where it has a schedule."""
    return profile.model_copy(update=todays_costs(profile.prices, moment)) if profile.prices else profile
