"""How what we know about models comes in: everything is checked first, then written, all or none."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from orchestratex.domain.base import Specialty
from orchestratex.domain.capabilities import Capabilities
from orchestratex.domain.prices import PriceSchedule, Rates
from orchestratex.domain.profile import STATE_FIELDS, Profile, RateLimits, todays_costs
from orchestratex.domain.wordings import say_wrong
from orchestratex.errors import FieldProblem, InputError, ProfilesError, StoreUnavailableError
from orchestratex.providers.addresses import check_base_url
from orchestratex.providers.dialects import DIALECTS
from orchestratex.store.base import Changes, Store
from orchestratex.store.profiles import Row

CONFIGURED: Final = tuple(name for name in Profile.model_fields if name not in STATE_FIELDS)
_PRICES: Final = tuple(name for name in CONFIGURED if name.startswith("cost_per_"))
# what a model takes and how it is served was learnt of the model as it was
_LEARNT_OF: Final = ("model_version", "api_endpoint", "dialect", "capabilities", "supports_json_schema")
_LEARNT: Final = ("stated", "refusals", "served_version")
MAX_PRICE: Final = 0.01  # US dollars per token; whoever writes a price per million by mistake is far above it
_MAX_TOKENS: Final = 1_000_000_000_000
_RATES: Final = frozenset(Rates.model_fields) - {"per_request"}
_SCHEDULES: Final = TypeAdapter(list[PriceSchedule])
_DESCRIPTIONS: Final = {"supported_languages": [], "strengths": "", "weaknesses": "", "best_use_cases": []}
_LIMITS: Final = tuple(name for name, field in RateLimits.model_fields.items() if field.is_required())
_DATES: Final = ("created_at", "updated_at")
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


def _check_address(url: str) -> str:
    try:
        return check_base_url(url)
    except InputError as error:
        raise ValueError(error.problem) from error


_Price = Annotated[float, Field(ge=0, le=MAX_PRICE, allow_inf_nan=False)]
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
    api_endpoint: Annotated[str, Field(max_length=2000), AfterValidator(_check_address)]
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
            if "prices" in shown:
                sources = ", ".join(each.source for each in changes["prices"])
                shown["prices"] = f"those of {sources}" if sources else "none by date"
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
    """What rows mean beside the profiles that are known. Raises ProfilesError: all models, fields and limits at once.

    Prices that change without a date of theirs get `priced_on`: the old date would be wrong. A price per token takes
    the place of a schedule; beside one it is the schedule's of today, whatever is written.
    """
    plan, problems = ProfilePlan(), list[FieldProblem]()
    for row in rows:
        try:
            _plan_row(row, known, plan, now=now, priced_on=priced_on)
        except ProfilesError as error:
            problems.extend(error.problems)
    if problems:
        raise ProfilesError(problems)
    return plan


def _plan_row(
    row: Row, known: Mapping[str, Profile], plan: ProfilePlan, *, now: datetime, priced_on: str | None
) -> None:
    name = str(row["model_name"])
    old = known.get(name)
    if old is None:
        plan.added.append(_check_new(row, now=now, priced_on=priced_on))
    elif changes := _find_changes(row, old, now=now, priced_on=priced_on):
        plan.changes_by_name[name] = changes
    else:
        plan.unchanged.append(name)


def _check_new(row: Row, *, now: datetime, priced_on: str | None) -> Profile:
    times = {"created_at": now, "updated_at": now}
    values = {**_DESCRIPTIONS, "prices_as_of": priced_on, **row, **_todays_row(row, now), **times}
    return _validate(row, values)


def _find_changes(row: Row, old: Profile, *, now: datetime, priced_on: str | None) -> dict[str, Any]:
    before = old.model_dump(include=set(CONFIGURED))
    is_repriced = any(name in row and row[name] != getattr(old, name) for name in _PRICES)
    prices = _todays_row(row, now) or ({"prices": []} if is_repriced else {})
    merged = {**before, **row, **prices, "created_at": old.created_at, "updated_at": old.updated_at}
    is_same_model = row.get("model_version", old.model_version) == old.model_version
    for name in ("rate_limits", *(("capabilities",) if is_same_model else ())):  # another model has its own
        if isinstance(row.get(name), Mapping):
            merged[name] = {**before[name], **row[name]}
    new = _validate(row, merged)
    changes = {name: getattr(new, name) for name in CONFIGURED if getattr(new, name) != getattr(old, name)}
    if "prices_as_of" not in row and any(name in changes for name in (*_PRICES, "prices")):
        changes["prices_as_of"] = priced_on
    if any(name in changes for name in _LEARNT_OF):
        changes |= {name: None for name in _LEARNT if getattr(old, name) is not None}
    return changes


def _todays_row(row: Row, now: datetime) -> dict[str, Any]:
    """What a row's schedule says of the fields that hold today's price; nothing for a row without one."""
    if not row.get("prices"):
        return {}
    try:
        return todays_costs(_SCHEDULES.validate_python(row["prices"]), now)
    except ValidationError:  # what is wrong is told with all the rest; the prices that it would give are not missing
        return dict.fromkeys(("cost_per_input_token", "cost_per_output_token"), 0.0)


def _validate(row: Row, values: Mapping[str, Any]) -> Profile:
    """The profile that `values` make, which a row has filled. Raises ProfilesError with all that is wrong."""
    name, foreign = str(row["model_name"]), set(row) - set(CONFIGURED)
    problems = _find_foreign(name, foreign)
    fitting = {field: value for field, value in values.items() if field not in foreign or field in _DATES}
    try:
        checked = _Configured.model_validate(fitting)
    except ValidationError as error:
        raise ProfilesError([*problems, *_read_errors(name, error)]) from error
    if checked.max_output_tokens > checked.max_context_length:
        problem = f"must be at most max_context_length, which is {checked.max_context_length}"
        problems.append(FieldProblem(name, "max_output_tokens", problem))
    if problems:
        raise ProfilesError(problems)
    return Profile.model_validate(checked.model_dump())


def _find_foreign(name: str, fields: Collection[str]) -> list[FieldProblem]:
    """Fields that nobody may write, or that there are not."""
    problems = []
    for each in sorted(fields):
        problem = f"is unknown; fields are {', '.join(CONFIGURED)}"
        if each == "is_active":
            problem = "is switched by `orchestratex models enable` and `disable`"
        elif each in STATE_FIELDS:
            problem = f"is recorded by OrchestrateX; fields are {', '.join(CONFIGURED)}"
        problems.append(FieldProblem(name, each, problem))
    return problems


def _read_errors(name: str, error: ValidationError) -> list[FieldProblem]:
    """A missing record stands for those of its fields that are required."""
    problems = []
    for each in error.errors():
        path = ".".join(str(part) for part in each["loc"])
        message, is_missing = say_wrong(each) + _name_unit(path), each["type"] == "missing"
        inner = _LIMITS if is_missing and path == "rate_limits" else ()
        paths = [f"{path}.{field}" for field in inner] or [path]
        problems += [FieldProblem(name, path, message, is_missing) for path in paths]
    return problems


def _name_unit(path: str) -> str:
    """The unit of a price: people take one for the other."""
    if path in _PRICES:
        return " (US dollars per token)"
    return " (US dollars per million tokens)" if path.rpartition(".")[2] in _RATES else ""


def _write(make_plan: Callable[[Mapping[str, Profile]], ProfilePlan], store: Store) -> ProfilePlan:
    """Plan beside what is there, and plan anew when another program added or removed a model meanwhile."""
    for _ in range(_RACES):
        plan = make_plan({profile.model_name: profile for profile in store.profiles()})
        if not (plan.added or plan.changes_by_name) or store.write_profiles(plan.added, plan.changes_by_name):
            return plan
    raise StoreUnavailableError("Other programs keep changing the profiles; try again when they are done.")
