"""What is asked of a model, what it refuses, and what is remembered of both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestratex.domain.base import Effort, Purpose, Role, ThreadStatus
from orchestratex.domain.capabilities import (
    Capabilities,
    Refusals,
    Stated,
    Thinking,
    choose_effort,
    least_output,
    merge,
    without,
)
from orchestratex.domain.log import LogEvent
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Usage
from orchestratex.domain.thread import Thread
from orchestratex.errors import InputError, ParameterRefusedError, ProviderOverloadedError
from orchestratex.providers.base import CompletionRequest, Entry
from orchestratex.settings import Settings
from orchestratex.steps.parameters import find_place
from orchestratex.steps.probe import probe
from orchestratex.steps.profiles import edit_profile, load_profiles
from orchestratex.steps.submit import ThreadRequest, parse_request
from tests.make import NOW
from tests.support import World, answer_by_rule, plain_profiles

PROMPT = "Write a python function that parses invoices"
THINKER = Capabilities(thinking="by_default", efforts=["none", "low", "medium", "high"])
NAME = "gpt4"


def make_world(reply: Any = None, settings: Settings | None = None, **capabilities: Capabilities) -> World:
    """Two models, all of whose profiles say what is given."""
    profiles = [each for each in plain_profiles(NOW) if each.model_name in {NAME, "qwen"}]
    known = [
        each.model_copy(
            update={
                "max_output_tokens": 32_000,
                "supports_json_schema": True,
                "capabilities": capabilities.get(each.model_name, Capabilities()),
            }
        )
        for each in profiles
    ]
    return World(reply, settings, profiles=known)


def profile_of(world: World, name: str = NAME) -> Profile:
    return next(each for each in world.store.profiles() if each.model_name == name)


def told(world: World, event_type: str, *threads: Thread) -> list[LogEvent]:
    return [each for thread in threads for each in world.store.logs_of(thread.id) if each.event_type == event_type]


class Refusing:
    """A model that refuses some parameters, one at a time, as its provider would."""

    def __init__(self, *parameters: str) -> None:
        self.parameters = parameters
        self.refused: list[str] = []

    def __call__(self, request: CompletionRequest) -> str:
        for parameter in self.parameters:
            if request.model_name == NAME and _is_sent(parameter, request):
                self.refused.append(parameter)
                raise ParameterRefusedError(NAME, f"HTTP 400: no {parameter}", parameter=parameter)
        return answer_by_rule(request)


def _is_sent(parameter: str, request: CompletionRequest) -> bool:
    taken = request.capabilities
    if parameter.startswith("effort="):
        return request.effort is not None and parameter == f"effort={request.effort.value}"
    if parameter.startswith("schema="):
        is_tool = taken.schema_form is not None and taken.schema_form.value == "tool"
        return request.json_schema is not None and is_tool is (parameter == "schema=tool")
    return {
        "temperature": taken.temperature is None,
        "seed": taken.seed is not False,
        "limit_name=max_tokens": taken.limit_name is None,
        "schema": request.json_schema is not None,
        "effort": request.effort is not None,
    }[parameter]


# --- what is asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("efforts", "wanted", "chosen"),
    [
        (["low", "medium", "high"], "none", "low"),
        (["none", "high"], "medium", "high"),
        (["none", "high"], "low", "none"),
        (["low", "high"], "medium", "low"),  # of two the lesser: what nobody asked for is not paid for
        (["none", "low", "medium", "high"], "high", "high"),
        (["low"], "high", "low"),
        ([], "high", None),
        (None, "high", None),
        (["low"], None, None),
    ],
)
def test_the_nearest_effort_that_a_model_takes_is_asked_for(
    efforts: list[str] | None, wanted: str | None, chosen: str | None
) -> None:
    found = choose_effort(Capabilities(efforts=efforts), Effort(wanted) if wanted else None)

    assert found == chosen


@pytest.mark.parametrize(
    ("thinking", "efforts", "effort", "least"),
    [
        ("never", [], None, 0),
        ("by_default", ["none", "low"], None, 8192),
        ("by_default", ["none", "low"], "none", 0),
        ("by_default", ["none", "low"], "low", 4096),
        ("on_request", ["none", "high"], None, 0),
        ("on_request", ["none", "high"], "high", 16384),
        ("always", [], None, 8192),
        ("always", ["none"], "none", 4096),
        (None, ["low"], None, 0),
        (None, ["medium"], "medium", 8192),
    ],
)
def test_a_model_that_thinks_is_given_room_for_it(
    thinking: str | None, efforts: list[str], effort: str | None, least: int
) -> None:
    capabilities = Capabilities(thinking=thinking, efforts=efforts)

    assert least_output(capabilities, Effort(effort) if effort else None) == least


def test_a_threads_effort_reaches_every_call_but_assessments() -> None:
    world = make_world(gpt4=THINKER, qwen=THINKER)

    thread = world.solve(PROMPT, max_iterations=1, effort="high")

    asked = {(each.purpose, each.effort) for each in world.store.responses_of(thread.id)}
    assert asked == {
        (Purpose.ANSWER, Effort.HIGH),
        (Purpose.EVALUATION, Effort.HIGH),
        (Purpose.ASSESSMENT, Effort.NONE),
    }
    limits = {(each.purpose, each.output_limit) for each in world.store.responses_of(thread.id)}
    assert limits == {(Purpose.ANSWER, 16384), (Purpose.EVALUATION, 16384), (Purpose.ASSESSMENT, 1024)}
    assert {request.effort for request in world.provider.requests} == {Effort.HIGH, Effort.NONE}


def test_the_panel_sets_aside_what_its_thoughts_may_cost() -> None:
    world = make_world(gpt4=THINKER, qwen=THINKER)

    thread = world.solve(PROMPT, max_iterations=1, effort="high")

    (evaluation,) = [r for r in world.store.responses_of(thread.id) if r.role is Role.EVALUATOR]
    price = profile_of(world, evaluation.model_name).cost_per_output_token
    assert evaluation.worst_case is not None
    assert evaluation.worst_case >= 16384 * price


@pytest.mark.parametrize(
    ("requested", "of_session", "of_installation", "expected"),
    [
        ("low", "high", "medium", Effort.LOW),
        (None, "high", "medium", Effort.HIGH),
        (None, None, "medium", Effort.MEDIUM),
        (None, None, None, None),
    ],
)
def test_the_nearest_wish_for_an_effort_counts(
    requested: str | None, of_session: str | None, of_installation: Any, expected: Effort | None
) -> None:
    from orchestratex.steps.submit import SessionRequest, open_session, submit

    world = make_world(settings=Settings(effort=of_installation))
    session = open_session(SessionRequest.model_validate({"effort": of_session}), world.services)

    (thread,) = submit(
        session.id, [ThreadRequest.model_validate({"prompt": PROMPT, "effort": requested})], world.services
    )

    assert thread.options.effort == expected


def test_an_effort_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"effort: .*none.*low.*medium.*high"):
        parse_request(ThreadRequest, {"prompt": "why?", "effort": "extreme"})


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        ["temperature"],
        ["seed"],
        ["limit_name=max_tokens"],
        ["effort"],
        ["effort=high"],
        ["effort=high", "effort=medium", "effort=low", "effort=none"],
        ["schema=format"],
        ["schema=format", "schema=tool"],
        ["schema"],
        ["temperature", "seed", "limit_name=max_tokens", "effort=high", "schema=format"],
    ],
)
def test_what_a_model_refuses_is_left_out_remembered_and_told_once(parameters: list[str]) -> None:
    refusing = Refusing(*parameters)
    world = make_world(refusing, gpt4=THINKER)

    first = world.solve(PROMPT, max_iterations=1, effort="high", preferred_models=[NAME])
    second = world.solve(PROMPT, max_iterations=1, effort="high", preferred_models=["qwen"])

    refusals = profile_of(world).refusals
    assert {first.thread_status, second.thread_status} == {ThreadStatus.COMPLETED}
    assert refusals is not None
    assert sorted(refusals.parameters) == sorted(set(refusing.refused))
    assert sorted(each.details["parameter"] for each in told(world, "parameter_refused", first, second)) == sorted(
        set(refusing.refused)
    )
    assert len(refusing.refused) == len(set(refusing.refused))  # each was sent in vain once
    assert all(not each.errors for each in world.store.responses_of(first.id))


def test_a_refusal_costs_nothing_and_uses_up_no_attempt() -> None:
    world = make_world(Refusing("temperature", "seed"), settings=Settings(call_attempts=1))

    thread = world.solve(PROMPT, max_iterations=1, preferred_models=[NAME])

    (answer,) = [r for r in world.store.responses_of(thread.id) if r.purpose is Purpose.ANSWER]
    assert (answer.model_name, answer.errors, answer.left_out) == (NAME, 0, ["temperature", "seed"])
    assert {attempt for attempt, cost in answer.attempt_costs.items() if cost.nanos} == {"3"}


def test_a_model_that_refuses_the_same_again_is_given_up() -> None:
    def refuse(request: CompletionRequest) -> str:
        if request.model_name == NAME:
            raise ParameterRefusedError(NAME, "HTTP 400: no temperature", parameter="temperature")
        return answer_by_rule(request)

    world = make_world(refuse)
    thread = world.solve(PROMPT, max_iterations=1, preferred_models=[NAME])

    assert [r.attempt for r in world.store.responses_of(thread.id) if r.model_name == NAME][:1] == [2]
    assert len(told(world, "parameter_refused", thread)) == 1


def test_what_one_endpoint_refuses_says_nothing_of_another() -> None:
    refusing = Refusing("temperature")
    world = make_world(refusing)
    world.solve(PROMPT, max_iterations=1, preferred_models=[NAME])

    world.store.update_profile(NAME, {"api_endpoint": "https://elsewhere.example/v1"})
    world.services.cache.forget()
    world.solve(PROMPT, max_iterations=1, preferred_models=[NAME])

    assert refusing.refused == ["temperature", "temperature"]


@pytest.mark.parametrize(
    "fields",
    [{"model_version": "newer"}, {"capabilities": {"seed": True}}, {"api_endpoint": "https://elsewhere.example/v1"}],
)
def test_what_was_learnt_is_forgotten_when_the_model_is_another(fields: dict[str, Any]) -> None:
    world = make_world(Refusing("temperature"))
    world.solve(PROMPT, max_iterations=1, preferred_models=[NAME])
    assert profile_of(world).refusals is not None

    edit_profile(NAME, fields, world.store, now=NOW)

    assert profile_of(world).refusals is None


def test_an_edit_of_something_else_forgets_nothing() -> None:
    world = make_world(Refusing("temperature"))
    world.solve(PROMPT, max_iterations=1, preferred_models=[NAME])

    edit_profile(NAME, {"strengths": "patient"}, world.store, now=NOW)

    assert profile_of(world).refusals is not None


def test_a_probe_that_makes_a_call_learns_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: CompletionRequest) -> str:
        if request.model_name == NAME and request.capabilities.temperature is None:
            raise ParameterRefusedError(NAME, "HTTP 400: no temperature", parameter="temperature")
        return "yes"

    world = make_world(refuse)
    monkeypatch.setattr(world.provider, "probe", lambda _profile: False)

    assert probe(world.services) == {NAME: True, "qwen": True}
    refusals = profile_of(world).refusals
    assert refusals is not None
    assert refusals.parameters == ["temperature"]


# --- what is known ------------------------------------------------------------------------------------------------


def test_a_person_is_believed_before_a_list_and_a_refusal_before_both() -> None:
    written = Capabilities(efforts=["low"], seed=True)
    stated = Capabilities(efforts=["high"], thinking=Thinking.ALWAYS, seed=False)

    known = without(merge(written, stated), ["seed"])

    assert known == Capabilities(efforts=["low"], thinking=Thinking.ALWAYS, seed=False)


def test_a_probe_reads_once_a_day_what_the_list_says(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    asked: list[str] = []

    def look_up(profile: Profile) -> Entry:
        asked.append(profile.model_name)
        return Entry(capabilities=Capabilities(seed=False))

    monkeypatch.setattr(world.provider, "look_up", look_up)
    probe(world.services)
    probe(world.services)
    known = next(each for each in world.services.cache.all() if each.model_name == NAME)
    world.clock.pass_time(25 * 3600)
    probe(world.services)

    assert sorted(asked) == sorted([NAME, "qwen"] * 2)
    assert profile_of(world).stated == Stated(
        at=find_place(profile_of(world), None),
        read_at=profile_of(world).stated.read_at,  # type: ignore[union-attr]
        capabilities=Capabilities(seed=False),
    )
    assert known.capabilities.seed is False
    assert profile_of(world).capabilities.seed is None  # what people wrote stays what they wrote


def test_a_list_that_fails_to_say_more_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()

    def look_up(_: Profile) -> Entry:
        raise ProviderOverloadedError(NAME, "HTTP 500")

    monkeypatch.setattr(world.provider, "look_up", look_up)

    assert probe(world.services) == {NAME: True, "qwen": True}


def test_what_the_list_of_a_gateway_says_is_not_taken_for_the_providers() -> None:
    profile = plain_profiles(NOW)[0]
    at_gateway = find_place(profile, "https://user:secret@gateway.example:8443/v1?key=k")

    assert find_place(profile, None) != at_gateway
    assert "secret" not in at_gateway
    assert "key" not in at_gateway


def test_capabilities_come_in_with_a_file_and_are_checked() -> None:
    world = make_world()
    row = {"model_name": NAME, "capabilities": {"efforts": ["low", "high"], "temperature": "unless_thinking"}}

    load_profiles([row], world.store, now=NOW)
    load_profiles([{"model_name": NAME, "capabilities": {"seed": False}}], world.store, now=NOW)

    assert profile_of(world).capabilities == Capabilities(
        efforts=["low", "high"], temperature="unless_thinking", seed=False
    )
    for bad in ({"efforts": ["extreme"]}, {"thinking": "often"}, {"tempreature": "never"}, {"efforts": {"low": 1.5}}):
        with pytest.raises(InputError, match=f"{NAME}.capabilities"):
            load_profiles([{"model_name": NAME, "capabilities": bad}], world.store, now=NOW)


# --- what answers -------------------------------------------------------------------------------------------------


def served_by(version: str | None) -> Any:
    def reply(request: CompletionRequest) -> Completion:
        usage = Usage(input_tokens=100, output_tokens=50, total_tokens=150)  # less than is set aside
        return Completion(text=answer_by_rule(request), usage=usage, model_version=version)

    return reply


def test_the_version_that_answered_is_recorded() -> None:
    world = make_world(served_by("gpt-9-2026-11-01"))

    thread = world.solve(PROMPT, max_iterations=1)

    assert {each.served_version for each in world.store.responses_of(thread.id)} == {"gpt-9-2026-11-01"}
    assert {each.served_version for each in world.store.profiles()} == {"gpt-9-2026-11-01"}
    assert told(world, "served_version_changed", thread) == []  # there was none before it


def test_another_version_that_answers_is_told_once() -> None:
    world = make_world(served_by("one"))
    first = world.solve(PROMPT, max_iterations=1)
    world.provider = replace_reply(world, served_by("two"))
    second, third = (world.solve(PROMPT, max_iterations=1) for _ in range(2))

    events = told(world, "served_version_changed", first, second, third)
    assert sorted((each.model_involved, each.details["before"], each.details["served"]) for each in events) == [
        (NAME, "one", "two"),
        ("qwen", "one", "two"),
    ]


def test_a_reply_that_names_no_version_changes_nothing() -> None:
    world = make_world(served_by("one"))
    world.solve(PROMPT, max_iterations=1)
    world.provider = replace_reply(world, served_by(None))
    world.solve(PROMPT, max_iterations=1)

    assert {each.served_version for each in world.store.profiles()} == {"one"}


def replace_reply(world: World, reply: Any) -> Any:
    from orchestratex.providers.fake import FakeProvider, FakeProviders

    provider = FakeProvider(reply)
    world.services = replace(world.services, providers=FakeProviders(provider))
    return provider


def test_refusals_of_an_older_document_are_none() -> None:
    profile = plain_profiles(NOW)[0]

    assert (profile.refusals, profile.stated, profile.served_version) == (None, None, None)
    assert Refusals(at="x").parameters == []
