"""`orchestratex models add`, `edit`, `enable` and `disable`."""

# ruff: noqa: ARG001 - options are read by name from the context, one for each field of a profile
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestratex.errors import InputError, ProfilesError

if TYPE_CHECKING:
    from datetime import datetime

    from orchestratex.errors import FieldProblem
    from orchestratex.steps.profiles import ProfilePlan
    from orchestratex.store.base import Store

Provider = Annotated[str | None, typer.Option("--provider", help="Whose key is used, such as openai.")]
Version = Annotated[str | None, typer.Option("--version", help="The provider's own name for the model.")]
Endpoint = Annotated[str | None, typer.Option("--endpoint", help="Address up to the dialect's own path.")]
Dialect = Annotated[str | None, typer.Option("--dialect", help="openai, anthropic or google.")]
InputPrice = Annotated[float | None, typer.Option("--input-price", help="US dollars per million input tokens.")]
CachedPrice = Annotated[float | None, typer.Option("--cached-price", help="The same for cached input tokens.")]
OutputPrice = Annotated[float | None, typer.Option("--output-price", help="US dollars per million output tokens.")]
ReasoningPrice = Annotated[float | None, typer.Option("--reasoning-price", help="The same for reasoning tokens.")]
PricesAsOf = Annotated[str | None, typer.Option(help="The day of the prices, YYYY-MM-DD; by default today.")]
Requests = Annotated[int | None, typer.Option(help="What the provider allows, for all workers together.")]
Tokens = Annotated[int | None, typer.Option(help="What the provider allows, for all workers together.")]
AtOnce = Annotated[
    int | None,
    typer.Option("--max-concurrent", min=0, help="Calls that it takes at once, of all workers; 0: no limit."),
]
Context = Annotated[int | None, typer.Option("--context", help="Longest prompt and answer, in tokens.")]
MaxOutput = Annotated[int | None, typer.Option("--max-output", help="Longest output of a call, in tokens.")]
Specialties = Annotated[list[str] | None, typer.Option("--specialty", help="Best first; may be repeated.")]
Languages = Annotated[list[str] | None, typer.Option("--language", help="ISO 639-1 code; may be repeated.")]
Strengths = Annotated[str | None, typer.Option(help="In a sentence.")]
Weaknesses = Annotated[str | None, typer.Option(help="In a sentence.")]
BestUses = Annotated[list[str] | None, typer.Option("--best-use", help="May be repeated.")]
NeedsKey = Annotated[bool | None, typer.Option("--key/--no-key", help="Whether the endpoint needs a key.")]
JsonSchema = Annotated[
    bool | None, typer.Option("--json-schema/--no-json-schema", help="Whether replies can be held to one.")
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON object of what was done.")]
Name = Annotated[str, typer.Argument(help="The model.")]
Names = Annotated[list[str], typer.Argument(help="The models.")]

_MILLION: Final = 1_000_000
_OUR_OWN: Final = ("target", "name", "json")
_LIMITS: Final = ("requests_per_minute", "tokens_per_minute", "max_concurrent_calls")


def add(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="NAME|FILE.toml", help="A new model, or a file of [[profiles]].")],
    provider: Provider = None,
    model_version: Version = None,
    api_endpoint: Endpoint = None,
    dialect: Dialect = None,
    cost_per_input_token: InputPrice = None,
    cost_per_cached_input_token: CachedPrice = None,
    cost_per_output_token: OutputPrice = None,
    cost_per_reasoning_token: ReasoningPrice = None,
    prices_as_of: PricesAsOf = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    max_concurrent_calls: AtOnce = None,
    max_context_length: Context = None,
    max_output_tokens: MaxOutput = None,
    specialties: Specialties = None,
    supported_languages: Languages = None,
    strengths: Strengths = None,
    weaknesses: Weaknesses = None,
    best_use_cases: BestUses = None,
    api_key_required: NeedsKey = None,
    supports_json_schema: JsonSchema = None,
    json: Json = False,
) -> None:
    """Add a model by its options, or all models of a file: none is added unless all are good."""
    from orchestratex.steps.profiles import add_profiles
    from orchestratex.store.profiles import read_profiles

    fields = _read_fields(context)
    if not target.endswith(".toml"):
        row = {**fields, "model_name": target}
        with _told_by_option(context):
            _change(
                lambda store, now: add_profiles([row], store, now=now, priced_on=_day(now)), is_json=json, is_new=True
            )
        return
    if fields:
        raise InputError(next(iter(fields)), "is no option beside a file, which says everything itself")
    rows = read_profiles(Path(target), field="FILE")
    _change(lambda store, now: add_profiles(rows, store, now=now), is_json=json, is_new=True)


def edit(
    context: typer.Context,
    name: Name,
    provider: Provider = None,
    model_version: Version = None,
    api_endpoint: Endpoint = None,
    dialect: Dialect = None,
    cost_per_input_token: InputPrice = None,
    cost_per_cached_input_token: CachedPrice = None,
    cost_per_output_token: OutputPrice = None,
    cost_per_reasoning_token: ReasoningPrice = None,
    prices_as_of: PricesAsOf = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    max_concurrent_calls: AtOnce = None,
    max_context_length: Context = None,
    max_output_tokens: MaxOutput = None,
    specialties: Specialties = None,
    supported_languages: Languages = None,
    strengths: Strengths = None,
    weaknesses: Weaknesses = None,
    best_use_cases: BestUses = None,
    api_key_required: NeedsKey = None,
    supports_json_schema: JsonSchema = None,
    json: Json = False,
) -> None:
    """Change what the options name; the rest stays. Calls from now on use it."""
    from orchestratex.steps.profiles import edit_profile

    fields = _read_fields(context)
    with _told_by_option(context):
        _change(lambda store, now: edit_profile(name, fields, store, now=now, priced_on=_day(now)), is_json=json)


def enable(names: Names, json: Json = False) -> None:
    """Let models be selected again."""
    from orchestratex.steps.profiles import switch_models

    _change(lambda store, _now: switch_models(names, store, is_active=True), is_json=json)


def disable(names: Names, json: Json = False) -> None:
    """Leave models out of every selection from now on; calls in flight end as they do."""
    from orchestratex.steps.profiles import switch_models

    _change(lambda store, _now: switch_models(names, store, is_active=False), is_json=json)


def _read_fields(context: typer.Context) -> dict[str, Any]:
    """What the options name, as fields of a profile: prices per token, limits in one record."""
    given = {
        name: value for name, value in context.params.items() if name not in _OUR_OWN and value not in (None, [], ())
    }
    limits = {name: given.pop(name) for name in _LIMITS if name in given}
    if limits.get("max_concurrent_calls") == 0:
        limits["max_concurrent_calls"] = None
    prices = {name: value / _MILLION for name, value in given.items() if name.startswith("cost_per_")}
    return {**given, **prices, **({"rate_limits": limits} if limits else {})}


@contextmanager
def _told_by_option(context: typer.Context) -> Iterator[None]:
    """Name what is missing or wrong as it is typed: by its options, prices for a million tokens."""
    options = {str(param.name): param.opts[0] for param in context.command.params}
    try:
        yield
    except ProfilesError as error:
        missing = [_name_option(each, options) for each in error.problems if each.is_missing]
        wrong = [
            f"{_name_option(each, options)}: {_describe_limit(each)}" for each in error.problems if not each.is_missing
        ]
        parts = [*([f"give {', '.join(missing)}"] if missing else []), *wrong]
        raise InputError(error.problems[0].model_name, "; ".join(parts)) from error


def _name_option(problem: FieldProblem, options: Mapping[str, str]) -> str:
    return next((options[part] for part in problem.field.split(".") if part in options), problem.field)


def _describe_limit(problem: FieldProblem) -> str:
    from orchestratex.steps.profiles import MAX_PRICE

    if problem.field.startswith("cost_per_"):
        return f"must be from 0 to {MAX_PRICE * _MILLION:g}, in US dollars per million tokens"
    return problem.problem.replace("max_context_length", "--context")


def _change(write: Callable[[Store, datetime], ProfilePlan], *, is_json: bool, is_new: bool = False) -> None:
    from orchestratex.cli import reach
    from orchestratex.cli.access import describe_change
    from orchestratex.cli.inputs import read_settings
    from orchestratex.cli.output import print_json, print_line, say

    settings = read_settings()
    with reach.reach_store(settings) as reached:
        plan = write(reached.services.store, reached.services.clock())
        added = [profile.model_name for profile in plan.added]
        notes = describe_change([*added, *plan.changes_by_name], reached, settings, is_new=is_new)
    if is_json:
        changed = {name: list(changes) for name, changes in plan.changes_by_name.items()}
        print_json({"added": added, "changed": changed, "unchanged": plan.unchanged})
    else:
        for line in plan.describe():
            print_line(line)
    for note in notes:
        say(note)


def _day(now: datetime) -> str:
    return now.date().isoformat()
