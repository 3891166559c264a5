"""What one call asks for: how much output, in which form, how freely."""

from __future__ import annotations

from typing import Any

from orchestratex.domain.base import Purpose, Role
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules.prompts import Messages
from orchestratex.rules.replies import evaluation_schema
from orchestratex.steps.services import Services

_SEEDS_PER_ITERATION = 1000


def make_request(profile: Profile, response: Response, messages: Messages, max_tokens: int) -> CompletionRequest:
    """The request of one attempt."""
    return CompletionRequest(
        model_name=profile.model_name,
        model_version=profile.model_version,
        system=messages.system,
        user=messages.user,
        max_tokens=max_tokens,
        temperature=0.2 if response.role is Role.EVALUATOR else 0.7,
        seed=response.iteration_number * _SEEDS_PER_ITERATION + response.ordinal,
        idempotency_key=f"{response.id}.{response.attempt}",
        json_schema=schema_of(profile, response.role),
    )


def schema_of(profile: Profile, role: Role) -> dict[str, Any] | None:
    """The form that a reply must have, where the dialect can enforce one: only evaluations are pure JSON."""
    return evaluation_schema() if role is Role.EVALUATOR and profile.supports_json_schema else None


def max_output(profile: Profile, role: Role, purpose: Purpose, services: Services) -> int:
    """The most tokens that a reply may have."""
    is_long = role is not Role.EVALUATOR and purpose is not Purpose.ASSESSMENT
    wanted = services.settings.answer_max_tokens if is_long else services.settings.evaluation_max_tokens
    return min(wanted, profile.max_output_tokens)
