"""What the catalogues would change in the profiles. Nothing is written here: a proposal is a row for the profiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from orchestratex.catalogues.base import GENAI_PRICES, MODEL_PRICES, Catalogue, Entry, is_installed
from orchestratex.catalogues.known import Retirement, find_retirement, known_models
from orchestratex.catalogues.merge import from_now_on, merge
from orchestratex.domain.prices import PriceSchedule
from orchestratex.domain.profile import Profile
from orchestratex.errors import InputError
from orchestratex.providers.origins import KeyOrigins, read_origin
from orchestratex.rules.pricelists import describe_schedules
from orchestratex.store.profiles import Row

_LEFT_TO_PEOPLE: Final = ("model_name", "rate_limits")  # of a slot that gets another model
_FORMER_ORIGINS: Final = frozenset({"https://api.llama.com:443"})  # of providers that have moved
_DAY: Final = "prices_as_of"


@dataclass
class Proposal:
    """What is found about one model, and the row that would bring its profile up to date."""

    profile: Profile  # as it would be, but for its prices
    row: dict[str, Any] = field(default_factory=dict)  # fields to write; empty: nothing is known
    findings: list[str] = field(default_factory=list)
    retirement: Retirement | None = None  # of the model that serves it now
    is_disputed: bool = False  # the catalogues disagree, and nobody has decided

    @property
    def is_changed(self) -> bool:
        """Whether more would change than the day on which it was looked up."""
        return bool(set(self.row) - {_DAY})


def load_catalogues() -> list[Catalogue]:
    """The catalogues that are installed; none of them goes online."""
    found: list[Catalogue] = []
    if is_installed(GENAI_PRICES):
        from orchestratex.catalogues.genai import GenaiPrices

        found.append(GenaiPrices())
    if is_installed(MODEL_PRICES):
        from orchestratex.catalogues.listed import ModelPrices

        found.append(ModelPrices())
    return found


def propose(
    profile: Profile,
    catalogues: Sequence[Catalogue],
    *,
    shipped: Mapping[str, Row],
    now: datetime,
    trust: str | None = None,
    is_named: bool = False,
) -> Proposal:
    """What would change in a profile, and why.

    `shipped` are the rows of today's slots, by name: one of them takes the place of a retired model of its provider.
    `trust` names the catalogue that a person believes. A profile without a schedule has prices that a person gave it:
    they are changed only where it `is_named`, and so are those of an address that is not the provider's own.
    Raises InputError where the trusted catalogue does not know the model.
    """
    entries = _ask(profile, catalogues)
    retirement = find_retirement(profile.provider, profile.model_version, now.date(), entries)
    proposal = Proposal(profile, retirement=retirement)
    if retirement is not None:
        proposal.findings.append(retirement.text)
        _replace(proposal, shipped.get(profile.model_name, {}))
        entries, is_named = _ask(proposal.profile, catalogues), is_named or bool(proposal.row)
    if not _is_providers_own(proposal.profile) and not is_named:
        told = f"no catalogue knows the prices at {profile.api_endpoint}"
        proposal.findings.append(f"{told}; to take those of {profile.provider} itself, name the model")
        return proposal
    priced = _trusted(proposal.profile, [entry for entry in entries if entry.prices], trust)
    if priced:
        _propose_prices(proposal, priced, now=now, trust=trust, is_named=is_named)
    elif _is_alias(proposal.profile):
        proposal.findings.append(f"{profile.model_version} is an alias, and whom it names changes: give the exact id")
    else:
        proposal.findings.append(f"no catalogue knows what {proposal.profile.model_version} costs")
    _propose_context(proposal, entries)
    return proposal


def _is_alias(profile: Profile) -> bool:
    """Catalogues that list aliases differ by the day on which they last looked."""
    return profile.model_version.lower().endswith("latest")


def _ask(profile: Profile, catalogues: Iterable[Catalogue]) -> list[Entry]:
    if _is_alias(profile):
        return []
    answers = (catalogue.find(profile.provider, profile.model_version) for catalogue in catalogues)
    return [entry for entry in answers if entry is not None]


def _replace(proposal: Proposal, row: Row) -> None:
    """Let what is shipped serve the slot in place of a retired model."""
    profile = proposal.profile
    is_other = row and row["provider"] == profile.provider and row["model_version"] != profile.model_version
    if not is_other or not _is_providers_own(profile):
        return
    proposal.row = {name: value for name, value in row.items() if name not in _LEFT_TO_PEOPLE}
    proposal.profile = Profile.model_validate({**profile.model_dump(by_alias=True), **proposal.row})
    proposal.findings.append(f"{proposal.profile.model_version} takes its place in the slot {profile.model_name}")


def _is_providers_own(profile: Profile) -> bool:
    """Whether a profile's address is its provider's, whose prices the catalogues tell."""
    try:
        origin = read_origin(profile.api_endpoint)
    except InputError:
        return False
    return origin in _FORMER_ORIGINS or KeyOrigins({}).why_withheld(profile.provider, profile.api_endpoint) is None


def _trusted(profile: Profile, priced: list[Entry], trust: str | None) -> list[Entry]:
    """The entries that count: all, or that of the catalogue which a person trusts, now or since an earlier time."""
    decided = next((each.source.split()[0] for each in profile.prices if each.is_decided), None)
    known = [entry for entry in priced if entry.catalogue == (trust or decided)]
    if trust is not None and not known:
        raise InputError("--trust", f"{trust} does not know what {profile.model_version} of {profile.provider} costs")
    return known or priced


def _propose_prices(
    proposal: Proposal, priced: Sequence[Entry], *, now: datetime, trust: str | None, is_named: bool
) -> None:
    profile, today = proposal.profile, now.date().isoformat()
    is_decided = trust is not None or any(each.is_decided for each in profile.prices)
    found = [each.model_copy(update={"is_decided": is_decided}) for each in merge(priced, now)]
    told = describe_schedules(found, now)
    if not profile.prices and not is_named:
        own = describe_own(profile)
        proposal.findings.append(
            f"keeps its own prices of {own}; the catalogues: {told}; to take these, name the model"
        )
        return
    proposal.is_disputed = len({entry.catalogue for entry in priced}) > 1 and len(found) > 1
    proposal.row[_DAY] = today
    if _is_same(profile.prices, found, now):
        proposal.findings.append(f"unchanged: {told}")
        if not proposal.is_changed:
            return
    else:
        before = describe_schedules(profile.prices, now) if profile.prices else describe_own(profile)
        proposal.findings.append(f"{before} -> {told}")
    proposal.row["prices"] = [each.model_dump() for each in found]


def describe_own(profile: Profile) -> str:
    """The price of a profile without a schedule, in words."""
    return f"${profile.cost_per_input_token * 1e6:g} in, ${profile.cost_per_output_token * 1e6:g} out"


def _is_same(known: Sequence[PriceSchedule], found: Sequence[PriceSchedule], now: datetime) -> bool:
    def essence(schedules: Sequence[PriceSchedule]) -> list[dict[str, Any]]:
        current = [from_now_on(each, now).model_dump(exclude={"source"}) for each in schedules]
        return sorted(current, key=str)

    return essence(known) == essence(found)


def _propose_context(proposal: Proposal, entries: Sequence[Entry]) -> None:
    """A context that is longer than the provider's makes calls fail; a shorter one may be wanted."""
    profile = proposal.profile
    row = known_models().get((profile.provider, profile.model_version))
    stated = [entry.max_context_length for entry in entries if entry.max_context_length]
    longest = row.max_context_length if row and row.max_context_length else max(stated, default=None)
    if longest is not None and longest < profile.max_context_length:
        proposal.findings.append(f"max_context_length {profile.max_context_length} -> {longest}")
        proposal.row["max_context_length"] = longest
        if profile.max_output_tokens > longest:
            proposal.row["max_output_tokens"] = longest
