"""Who evaluates, and which of them the budget allows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from orchestratex.domain.profile import Profile
from orchestratex.domain.thread import ThreadOptions


def choose_evaluators(
    profiles: Sequence[Profile], options: ThreadOptions, *, author: str, earlier_authors: Collection[str] = ()
) -> list[Profile]:
    """Every other available model, or the configured panel, by name; the author never evaluates itself.

    Models that wrote an earlier version would judge their own sentences: they are left out while two others remain.
    """
    named = options.evaluators
    panel = [
        profile
        for profile in profiles
        if profile.is_available
        and profile.model_name != author
        and profile.model_name not in options.excluded_models
        and (named is None or profile.model_name in named)
    ]
    strangers = [profile for profile in panel if profile.model_name not in earlier_authors]
    return strangers if len(strangers) >= 2 else panel


def wanted_evaluators(
    profiles: Sequence[Profile], options: ThreadOptions, *, author: str, earlier_authors: Collection[str] = ()
) -> set[str]:
    """Who would evaluate if no model were missing: the same choice among all models, or all that are configured."""
    known = {profile.model_name for profile in profiles} if options.evaluators is None else set(options.evaluators)
    panel = known - {author, *options.excluded_models}
    strangers = panel - set(earlier_authors)
    return strangers if len(strangers) >= 2 else panel


def affordable_subset(amounts: Mapping[str, int], available: int | None) -> list[str]:
    """The largest part of a panel whose worst cases fit into `available` nano-dollars, the cheapest first.

    `available` None means no limit. Returns names in the order of `amounts`.
    """
    if available is None:
        return list(amounts)
    chosen: set[str] = set()
    for name in sorted(amounts, key=lambda each: (amounts[each], each)):
        if amounts[name] > available:
            break
        available -= amounts[name]
        chosen.add(name)
    return [name for name in amounts if name in chosen]
