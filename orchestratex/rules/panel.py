"""Who evaluates, and which of them the budget allows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from orchestratex.domain.profile import Profile
from orchestratex.domain.thread import ThreadOptions
from orchestratex.rules.outlay import expect_evaluation_cost


def choose_evaluators(
    profiles: Sequence[Profile],
    options: ThreadOptions,
    *,
    author: str,
    earlier_authors: Collection[str] = (),
    size: int | None = None,
) -> list[Profile]:
    """The panel: all that the thread names, else `size` of the other available models; the author is never on it.

    The cheapest go first, one of each family (provider) and none of the author's while others are left: models of one
    family share their faults and like each other's sentences. `size` None takes all. Models that wrote an earlier
    version would judge their own sentences: they are left out while two others remain. Returns them in the order given.
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
    pool = strangers if len(strangers) >= 2 else panel
    if named is not None or size is None:
        return pool
    family = next((profile.provider for profile in profiles if profile.model_name == author), None)
    chosen = {profile.model_name for profile in _spread(pool, family)[:size]}
    return [profile for profile in pool if profile.model_name in chosen]


def wanted_evaluators(
    profiles: Sequence[Profile],
    options: ThreadOptions,
    *,
    author: str,
    earlier_authors: Collection[str] = (),
    size: int | None = None,
) -> int:
    """How many would evaluate if no model were missing: of all that are configured, or of all models."""
    known = {profile.model_name for profile in profiles} if options.evaluators is None else set(options.evaluators)
    panel = known - {author, *options.excluded_models}
    strangers = panel - set(earlier_authors)
    count = len(strangers if len(strangers) >= 2 else panel)
    return count if options.evaluators is not None or size is None else min(count, size)


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


def _spread(pool: Sequence[Profile], author_family: str | None) -> list[Profile]:
    """The pool in the order in which it is asked: the cheapest of each family, then what is left of the families.

    The author's own family comes last.
    """
    by_price = sorted(pool, key=lambda each: (expect_evaluation_cost(each), each.model_name))
    seen: dict[str, int] = {}
    places: dict[str, tuple[bool, int]] = {}
    for profile in by_price:
        places[profile.model_name] = (profile.provider == author_family, seen.get(profile.provider, 0))
        seen[profile.provider] = seen.get(profile.provider, 0) + 1
    return sorted(by_price, key=lambda each: places[each.model_name])
