"""How what we know about models comes in: everything is checked first, then written, all or none."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from orchestratex.domain.base import Specialty
from orchestratex.domain.capabilities import Capabilities
from orchestratex.domain.profile import STATE_FIELDS, Profile, RateLimits
from orchestratex.errors import InputError, StoreUnavailableError
from orchestratex.providers.addresses import check_base_url
from orchestratex.providers.dialects import DIALECTS
from orchestratex.store.base import Changes, Store
from orchestratex.store.profiles import Row

CONFIGURED: Final = tuple(name for name in Profile.model_fields if name not in STATE_FIELDS)
_PRICES: Final = tuple(name for name in CONFIGURED if name.startswith("cost_per_"))
# what a model takes and how it is served was learnt of the model as it was
_LEARNT_OF: Final = ("model_version", "api_endpoint", "dialect", "capabilities", "supports_json_schema")
_LEARNT: Final = ("stated", "refusals", "served_version")
_MAX_PRICE: Final = 0.01  # US dollars per token; whoever writes a price per million by mistake is far above it
_MAX_TOKENS: Final = 1_000_000_000_000
_DESCRIPTIONS: Final = {"supported_languages": [], "strengths": "", "weaknesses": "", "best_use_cases": []}
_RACES: Final = 10  # others who write profiles at the same time


def _check_text(text: str) -> str:
    if any(unicodedata.category(char) == "Cc" and char not in "\n\t" for char in text):
        raise ValueError("must hold no control characters")
    return text


def _check_dialect(dialect: str) -> str:
    if dialect not in DIALECTS:
        raise ValueError(f"must be one of {', '.join(DIALECTS)}")
    return dialect


def _check_day(day: str | None) -> str | None:
    if day is not None and (len(day) != len("YYYY-MM-DD") or date.fromisoformat(day).isoformat() != day):
        raise ValueError("must be a day as YYYY-MM-DD")
    return day


_Price = Annotated[float, Field(ge=0, le=_MAX_PRICE, allow_inf_nan=False)]
_Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_text)]
_Text = Annotated[str, Field(max_length=4000), AfterValidator(_check_text)]
_Tokens = Annotated[int, Field(ge=1, le=_MAX_TOKENS)]


class _Limits(RateLimits):
    model_config = ConfigDict(extra="forbid")

    requests_per_minute: int = Field(ge=1, le=1_000_000_000)
    tokens_per_minute: _Tokens
    max_concurrent_calls: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class _Capabilities(Capabilities):
    model_config = ConfigDict(extra="forbid")


class _Configured(Profile):
    """A profile as people may write it: within limits that the engine itself does not need."""

    model_config = ConfigDict(extra="forbid")

    provider: _Word
    model_version: _Word
    specialties: list[Specialty] = Field(min_length=1)
    supported_languages: list[_Word] = Field(max_length=500)
    max_context_length: _Tokens
    strengths: _Text
    weaknesses: _Text
    best_use_cases: list[_Word] = Field(max_length=100)
    api_endpoint: Annotated[str, Field(max_length=2000), AfterValidator(check_base_url)]
    cost_per_input_token: _Price
    cost_per_output_token: _Price
    rate_limits: _Limits
    dialect: Annotated[str, AfterValidator(_check_dialect)] = "openai"
    cost_per_cached_input_token: _Price | None = None
    cost_per_reasoning_token: _Price | None = None
    max_output_tokens: _Tokens = 4096
    prices_as_of: Annotated[str | None, AfterValidator(_check_day)] = None
    capabilities: _Capabilities = _Capabilities()


@dataclass(frozen=True)
class ProfilePlan:
    """What is to be written."""

    added: list[Profile] = field(default_factory=list)
    changes_by_name: dict[str, Changes] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)

    def describe(self) -> list[str]:
        """A line for each profile that is written, and one for the others."""
        lines = [f"{profile.model_name}: added" for profile in self.added]
        for name, changes in self.changes_by_name.items():
            shown = Profile.model_construct(**changes).model_dump(mode="json", include=set(changes))
            lines.append(f"{name}: " + ", ".join(f"{each} = {value}" for each, value in shown.items()))
        return [*lines, *([f"unchanged: {', '.join(self.unchanged)}"] if self.unchanged else [])]


def add_profiles(rows: Sequence[Row], store: Store, *, now: datetime, priced_on: str | None = None) -> ProfilePlan:
    """Add models that are not known yet. Raises InputError; then nothing was written.

    `priced_on` is the date of prices that come without one.
    """

    def plan(known: Mapping[str, Profile]) -> ProfilePlan:
        there = [str(row["model_name"]) for row in rows if row["model_name"] in known]
        if there:
            raise InputError(
                "model_name", f"known already: {', '.join(there)}; change it by `orchestratex models edit`"
            )
        return plan_profiles(rows, known, now=now, priced_on=priced_on)

    return _write(plan, store)


def edit_profile(name: str, fields: Row, store: Store, *, now: datetime, priced_on: str | None = None) -> ProfilePlan:
    """Change some fields of a known model. Raises InputError; then nothing was written."""
    if not fields:
        raise InputError("fields", "nothing to change is given")

    def plan(known: Mapping[str, Profile]) -> ProfilePlan:
        require_known([name], known)
        return plan_profiles([{**fields, "model_name": name}], known, now=now, priced_on=priced_on)

    return _write(plan, store)


def load_profiles(rows: Sequence[Row], store: Store, *, now: datetime) -> ProfilePlan:
    """Add the models that are new, and change the others in the fields that their rows name. Idempotent.

    Raises InputError; then nothing was written.
    """
    return _write(lambda known: plan_profiles(rows, known, now=now), store)


def switch_models(names: Sequence[str], store: Store, *, is_active: bool) -> ProfilePlan:
    """Let models be used, or leave them out of every selection from now on. Raises InputError for unknown names."""

    def plan(known: Mapping[str, Profile]) -> ProfilePlan:
        require_known(names, known)
        others = [name for name in dict.fromkeys(names) if known[name].is_active is not is_active]
        unchanged = [name for name in dict.fromkeys(names) if name not in others]
        return ProfilePlan([], {name: {"is_active": is_active} for name in others}, unchanged)

    return _write(plan, store)


def require_known(names: Sequence[str], known: Mapping[str, Profile]) -> None:
    """Raises InputError that lists the known models."""
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise InputError("model", f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(known)) or 'none'}")


def plan_profiles(
    rows: Sequence[Row], known: Mapping[str, Profile], *, now: datetime, priced_on: str | None = None
) -> ProfilePlan:
    """What rows mean beside the profiles that are known. Raises InputError naming model, field and limit.

    Prices that change without a date of theirs get `priced_on`: the old date would be wrong.
    """
    plan = ProfilePlan()
    for row in rows:
        name = str(row["model_name"])
        old = known.get(name)
        if old is None:
            plan.added.append(_check_new(row, now=now, priced_on=priced_on))
            continue
        changes = _find_changes(row, old, priced_on=priced_on)
        if changes:
            plan.changes_by_name[name] = changes
        else:
            plan.unchanged.append(name)
    return plan


def _check_new(row: Row, *, now: datetime, priced_on: str | None) -> Profile:
    _check_fields(row)
    return _validate({**_DESCRIPTIONS, "prices_as_of": priced_on, **row, "created_at": now, "updated_at": now})


def _find_changes(row: Row, old: Profile, *, priced_on: str | None) -> dict[str, Any]:
    _check_fields(row)
    before = old.model_dump(include=set(CONFIGURED))
    merged = {**before, **row, "created_at": old.created_at, "updated_at": old.updated_at}
    for name in ("rate_limits", "capabilities"):
        if isinstance(row.get(name), Mapping):
            merged[name] = {**before[name], **row[name]}
    new = _validate(merged)
    changes = {name: getattr(new, name) for name in CONFIGURED if getattr(new, name) != getattr(old, name)}
    if "prices_as_of" not in row and any(name in changes for name in _PRICES):
        changes["prices_as_of"] = priced_on
    if any(name in changes for name in _LEARNT_OF):
        changes |= {name: None for name in _LEARNT if getattr(old, name) is not None}
    return changes


def _check_fields(row: Row) -> None:
    name = row["model_name"]
    for each in sorted(set(row) - set(CONFIGURED)):
        if each == "is_active":
            raise InputError(f"{name}.{each}", "is switched by `orchestratex models enable` and `disable`")
        problem = "is recorded by OrchestrateX" if each in STATE_FIELDS else "is unknown"
        raise InputError(f"{name}.{each}", f"{problem}; fields are {', '.join(CONFIGURED)}")


def _validate(values: Mapping[str, Any]) -> Profile:
    name = values["model_name"]
    try:
        checked = _Configured.model_validate(values)
    except InputError as error:  # of the address
        raise InputError(f"{name}.{error.field}", error.problem) from error
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        unit = " (US dollars per token)" if path in _PRICES else ""
        raise InputError(f"{name}.{path}", first["msg"].removeprefix("Value error, ") + unit) from error
    if checked.max_output_tokens > checked.max_context_length:
        problem = f"must be at most max_context_length, which is {checked.max_context_length}"
        raise InputError(f"{name}.max_output_tokens", problem)
    return Profile.model_validate(checked.model_dump())


def _write(make_plan: Callable[[Mapping[str, Profile]], ProfilePlan], store: Store) -> ProfilePlan:
    """Plan beside what is there, and plan anew when another program added or removed a model meanwhile."""
    for _ in range(_RACES):
        plan = make_plan({profile.model_name: profile for profile in store.profiles()})
        if not (plan.added or plan.changes_by_name) or store.write_profiles(plan.added, plan.changes_by_name):
            return plan
    raise StoreUnavailableError("Other programs keep changing the profiles; try again when they are done.")
