"""Whether models are left that answer a thread, and others that evaluate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from orchestratex.domain.profile import Profile
from orchestratex.domain.thread import ThreadOptions
from orchestratex.errors import ConflictError
from orchestratex.rules.panel import choose_evaluators
from orchestratex.steps.served import require_served
from orchestratex.steps.services import Services

_LISTED: Final = 12  # names in a message


def check_pool(options: ThreadOptions, services: Services) -> None:
    """A thread needs a model that answers and another that evaluates. Raises ConflictError, NoModelError.

    Where the whole installation has one model that answer goes without evaluation, and says so.
    """
    _refuse_both("preferred_models", options.preferred_models, "preferred", options)
    _refuse_both("evaluators", options.evaluators or [], "an evaluator", options)
    require_served(services)
    usable = services.usable_profiles()
    candidates = [profile for profile in usable if profile.model_name not in options.excluded_models]
    if not candidates:
        raise ConflictError("excluded_models", f"no model is left to answer; active are {_names(usable)}")
    if len(usable) == 1 and options.evaluators is None:
        return
    anybody = [profile.model_copy(update={"is_available": True}) for profile in usable]
    judged = judged_authors(anybody, options)
    if not judged:
        field = "evaluators" if options.evaluators else "excluded_models"
        raise ConflictError(field, f"no evaluator is left beside {_names(candidates)}; at least two models are needed")
    liked = [profile for profile in candidates if profile.model_name in options.preferred_models]
    if liked and not any(each.model_name in judged for each in liked):
        names = _names(liked)
        why = f"{names} is to answer, as it is preferred, and nobody else is to evaluate: name another evaluator"
        raise ConflictError("evaluators", why)


def judged_authors(profiles: Sequence[Profile], options: ThreadOptions) -> set[str]:
    """The models whose answer somebody else would evaluate."""
    candidates = [profile for profile in profiles if profile.model_name not in options.excluded_models]
    return {each.model_name for each in candidates if choose_evaluators(profiles, options, author=each.model_name)}


def list_names(names: Sequence[str]) -> str:
    """A few names and how many more there are."""
    more = [f"{len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more])


def _refuse_both(field: str, named: Collection[str], as_what: str, options: ThreadOptions) -> None:
    both = sorted(set(named) & set(options.excluded_models))
    if both:
        raise ConflictError(field, f"{', '.join(both)} cannot be {as_what} and excluded at once")


def _names(profiles: Collection[Profile]) -> str:
    return list_names(sorted(profile.model_name for profile in profiles))
