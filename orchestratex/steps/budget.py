"""Money before a call: its worst case is held in every account that it draws on, or in none.

The accounts are the session, then the user's day, then the installation's day; where a later one refuses, the earlier
holds are undone in reverse. Over-reserving for a moment is safe, under-reserving never happens. Days are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bson import ObjectId

from orchestratex.domain.base import to_nanos
from orchestratex.domain.response import Response
from orchestratex.steps.services import Services
from orchestratex.store.base import AccountId


@dataclass(frozen=True)
class Hold:
    """The outcome of reserving."""

    days: tuple[str, ...] = ()  # the day accounts that hold it, beside the session
    refused_by: str | None = None  # the account that had no room, in words

    @property
    def is_granted(self) -> bool:
        """Whether every account holds the worst case."""
        return self.refused_by is None


def reserve(
    session_id: ObjectId,
    user_id: str,
    amounts: Mapping[str, int],
    services: Services,
    *,
    in_place_of: str | None = None,
) -> Hold:
    """Hold amounts (nano-dollars by `<response>_<attempt>`) in all accounts, or in none.

    `in_place_of` names what was held before for the same purpose: nobody can come between, and it stands where the
    amounts are refused.
    """
    amounts = {key: amount for key, amount in amounts.items() if amount}  # what is free needs no money held
    accounts = _accounts(session_id, user_id, services)
    before = 0
    if in_place_of is not None and len(accounts) > 1:
        before = services.store.get_account(session_id).reservations.get(in_place_of, 0)
    held: list[tuple[AccountId, int | None]] = []
    for account, limit in accounts:
        if not services.store.reserve(account, amounts, limit=limit, in_place_of=in_place_of):
            for earlier, its_limit in reversed(held):
                for key in amounts:
                    services.store.settle(earlier, key, 0)
                if in_place_of is not None and before:
                    services.store.reserve(earlier, {in_place_of: before}, limit=its_limit)
            return Hold(refused_by=_describe(account))
        held.append((account, limit))
    return Hold(days=tuple(account for account, _ in held if isinstance(account, str)))


def release(session_id: ObjectId, user_id: str, key: str, services: Services) -> None:
    """Give back what is held under a key; harmless where nothing is."""
    for account, _ in _accounts(session_id, user_id, services):
        services.store.settle(account, key, 0)


def available(session_id: ObjectId, user_id: str, services: Services, *, with_key: str = "") -> int | None:
    """The least that any account still leaves, in nano-dollars; None where none has a limit.

    What is held under `with_key` counts as left.
    """
    left: list[int] = []
    for account, limit in _accounts(session_id, user_id, services):
        found = services.store.get_account(account)
        most = limit if isinstance(account, str) else found.cost_limit_nanos
        if most is not None:
            mine = found.reservations.get(with_key, 0)
            left.append(most - found.total_cost_nanos - found.held_nanos + mine)
    return min(left, default=None)


def settle(response: Response, cost: int, services: Services, *, is_estimate: bool = False) -> None:
    """Turn the present attempt's holds into its cost; settling twice is harmless."""
    for account in _accounts_of(response):
        services.store.settle(account, response.money_key, cost, is_estimate=is_estimate)


def settle_late(response: Response, cost: int, services: Services) -> None:
    """Charge the truth for an attempt that others may have settled at its worst case meanwhile."""
    for account in _accounts_of(response):
        if not services.store.settle(account, response.money_key, cost):
            services.store.amend_estimate(account, response.money_key, cost)


def day_account(kind: str, services: Services) -> str:
    """The name of today's account of a kind, such as `probes`."""
    return f"{services.clock():%Y-%m-%d}/{kind}"


def _accounts(session_id: ObjectId, user_id: str, services: Services) -> list[tuple[AccountId, int | None]]:
    settings = services.settings
    accounts: list[tuple[AccountId, int | None]] = [(session_id, None)]
    if settings.user_daily_limit is not None:
        accounts.append((day_account(f"user/{user_id}", services), to_nanos(settings.user_daily_limit)))
    if settings.daily_limit is not None:
        accounts.append((day_account("all", services), to_nanos(settings.daily_limit)))
    return accounts


def _accounts_of(response: Response) -> list[AccountId]:
    return [response.session_id, *response.days]


def _describe(account: AccountId) -> str:
    if isinstance(account, ObjectId):
        return "the session's cost limit"
    return "the user's daily limit" if "/user/" in account else "the installation's daily limit"
