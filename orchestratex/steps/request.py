"""What one call asks for: how much output, in which form, how freely."""

from __future__ import annotations

from typing import Any, Final

from orchestratex.domain.base import Effort, Purpose, Role
from orchestratex.domain.capabilities import least_output
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules.prompts import Messages
from orchestratex.rules.schemas import reply_schema
from orchestratex.steps.parameters import taken
from orchestratex.steps.services import Services

_SEEDS_PER_ITERATION: Final = 1000
_TEMPERATURES: Final = {True: (0.2, 0.0), False: (0.7, 0.3)}  # by whether it is an evaluation: first, and asked again


def make_request(profile: Profile, response: Response, messages: Messages, max_tokens: int) -> CompletionRequest:
    """The request of one attempt. One that asks again differs in prompt, temperature and seed."""
    is_again = response.purpose is Purpose.RE_ASK
    return CompletionRequest(
        model_name=profile.model_name,
        model_version=profile.model_version,
        system=messages.system,
        user=messages.user,
        max_tokens=max_tokens,
        temperature=_TEMPERATURES[response.role is Role.EVALUATOR][is_again],
        seed=response.iteration_number * _SEEDS_PER_ITERATION + response.ordinal + is_again,
        idempotency_key=f"{response.id}.{response.attempt}",
        json_schema=schema_of(profile, response),
        effort=response.effort,
        capabilities=taken(profile, response.left_out),
    )


def schema_of(profile: Profile, response: Response) -> dict[str, Any] | None:
    """The form that a reply must have, unless it was in the way."""
    if response.without_schema or taken(profile, response.left_out).json_schema is False:
        return None
    return role_schema(profile, response.role, response.purpose)


def role_schema(profile: Profile, role: Role, purpose: Purpose) -> dict[str, Any] | None:
    """The form that such replies must have, where the dialect can enforce one: only some of them are pure JSON."""
    can_hold = profile.supports_json_schema and profile.capabilities.json_schema is not False
    return reply_schema(profile, role, purpose) if can_hold else None


def output_limit(profile: Profile, response: Response, services: Services) -> int:
    """The most tokens that a reply may have: what its role is given, or what a cut-off reply before it asks for."""
    wanted = response.output_wanted or role_limit(response.role, response.purpose, services)
    return _with_room_to_think(profile, wanted, response.effort)


def first_limit(profile: Profile, role: Role, purpose: Purpose, effort: Effort | None, services: Services) -> int:
    """The most tokens that a model's replies in a role are given at first, when it is asked for an effort."""
    return _with_room_to_think(profile, role_limit(role, purpose, services), effort)


def _with_room_to_think(profile: Profile, wanted: int, effort: Effort | None) -> int:
    return min(max(wanted, least_output(profile.capabilities, effort)), profile.max_output_tokens)


def least_useful(profile: Profile, effort: Effort | None, services: Services) -> int:
    """The output tokens with less of which an answer is of no use; most thoughts are shorter than their room."""
    return max(services.settings.useful_answer_tokens, least_output(profile.capabilities, effort) // 4)


def allowed_output(response: Response, services: Services) -> int:
    """The output tokens that a reply was allowed; older versions did not note it."""
    if response.output_limit is not None:
        return response.output_limit
    profile = services.profile(response.model_name)
    return output_limit(profile, response, services) if profile else 0


def role_limit(role: Role, purpose: Purpose, services: Services) -> int:
    """The most tokens that replies of a role are given at first."""
    is_long = role is not Role.EVALUATOR and purpose is not Purpose.ASSESSMENT
    return services.settings.answer_max_tokens if is_long else services.settings.evaluation_max_tokens
