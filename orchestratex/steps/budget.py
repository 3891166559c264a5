"""Money before a call: its worst case is held in every account that it draws on, or in none.

The accounts are the session, then the user's day, then the installation's day; where a later one refuses, the earlier
holds are undone in reverse. Over-reserving for a moment is safe, under-reserving never happens. Days are UTC.

A call that costs more all the same (another version answered than the one that was asked, or the provider's bill is
higher than its prices) is charged in full, and its session pays for no further call: its worst cases cannot be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bson import ObjectId

from orchestratex.domain.base import Component, LogLevel, to_nanos, to_usd
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
            return Hold(refused_by=_describe(account, services))
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
        if found.excess_nanos > 0:
            return 0
        most = limit if isinstance(account, str) else found.cost_limit_nanos
        if most is not None:
            mine = found.reservations.get(with_key, 0)
            left.append(most - found.total_cost_nanos - found.held_nanos + mine)
    return min(left, default=None)


def settle(response: Response, cost: int, services: Services, *, is_estimate: bool = False) -> None:
    """Turn the present attempt's holds into its cost; settling twice is harmless."""
    excess = 0 if is_estimate else _find_excess(response, cost, services)
    settled = [
        services.store.settle(account, response.money_key, cost, is_estimate=is_estimate)
        for account in _accounts_of(response)
    ]
    if excess > 0 and (settled[0] or _charge_unheld(response, cost, services)):
        _tell_excess(response, cost, excess, services)


def settle_late(response: Response, cost: int, services: Services) -> None:
    """Charge the truth for an attempt that others may have settled at its worst case meanwhile."""
    excess = _find_excess(response, cost, services)
    settled = [
        services.store.settle(account, response.money_key, cost)
        or services.store.amend_estimate(account, response.money_key, cost)
        for account in _accounts_of(response)
    ]
    if excess > 0 and (settled[0] or _charge_unheld(response, cost, services)):
        _tell_excess(response, cost, excess, services)


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


def _find_excess(response: Response, cost: int, services: Services) -> int:
    """What an attempt costs beyond what its session holds for it, or was charged as its estimate."""
    if cost <= response.reserved_nanos:
        return 0  # nearly always: the account needs no look
    if _is_free(response):
        return cost
    account, key = services.store.get_account(response.session_id), response.money_key
    expected = account.reservations.get(key, account.estimates.get(key))
    return 0 if expected is None else max(0, cost - expected)


def _is_free(response: Response) -> bool:
    """Whether nothing was ever set aside for it, because its model costs nothing."""
    return response.worst_case == 0


def _charge_unheld(response: Response, cost: int, services: Services) -> bool:
    """Charge a call that was to cost nothing; False when that is done already."""
    if not _is_free(response):
        return False
    charged = [services.store.charge_unheld(each, response.money_key, cost) for each in _accounts_of(response)]
    return charged[0]


def _tell_excess(response: Response, cost: int, excess: int, services: Services) -> None:
    services.journal.write(
        Component.ORCHESTRATOR,
        "cost_exceeded",
        f"{response.model_name} cost ${to_usd(cost):.6f}, ${to_usd(excess):.6f} more than was set aside for it: it is "
        "charged, and the session pays for no further call",
        thread=services.store.get_thread(response.thread_id),
        level=LogLevel.ERROR,
        model=response.model_name,
        response_id=str(response.id),
        cost_nanos=cost,
        excess_nanos=excess,
    )


def _describe(account: AccountId, services: Services) -> str:
    if isinstance(account, ObjectId):
        excess = services.store.get_account(account).excess_nanos
        if excess > 0:
            return (
                f"the session, in which a call cost ${to_usd(excess):.6f} more than was set aside for it: compare its "
                "prices by `orchestratex models refresh`, and open a new session"
            )
        return "the session's cost limit"
    return "the user's daily limit" if "/user/" in account else "the installation's daily limit"
